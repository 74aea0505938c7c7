"""Unpacking one layer as a stream, from its first byte to its last: the way for layers without a table of contents.

Must not know: tables, other layers.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, BinaryIO, Self

from kata_bundle.archive.extracted import Extracted, with_links_for
from kata_bundle.archive.kata import iter_kata_entries
from kata_bundle.archive.placer import Placer
from kata_bundle.archive.readahead import read_ahead
from kata_bundle.archive.rules import DEFAULT_LIMITS, PREFIX, Limits, rewrite_target
from kata_bundle.archive.streams import Source, open_source, size_left
from kata_bundle.archive.tarheader import Kind
from kata_bundle.archive.zstd import open_decompressor
from kata_bundle.core.digest import Digest, HashingReader
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Tree

if TYPE_CHECKING:
    from types import TracebackType

    from kata_bundle.core.fsops import FileOps, StrPath

__all__ = ["TaskStream", "check_packed", "extract_stream"]


def extract_stream(
    source: Source,
    target: StrPath,
    *,
    what: str,
    dest: str = "/" + PREFIX,
    files: FileOps | None = None,
    expected_tree: Digest | None = None,
    limits: Limits = DEFAULT_LIMITS,
    identify: bool = True,
    ahead: bool = True,
    progress: Progress = NO_PROGRESS,
) -> Extracted:
    """Unpack ``source`` into the existing directory ``target``, which will be found at ``dest``; return what is there now.

    ``identify`` hashes the files, which alone tells the tree; ``ahead`` decodes in a thread beside hashing and writing. Raises
    as :func:`~kata_bundle.archive.layer.extract_layer` does. The packed bytes are not checked here.
    """
    with open_source(source) as stream, TaskStream(progress, f"extract {what}", stream) as task:
        decompressor = open_decompressor(task, limit_bytes=limits.max_unpacked_bytes, what=what)
        with read_ahead(decompressor) if ahead else nullcontext(decompressor) as unpacked, Placer(target, files) as placer:
            reader = iter_kata_entries(unpacked, what=what, limits=limits, identify=identify)
            for entry in reader:
                match entry.kind:
                    case Kind.DIRECTORY:
                        placer.directory(entry.path, mode=entry.mode, mtime_ns=entry.mtime_ns)
                    case Kind.SYMLINK:
                        placer.symlink(entry.path, rewrite_target(entry.target, dest), mtime_ns=entry.mtime_ns)
                    case Kind.HARDLINK:
                        placer.hardlink(entry.path, RelPath(entry.target))
                    case _:
                        placer.file(entry.path, reader.chunks(), mode=entry.mode, mtime_ns=entry.mtime_ns)
            placer.finish()
    tree = reader.tree() if identify else Tree.of({})
    if expected_tree is not None and tree.digest != expected_tree:
        msg = f"{what} holds the tree {tree.digest}, expected {expected_tree}"
        raise IntegrityError(msg)
    return Extracted(tree=tree, installed=with_links_for(tree, dest), left_out=reader.left_out)


class TaskStream:
    """A stream whose bytes are reported as the progress of one task."""

    def __init__(self, progress: Progress, name: str, stream: BinaryIO) -> None:
        self._progress = progress
        self._name = name
        self._stream = stream

    def __enter__(self) -> Self:
        self._progress.start(self._name, size_left(self._stream))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.finish(self._name)

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes and report them."""
        data = self._stream.read(size)
        self._progress.advance(self._name, len(data))
        return data


def check_packed(stream: BinaryIO, expected: Digest, what: str) -> None:
    """Read ``stream`` to its end and go back; raise :class:`IntegrityError` unless its digest is ``expected``."""
    if not stream.seekable():
        msg = f"{what}: a stream that cannot seek cannot be checked before it is decoded"
        raise IntegrityError(msg, hint="store the layer in a file first")
    start = stream.tell()
    reader = HashingReader(stream)
    reader.drain()
    stream.seek(start)
    if reader.digest != expected:
        msg = f"{what} has the digest {reader.digest}, expected {expected}"
        raise IntegrityError(msg)
