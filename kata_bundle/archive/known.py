"""Putting a file in place from one on disk that has the same content: a further name, a clone, or a copy.

A further name where mode and SELinux type will do; a clone (FICLONE) where the file system shares blocks; else a copy, hashed on
the way. Must not know: who says that the content is the same.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.placer import write_with_holes
from kata_bundle.archive.streams import COPY_SIZE
from kata_bundle.core.digest import HashingReader
from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    from kata_bundle.archive.placer import NewFile, Placer
    from kata_bundle.core.fsops import StrPath
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import File

__all__ = ["Inodes", "place_known"]

_FICLONE: Final = 0x40049409
"""From the kernel's ``linux/fs.h``, as ioctl_ficlone(2) takes it."""
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS})
_LABEL: Final = "security.selinux"


class Inodes:
    """Inodes that became a further name, each once: two files of a tree that share one would be another tree. Thread-safe."""

    def __init__(self) -> None:
        self._taken: set[tuple[int, int]] = set()
        self._lock = threading.Lock()

    def take(self, found: os.stat_result) -> bool:
        """Return whether this inode is taken for the first time."""
        key = (found.st_dev, found.st_ino)
        with self._lock:
            if key in self._taken:
                return False
            self._taken.add(key)
            return True


def place_known(
    placer: Placer, target: StrPath, path: RelPath, entry: File, source: str, *, mtime_ns: int, inodes: Inodes | None
) -> str:
    """Make ``path`` below ``target`` the file ``entry``, whose content ``source`` has; return ``link``, ``clone`` or ``copy``.

    Without ``inodes`` no further names are made. The inode of ``source`` is never modified. Raises :class:`IntegrityError` when
    ``source`` is no regular file of that length, or turns out different while it is copied; ``OSError`` otherwise.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size_bytes:
            msg = f'"{source}" is not the file of {entry.size_bytes} bytes that it was'
            raise IntegrityError(msg)
        fits = stat.S_IMODE(found.st_mode) == entry.mode and _label(descriptor) == _label(target)
        if fits and inodes is not None and inodes.take(found):
            try:
                placer.link_from(path, source)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
            else:
                return "link"
        new = placer.begin(path)
        try:
            how = "clone" if _clone(descriptor, new) else _copy(descriptor, new, entry, source)
            placer.commit(new, mode=entry.mode, mtime_ns=mtime_ns)
        finally:
            placer.abandon(new)
        return how
    finally:
        os.close(descriptor)


def _clone(source: int, new: NewFile) -> bool:
    with suppress(OSError):
        fcntl.ioctl(new.descriptor, _FICLONE, source)
        return True
    return False


def _copy(source: int, new: NewFile, entry: File, name: str) -> str:
    with open(source, "rb", buffering=0, closefd=False) as stream:
        reader = HashingReader(stream)
        while data := reader.read(COPY_SIZE):
            write_with_holes(new.descriptor, data, reader.size_bytes - len(data))
    if (reader.digest, reader.size_bytes) != (entry.digest, entry.size_bytes):
        msg = f'"{name}" has the digest {reader.digest}, expected {entry.digest}'
        raise IntegrityError(msg)
    os.ftruncate(new.descriptor, entry.size_bytes)
    return "copy"


def _label(place: int | StrPath) -> str | None:
    """Return the type part of an SELinux label, ``None`` without SELinux."""
    try:
        return os.getxattr(place, _LABEL).decode("ascii", "replace").split(":")[2]
    except (OSError, IndexError):
        return None
