"""File-system changes that a crash cannot leave half done, and the one seam through which faults are injected.

Every change the installer makes to a disk goes through a :class:`FileOps`. Each call announces itself to ``before`` first; tests
raise from there to stop the program, or fail one call with ENOSPC or EIO, at every point.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["TEMPORARY_MARK", "FileOps", "StrPath", "about", "fsync_directory", "one_writer", "write_atomic"]

StrPath: TypeAlias = "str | os.PathLike[str]"
"""A path in any form; its import costs nothing, that of pathlib does."""
TEMPORARY_MARK: Final = ".tmp-"
"""Stands between the name of a file that :func:`write_atomic` makes and the number of the process that makes it."""
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
"""From the kernel's ``linux/fs.h``, as renameat2(2) takes it."""
_FICLONE: Final = 0x40049409
"""From the same header, as ioctl_ficlone(2) takes it."""


@contextlib.contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name ``path`` in an ``OSError`` of the body that names no file, as those of writing to an open file do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def one_writer(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Hold ``directory`` against every other process and thread that asks for the same; waits for it, leaves no file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_atomic(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Make ``path`` a regular file with content ``data``: temporary file beside it, flushed, renamed over it.

    Readers see the old file or the new one, never a mixture. On failure the temporary file is removed. Raises ``OSError``.
    """
    target = os.fspath(path)
    temporary = f"{target}{TEMPORARY_MARK}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with about(target), open(descriptor, "wb") as stream:
            stream.write(data)
            os.fchmod(descriptor, mode)
            stream.flush()
            if durable:
                os.fsync(descriptor)
        os.rename(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        fsync_directory(os.path.dirname(target) or ".")


def fsync_directory(path: str | os.PathLike[str]) -> None:
    """Flush the directory entry changes of ``path``; file systems that cannot are let be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


class FileOps:
    """The changes an installer may make, each announced as ``before(verb, path)`` and then carried out."""

    def __init__(self, before: Callable[[str, str], None] | None = None) -> None:
        self._before = before

    def announce(self, verb: str, path: str) -> None:
        """Tell the observer that ``verb`` on ``path`` comes next; it may raise to prevent it."""
        if self._before is not None:
            self._before(verb, path)

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Create ``path`` with exactly ``mode``, whatever the umask; an existing directory is left as it is."""
        self.announce("mkdir", path)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                return
            raise
        os.chmod(path, mode)

    def write_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Replace ``path`` atomically by a file with ``data`` and ``mode``."""
        self.announce("write", path)
        write_atomic(path, data, mode=mode)

    def symlink(self, target: str, path: str) -> None:
        """Make ``path`` a link to ``target``, replacing a file or link there atomically."""
        self.announce("symlink", path)
        temporary = f"{path}.tmp-{os.getpid()}-{os.urandom(4).hex()}"
        os.symlink(target, temporary)
        try:
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def rename(self, source: str, target: str) -> None:
        """Rename within one file system, replacing ``target``."""
        self.announce("rename", target)
        os.rename(source, target)

    def link(self, source: str, target: str) -> None:
        """Make ``target`` a further name of the file ``source``."""
        self.announce("link", target)
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        """Remove a file or link; absent is fine."""
        self.announce("unlink", path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def remove_directory(self, path: str) -> bool:
        """Remove an empty directory; return whether it is gone (a directory with content stays)."""
        self.announce("rmdir", path)
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY}:
                return False
            raise
        return True

    def sync_directory(self, path: str) -> None:
        """Flush directory ``path``."""
        self.announce("fsync", path)
        fsync_directory(path)

    def replace_file(
        self,
        path: str,
        data: bytes,
        *,
        temporary: str,
        mode: int,
        owner: tuple[int, int] | None = None,
        mtime_ns: int | None = None,
        attributes: Mapping[str, bytes] | None = None,
    ) -> None:
        """Replace ``path`` atomically and durably by a file with ``data``, written first under the name ``temporary``.

        The name is the caller's, so that a later start knows what to clean up after a crash. Each step is announced by itself.
        ``attributes`` are extended attributes to set where the file system takes them.
        """
        self.announce("write", temporary)
        self._write(temporary, data, mode, owner=owner, mtime_ns=mtime_ns, attributes=attributes, flush=True)
        try:
            self.announce("rename", path)
            os.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        self.sync_directory(os.path.dirname(path) or ".")

    def replace_link(self, target: str, path: str, *, temporary: str) -> None:
        """Replace ``path`` atomically by a link to ``target``, made first under the name ``temporary``; nothing is flushed."""
        self.announce("symlink", temporary)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        try:
            self.announce("rename", path)
            os.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def create_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write the new file ``path``; whatever had that name is unlinked, not written to. Nothing is flushed."""
        self.announce("write", path)
        self._write(path, data, mode)

    def copy_file(self, source: str, target: str, mode: int, *, on_data: Callable[[bytes], object] | None = None) -> bool:
        """Make ``target`` a new file with the content and the modification time of ``source``; return whether it was read.

        Where the file system can, both share their blocks (ioctl_ficlone(2)) and nothing is read; ``on_data`` is given every
        piece that is. Nothing is flushed.
        """
        self.announce("copy", target)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        with (
            open(os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb", 0) as reader,
            open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "wb", 0) as writer,
        ):
            is_shared = _share_blocks(reader.fileno(), writer.fileno())
            while not is_shared and (data := reader.read(1 << 20)):
                if on_data is not None:
                    on_data(data)
                view = memoryview(data)
                while view:
                    view = view[writer.write(view) :]
            os.fchmod(writer.fileno(), mode)
            times = os.fstat(reader.fileno())
            os.utime(writer.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))
        return not is_shared

    def set_mode(self, path: str, mode: int) -> None:
        """Give the file or directory ``path`` the permission bits ``mode``."""
        self.announce("chmod", path)
        os.chmod(path, mode)

    def exchange(self, first: str, second: str) -> None:
        """Swap two names at once (renameat2(2)). Raises ``OSError``: EINVAL or ENOSYS where the file system cannot."""
        self.announce("exchange", first)
        call = _libc("renameat2")
        if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE):
            code = _libc_errno()
            raise OSError(code, os.strerror(code), first, None, second)

    def sync_file_system(self, path: str) -> None:
        """Flush the file system that holds directory ``path`` (syncfs(2)); one call for a whole new tree."""
        self.announce("syncfs", path)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _libc("syncfs")(descriptor):
                code = _libc_errno()
                raise OSError(code, os.strerror(code), path)
        finally:
            os.close(descriptor)

    @staticmethod
    def _write(
        path: str,
        data: bytes,
        mode: int,
        *,
        owner: tuple[int, int] | None = None,
        mtime_ns: int | None = None,
        attributes: Mapping[str, bytes] | None = None,
        flush: bool = False,
    ) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                made = os.fstat(descriptor)
                if owner is not None and owner != (made.st_uid, made.st_gid):
                    os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
                for name, value in (attributes or {}).items():
                    with contextlib.suppress(OSError):
                        os.setxattr(descriptor, name, value)
                if mtime_ns is not None:
                    os.utime(descriptor, ns=(mtime_ns, mtime_ns))
                if flush:
                    os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise


def _share_blocks(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _libc(name: str) -> Callable[..., int]:
    """Return a function of the C library that Python does not wrap; ``OSError`` ENOSYS where this C library lacks it."""
    import ctypes

    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name) from None
    return function


def _libc_errno() -> int:
    import ctypes

    return ctypes.get_errno()


if sys.platform != "linux":  # pragma: no cover
    msg = "kata_bundle manages Linux nodes and runs on Linux only"
    raise ImportError(msg)
