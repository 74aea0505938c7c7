"""Making new files from old ones and a delta layer: frames as the unit of work over a few threads, memory bounded by the format.

Nothing is taken on trust. A file counts as restored only after all its bytes had the digest that the new tree states; until then
every length is bounded by that tree. Old files may have been changed meanwhile: then the result does not have its digest either.
Must not know: where deltas come from, how trees are placed.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from kata_bundle.archive.deltacodec import decompress
from kata_bundle.archive.deltaformat import DeltaTable, FrameRecipe, Piece, read_table
from kata_bundle.archive.placer import write_with_holes
from kata_bundle.archive.tarreader import DEFAULT_LIMITS, Limits
from kata_bundle.core.blobs import open_blob_file
from kata_bundle.core.digest import Digest, hex_part
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.fsops import FileOps, about
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["FileOf", "Restored", "load_table", "restore_files"]

FileOf: TypeAlias = "Callable[[Digest], str | os.PathLike[str] | None]"
"""Gives the path of a file with that content, ``None`` when there is none."""

_READ: Final = 1 << 20
_NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@record
class Restored:
    """What a delta gave: its table, and the path of each new content."""

    table: DeltaTable
    files: dict[Digest, Path]


def load_table(delta: Path, *, what: str, expected_tree: Digest | None = None) -> DeltaTable:
    """Return the checked table of the delta in the file ``delta``; raises :class:`IntegrityError`, also when it is no file."""
    with open(open_blob_file(delta, what=what), "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        return read_table(_Raw(stream.fileno()), what=what, size_bytes=size, expected_tree=expected_tree)[0]


def restore_files(
    delta: Path,
    old_file: FileOf,
    target: Path,
    *,
    what: str,
    expected_tree: Digest,
    jobs: int = 1,
    files: FileOps | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = NO_PROGRESS,
) -> Restored:
    """Write each content of the new tree that no old file has to the directory ``target``, named by its hex digest.

    ``old_file`` finds the sources. The files have mode 0600 and the delta's time, zeros as holes, and are not flushed. Raises
    :class:`IntegrityError` when the delta is damaged, is not for ``expected_tree``, needs a source that is not there, or gives
    other content; then nothing is left in ``target``. Raises ``OSError``.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(open(open_blob_file(delta, what=what), "rb", buffering=0))
        size = os.fstat(stream.fileno()).st_size
        table, start = read_table(_Raw(stream.fileno()), what=what, size_bytes=size, expected_tree=expected_tree)
        total = sum(table.changed.values())
        if total > limits.max_unpacked_bytes:
            msg = f"{what} makes {total} bytes, more than the {limits.max_unpacked_bytes} allowed"
            raise ArchiveError(msg)
        sources = _find(table, old_file, what)
        task = f"delta {what}"
        progress.start(task, total)
        made: list[Path] = []
        try:
            work = _Work(table, sources, target, delta=stream.fileno(), start=start, what=what, progress=progress, task=task)
            announce = (files or FileOps()).announce
            for digest, length in table.changed.items():
                path = target / hex_part(digest)
                announce("write", os.fspath(path))
                with about(path):
                    descriptor = os.open(path, _NEW_FILE, 0o600)
                    made.append(path)
                    try:
                        os.ftruncate(descriptor, length)
                    finally:
                        os.close(descriptor)
            work.run(max(1, jobs))
            work.finish()
        except BaseException:
            for path in made:
                with suppress(OSError):
                    os.unlink(path)
            raise
        finally:
            progress.finish(task)
    return Restored(table=table, files={digest: target / hex_part(digest) for digest in table.changed})


def _find(table: DeltaTable, old_file: FileOf, what: str) -> list[str]:
    """Return the paths of the sources that frames need."""
    used = {item.source for frame in table.frames for item in frame.ranges}
    found = []
    for number, source in enumerate(table.sources):
        path = old_file(source.digest)
        if path is None:
            msg = f"{what} needs an old file with the content {source.digest}, which is not there"
            raise IntegrityError(msg)
        if number in used and os.stat(path).st_size != source.size_bytes:
            msg = f"{what} needs an old file of {source.size_bytes} bytes, {path} has another length"
            raise IntegrityError(msg)
        found.append(os.fspath(path))
    return found


