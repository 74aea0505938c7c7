"""Blobs copied between folders so that an interrupted copy goes on where it stopped, and nothing is at its place unchecked.

Must not know: what the blobs are.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from kata_bundle.core.blobs import BLOB_MODE, open_blob_file, verifying_stream
from kata_bundle.core.digest import Digest, hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.fsops import about

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.layout import Layout

__all__ = ["copy_blob", "has_blob"]

_PIECE: Final = 1 << 20


def has_blob(layout: Layout, digest: Digest, size_bytes: int, *, task: str = "check", progress: Progress = NO_PROGRESS) -> bool:
    """Return whether ``layout`` has the blob, all of it read and found right."""
    try:
        stream = verifying_stream(layout.open_file(digest), digest, what=f"blob {digest}", size_bytes=size_bytes)
    except IntegrityError:
        return False
    with stream:
        try:
            while piece := stream.read(_PIECE):
                progress.advance(task, len(piece))
        except IntegrityError:
            return False
    return True


def copy_blob(
    source: Path, layout: Layout, descriptor: Descriptor, *, task: str = "copy", progress: Progress = NO_PROGRESS
) -> bool:
    """Make ``layout`` have the blob in the file ``source``; return whether anything was copied.

    What is copied waits under a name of its own; a later call reads it again and goes on after it. It gets its place when all of
    it was flushed and had the digest; one that turns out wrong is removed. Raises :class:`IntegrityError` when ``source`` is no
    regular file or has another content, ``OSError``.
    """
    if has_blob(layout, descriptor.digest, descriptor.size_bytes, task=task, progress=progress):
        return False
    target = layout.directory / "blobs" / "sha256" / hex_part(descriptor.digest)
    part = target.with_name(f"{target.name}.tmp-part")
    what = f"blob file {source}"
    with open(open_blob_file(source, what=what), "rb", buffering=0) as reader:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with about(part), open(os.open(part, flags, 0o600), "r+b", buffering=0) as writer:
            state = hashlib.sha256()
            done = 0
            while (piece := writer.read(_PIECE)) and done + len(piece) <= descriptor.size_bytes:
                state.update(piece)
                done += len(piece)
            progress.advance(task, done)
            writer.truncate(done)
            writer.seek(done)
            reader.seek(done)
            while (piece := reader.read(_PIECE)) and done <= descriptor.size_bytes:
                state.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[writer.write(view) :]
                done += len(piece)
                progress.advance(task, len(piece))
            os.fsync(writer.fileno())
            os.fchmod(writer.fileno(), BLOB_MODE)
    found = Digest(f"sha256:{state.hexdigest()}")
    if done != descriptor.size_bytes or found != descriptor.digest:
        part.unlink()
        msg = f"{what} has {done} bytes with the digest {found}, expected {descriptor.size_bytes} with {descriptor.digest}"
        raise IntegrityError(msg, hint="try again: what an interrupted copy had left may have been damaged")
    os.rename(part, target)
    return True
