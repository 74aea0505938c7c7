"""File-system changes that a crash cannot leave half done, and the one seam through which faults are injected.

Every change the installer makes to a disk goes through a :class:`FileOps`. Each call announces itself to ``before`` first; tests
raise from there to stop the program, or fail one call with ENOSPC or EIO, at every point.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FileOps", "fsync_directory", "write_atomic"]


def write_atomic(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Make ``path`` a regular file with content ``data``: temporary file beside it, flushed, renamed over it.

    Readers see the old file or the new one, never a mixture. On failure the temporary file is removed. Raises ``OSError``.
    """
    target = os.fspath(path)
    temporary = f"{target}.tmp-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as stream:
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


if sys.platform != "linux":  # pragma: no cover
    msg = "kata_bundle manages Linux nodes and runs on Linux only"
    raise ImportError(msg)