class _Raw:
    """Reads exactly what is asked for, as long as there is something."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        pieces = []
        while size > 0 and (piece := os.pread(self._descriptor, min(size, _READ), self._position)):
            pieces.append(piece)
            size -= len(piece)
            self._position += len(piece)
        return b"".join(pieces)


class _Output:
    """One new file: hashed in order while its frames are written in any order."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._size = size_bytes
        self._state = hashlib.sha256()
        self._position = 0
        self._written: dict[int, int] = {}
        self._lock = threading.Lock()
        self._busy = False

    def write(self, offset: int, data: bytes | bytearray, start: int, end: int) -> None:
        """Write ``data`` from ``start`` to ``end`` at ``offset``, and hash as far as everything is there."""
        with about(self.path):
            descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                write_with_holes(descriptor, data, offset, start, end)
                self._hash(descriptor, offset, memoryview(data)[start:end])
            finally:
                os.close(descriptor)

    def _hash(self, descriptor: int, offset: int, data: memoryview) -> None:
        with self._lock:
            if self._busy or offset != self._position:
                self._written[offset] = len(data)
                return
            self._busy = True
        length = len(data)
        self._state.update(data)
        while True:
            with self._lock:
                self._position += length
                found = self._written.pop(self._position, None)
                if found is None:
                    self._busy = False
                    return
                length = found
            for piece in _read_pieces(descriptor, self._position, length):
                self._state.update(piece)

    def matches(self, digest: Digest) -> bool:
        """Return whether all bytes were written and have ``digest``."""
        return self._position == self._size and f"sha256:{self._state.hexdigest()}" == digest


class _Work:
    """The frames of one delta, handed out in order to the threads that ask."""

    def __init__(
        self,
        table: DeltaTable,
        sources: list[str],
        target: Path,
        *,
        delta: int,
        start: int,
        what: str,
        progress: Progress,
        task: str,
    ) -> None:
        self._table = table
        self._sources = sources
        self._delta = delta
        self._what = what
        self._progress = progress
        self._task = task
        self._outputs = {digest: _Output(target / hex_part(digest), size) for digest, size in table.changed.items()}
        self._frames = self._iterate(start)
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def _iterate(self, start: int) -> Iterator[tuple[int, FrameRecipe, tuple[Piece, ...]]]:
        for frame, pieces in zip(self._table.frames, self._table.layout, strict=True):
            yield start, frame, pieces
            start += frame.stored

    def run(self, jobs: int) -> None:
        """Carry out all frames with ``jobs`` threads, this one included; raises the first error."""
        threads = [
            threading.Thread(target=self._loop, name=f"delta-{i}", daemon=True)
            for i in range(1, min(jobs, len(self._table.frames)))
        ]
        for thread in threads:
            thread.start()
        try:
            self._loop()
        finally:
            with self._lock:
                self._frames = iter(())
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Check the digest of every file and give it its time."""
        paths = {getattr(entry, "digest", None): path for path, entry in reversed(list(self._table.tree.entries.items()))}
        for digest, output in self._outputs.items():
            if not output.matches(digest):
                msg = f'{self._what} gives another content for "{paths[digest]}" than {digest}'
                raise IntegrityError(msg)
            os.utime(output.path, (self._table.mtime, self._table.mtime), follow_symlinks=False)

    def _loop(self) -> None:
        buffer = bytearray(max((frame.prefix_bytes for frame in self._table.frames), default=0))
        while True:
            with self._lock:
                item = next(self._frames, None)
            if item is None:
                return
            try:
                self._frame(*item, buffer)
            except BaseException as error:
                with self._lock:
                    self._frames = iter(())
                    self._error = self._error or error
                return

    def _frame(self, start: int, frame: FrameRecipe, pieces: tuple[Piece, ...], buffer: bytearray) -> None:
        length = sum(piece.length for piece in pieces)
        view = memoryview(buffer)
        used = 0
        for item in frame.ranges:
            self._read_source(self._sources[item.source], item.offset, view[used : used + item.length])
            used += item.length
        if frame.stored:
            stored = b"".join(_read_pieces(self._delta, start, frame.stored))
            data: bytes | bytearray = decompress(stored, view[:used], length=length, what=self._what)
        else:
            data = buffer if frame.ranges else bytes(length)
        position = 0
        for piece in pieces:
            self._outputs[piece.digest].write(piece.offset, data, position, position + piece.length)
            position += piece.length
        self._progress.advance(self._task, length)

    def _read_source(self, path: str, offset: int, into: memoryview) -> None:
        with about(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                while into:
                    count = os.preadv(descriptor, [into[:_READ]], offset)
                    if not count:
                        msg = f"{self._what}: {path} became shorter while it was read"
                        raise IntegrityError(msg)
                    into = into[count:]
                    offset += count
            finally:
                os.close(descriptor)


def _read_pieces(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    while length:
        piece = os.pread(descriptor, min(length, _READ), offset)
        if not piece:
            msg = "a file became shorter while it was read"
            raise IntegrityError(msg)
        yield piece
        offset += len(piece)
        length -= len(piece)
