"""Putting entries on disk below one directory, without ever following a link and without half-written files at their places.

A file, link or further name is made under a temporary name in its directory and renamed into place (D21). Whatever was there is
replaced, across types too (D31): a directory in a file's place is moved aside first, a file in a directory's place is removed.
Only a link where a mere parent directory is needed is left alone and refused, since an administrator may have put it there.
Nothing is flushed: the caller decides when the whole is. Must not know: archives, digests.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from kata_bundle.archive.directories import Directories
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.fsops import FileOps
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, os_bytes, parents
from kata_bundle.core.tree import DIRECTORY_MODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from kata_bundle.core.fsops import StrPath

__all__ = ["NewFile", "Placer", "write_with_holes"]

_HOLE: Final = 1 << 16
_ZEROS: Final = bytes(_HOLE)
_WRITE: Final = 1 << 20
"""Most bytes written at once: page caches take large pieces fastest, and larger ones leave the processor's cache."""
_NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@record(kw_only=False, frozen=False)
class NewFile:
    """A file that is not at its place yet: its descriptor, which reads and writes, and its name until then."""

    path: RelPath
    temporary: bytes
    descriptor: int
    is_placed: bool = False


class Placer:
    """Places entries below the existing directory ``target``. Use as a context manager; call :meth:`finish` at the end.

    ``files`` is told of every change before it is made. Errors of the file system are raised as ``OSError``.
    """

    def __init__(self, target: StrPath, files: FileOps | None = None) -> None:
        self._target = os.fspath(target)
        self._files = files or FileOps()
        self._directories = Directories(target)
        self._pending: dict[RelPath, tuple[int, int | None]] = {}
        self._temporary_stem = f".kata-bundle-{os.urandom(6).hex()}-"
        self._temporary_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._directories.__exit__(kind, error, trace)

    def directory(self, path: RelPath, *, mode: int, mtime_ns: int) -> None:
        """Make sure of a directory. It gets ``mode`` and time from :meth:`finish`, until then it can be written to."""
        self._enter(_parent(path))
        self._make_directory(path, replace_link=True)
        self._pending[path] = (mode, mtime_ns)

    def file(self, path: RelPath, chunks: Iterable[bytes], *, mode: int, mtime_ns: int) -> None:
        """Make ``path`` a new regular file; runs of zeros become holes."""
        new = self.begin(path)
        try:
            size = written = 0
            for chunk in chunks:
                written = write_with_holes(new.descriptor, chunk, size) or written
                size += len(chunk)
            if written != size:
                os.ftruncate(new.descriptor, size)  # the file ends with a hole
            self.commit(new, mode=mode, mtime_ns=mtime_ns)
        finally:
            self.abandon(new)

    def begin(self, path: RelPath) -> NewFile:
        """Return a new empty file under a temporary name, to be given to :meth:`commit` and in any case to :meth:`abandon`."""
        directory = self._enter(_parent(path))
        temporary = self._temporary_name()
        self._announce("write", path)
        return NewFile(path, temporary, os.open(temporary, _NEW_FILE, 0o600, dir_fd=directory))

    def commit(self, new: NewFile, *, mode: int, mtime_ns: int) -> None:
        """Give ``new`` mode, time and its name; of any placer of the same target."""
        os.fchmod(new.descriptor, mode)
        os.utime(new.descriptor, ns=(mtime_ns, mtime_ns))
        self._take_place(self._enter(_parent(new.path)), new.temporary, new.path)
        new.is_placed = True

    def abandon(self, new: NewFile) -> None:
        """Close ``new``, and remove it unless it was committed."""
        descriptor, new.descriptor = new.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            if not new.is_placed:
                with suppress(OSError):
                    os.unlink(new.temporary, dir_fd=self._enter(_parent(new.path)))

    def link_from(self, path: RelPath, source: str) -> None:
        """Make ``path`` a further name of the regular file ``source``, which may lie anywhere. Raises ``OSError``."""
        with self._replacing(path, "link") as (directory, temporary):
            os.link(os_bytes(source), temporary, dst_dir_fd=directory, follow_symlinks=False)
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=self._enter(_parent(path)))

    def symlink(self, path: RelPath, target: str, *, mtime_ns: int) -> None:
        """Make ``path`` a symbolic link with the text ``target``."""
        with self._replacing(path, "symlink") as (directory, temporary):
            os.symlink(os_bytes(target), temporary, dir_fd=directory)
            os.utime(temporary, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)

    def hardlink(self, path: RelPath, source: RelPath) -> None:
        """Make ``path`` a further name of the file at ``source``."""
        source_directory = os.dup(self._enter(_parent(source)))
        try:
            with self._replacing(path, "link") as (directory, temporary):
                name = os_bytes(source.rpartition("/")[2])
                os.link(name, temporary, src_dir_fd=source_directory, dst_dir_fd=directory, follow_symlinks=False)
            # Renaming one name of a file to another name of the same file does nothing.
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._enter(_parent(path)))
        finally:
            os.close(source_directory)

    def finish(self) -> None:
        """Give all directories their modes and times, inner ones first, so that a read-only directory can have content."""
        for path in sorted(self._pending, key=os_bytes, reverse=True):
            mode, mtime_ns = self._pending[path]
            descriptor = self._directories.descriptor(path)
            os.fchmod(descriptor, mode)
            if mtime_ns is not None:
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        self._pending.clear()

    @contextmanager
    def _replacing(self, path: RelPath, verb: str) -> Iterator[tuple[int, bytes]]:
        """Yield a directory and a temporary name in it; what the body makes there is then renamed to ``path``."""
        directory = self._enter(_parent(path))
        temporary = self._temporary_name()
        self._announce(verb, path)
        try:
            yield directory, temporary
            self._take_place(directory, temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise

    def _take_place(self, directory: int, temporary: bytes, path: RelPath) -> None:
        name = os_bytes(path.rpartition("/")[2])
        try:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except IsADirectoryError:
            aside = self._temporary_name()
            os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
            try:
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
                raise
            import shutil  # brings compressors along that nothing else of an install needs

            shutil.rmtree(aside, dir_fd=directory)
            self._directories.forget()

    def _enter(self, path: str) -> int:
        """Return a descriptor of directory ``path``, making it and its parents where they are missing."""
        try:
            return self._directories.descriptor(path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        for each in (*parents(RelPath(path)), RelPath(path)):
            self._make_directory(each, replace_link=False)
        return self._directories.descriptor(path)

    def _make_directory(self, path: RelPath, *, replace_link: bool) -> None:
        directory = self._directories.descriptor(_parent(path))
        name = os_bytes(path.rpartition("/")[2])
        try:
            found = os.lstat(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISDIR(found.st_mode):
                return
            if stat.S_ISLNK(found.st_mode) and not replace_link:
                msg = f'"{self._target}/{path}" is a link where the archive needs a directory; links are never followed'
                raise ArchiveError(msg, hint="remove the link, or make it a directory")
            self._announce("unlink", path)
            os.unlink(name, dir_fd=directory)
        self._announce("mkdir", path)
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            # Another layer that is unpacked into the same tree at this moment was faster.
            if not stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
                raise
            return
        self._pending.setdefault(path, (DIRECTORY_MODE, None))

    def _announce(self, verb: str, path: str) -> None:
        self._files.announce(verb, f"{self._target}/{path}")

    def _temporary_name(self) -> bytes:
        self._temporary_count += 1
        return b"%b%d" % (self._temporary_stem.encode(), self._temporary_count)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def write_with_holes(descriptor: int, data: bytes | bytearray, offset: int, start: int = 0, end: int | None = None) -> int:
    """Write ``data`` from ``start`` to ``end`` at ``offset`` of a file, leaving out zeros that fill whole units of 64 KiB of it.

    Returns where in the file the last byte written ends, 0 for none.
    """
    view = memoryview(data)
    end = len(data) if end is None else end
    shift = offset - start
    pending = start
    written = 0
    for position in range(start + -offset % _HOLE, end - _HOLE + 1, _HOLE):
        if data.startswith(_ZEROS, position):
            written = _write_all(descriptor, view[pending:position], pending + shift) or written
            pending = position + _HOLE
    return _write_all(descriptor, view[pending:end], pending + shift) or written


def _write_all(descriptor: int, data: memoryview, offset: int) -> int:
    """Write ``data`` at ``offset``; return where it ends, 0 for no data."""
    end = offset + len(data) if data else 0
    while data:
        count = os.pwrite(descriptor, data[:_WRITE], offset)
        data = data[count:]
        offset += count
    return end
