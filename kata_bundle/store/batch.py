"""Many blobs at once: written one after the other, flushed together, then named.

A flush costs some milliseconds however little there is to flush, but a disk does many in the time of one. Must not know: what
blobs mean.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

from kata_bundle.core.blobs import open_blob_file
from kata_bundle.core.digest import CHUNK_SIZE, digest_bytes
from kata_bundle.core.parallel import map_ordered

if TYPE_CHECKING:
    from types import TracebackType

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.streams import Readable
    from kata_bundle.store.blobs import Blobs, BlobWriter

__all__ = ["Batch"]

_PENDING: Final = 128
"""Unnamed blobs at once; each holds an open file."""
_FLUSHES: Final = 16
"""Flushes at once, whatever ``--jobs``: they wait and compute nothing."""


class Batch:
    """A context that stores blobs. Digests are known at once; the blobs are in the store when the context has been left.

    Leaving it by an exception drops what has no name yet. Of one thread.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._pending: list[BlobWriter] = []

    def put_bytes(self, data: bytes) -> Digest:
        """Store ``data`` and return its digest."""
        digest = digest_bytes(data)
        if not self._blobs.keep(digest, len(data)):
            self.put_stream(io.BytesIO(data), digest)
        return digest

    def put_stream(self, stream: Readable, expected: Digest | None = None) -> tuple[Digest, int]:
        """Store what is left of ``stream``; return digest and length in bytes.

        Raises :class:`IntegrityError`, storing nothing of it, when the digest is not ``expected``.
        """
        writer = self._new()
        try:
            while chunk := stream.read(CHUNK_SIZE):
                writer.sink.write(chunk)
            return writer.seal(expected)
        except BaseException:
            self._pending.remove(writer)
            writer.discard()
            raise

    def put_file(self, path: str | os.PathLike[str], expected: Digest | None = None) -> tuple[Digest, int]:
        """Store a copy of the regular file ``path``; return digest and length in bytes. Raises like ``Store.put_file``."""
        with open(open_blob_file(path, what=f"file {os.fspath(path)}"), "rb", buffering=0) as source:
            if expected is None and os.fstat(source.fileno()).st_size < CHUNK_SIZE:
                # What is there already need not be written to find that out.
                data = source.read(CHUNK_SIZE)
                if len(data) < CHUNK_SIZE and not source.read(1):
                    return self.put_bytes(data), len(data)
                source.seek(0)
            return self.put_stream(source, expected)

    def publish(self) -> None:
        """Flush and name what was put so far."""
        fresh = [writer for writer in self._pending if not writer.is_known()]
        if self._blobs.is_durable:
            map_ordered(lambda writer: writer.flush(), fresh, jobs=_FLUSHES)
        for writer in fresh:
            writer.adopt()
        self._pending.clear()

    def _new(self) -> BlobWriter:
        if len(self._pending) >= _PENDING:
            self.publish()
        writer = self._blobs.new()
        self._pending.append(writer)
        return writer

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.publish()
        finally:
            for writer in self._pending:
                writer.discard()
            self._pending.clear()
