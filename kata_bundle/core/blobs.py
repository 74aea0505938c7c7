"""Files that are named by the digest of their content: read with the digest checked, placed by link or copy.

Stores and image layouts share this. Must not know: directory layouts, media types.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from kata_bundle.core.digest import CHUNK_SIZE, Digest
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fsops import about

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

__all__ = ["BLOB_MODE", "copy_verified", "link_or_copy", "open_blob_file", "verifying_stream"]

BLOB_MODE = 0o444
"""Mode of every blob file. Blobs share inodes with the layouts made of them: nobody writes to one, ever."""

_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS}


def open_blob_file(path: str | os.PathLike[str], *, what: str, dir_fd: int | None = None) -> int:
    """Return a descriptor of the regular file ``path``, opened for reading.

    Symbolic links, FIFOs, devices and directories raise :class:`IntegrityError`, and opening never blocks on them. A file that
    is not there raises ``FileNotFoundError``.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            msg = f"{what} is a symbolic link, expected a regular file"
            raise IntegrityError(msg) from None
        if error.errno in {errno.ENXIO, errno.ENODEV}:
            msg = f"{what} is a socket or device, expected a regular file"
            raise IntegrityError(msg) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        msg = f"{what} is not a regular file"
        raise IntegrityError(msg)
    return descriptor


def verifying_stream(
    descriptor: int,
    digest: Digest,
    *,
    what: str,
    size_bytes: int | None = None,
    on_mismatch: Callable[[int], str] | None = None,
) -> BinaryIO:
    """Return a stream over ``descriptor``, which it owns, that checks content against ``digest`` while it is read.

    The check happens before the last bytes are handed out, so a reader that stops exactly at the end is covered too; one that
    stops earlier has read unverified bytes. A wrong ``size_bytes`` raises :class:`IntegrityError` at once, a wrong digest on
    reading. ``on_mismatch`` is called with the descriptor then; the text it returns becomes the error's hint.
    """
    raw = _VerifyingFile(descriptor, digest, what, on_mismatch)
    try:
        raw.start(size_bytes)
    except BaseException:
        raw.close()
        raise
    return io.BufferedReader(raw, CHUNK_SIZE)


class _VerifyingFile(io.FileIO):
    def __init__(self, descriptor: int, digest: Digest, what: str, on_mismatch: Callable[[int], str] | None) -> None:
        super().__init__(descriptor, "rb", closefd=True)
        self._digest = digest
        self._what = what
        self._on_mismatch = on_mismatch
        self._state = hashlib.sha256()
        self._left = os.fstat(descriptor).st_size
        self._error: IntegrityError | None = None

    def start(self, size_bytes: int | None) -> None:
        if size_bytes is not None and size_bytes != self._left:
            self._fail(f"{self._what} has {self._left} bytes, expected {size_bytes}")
        if not self._left:
            self._check()

    def readinto(self, buffer: Buffer, /) -> int:
        if self._error is not None:
            raise self._error
        if not self._left:
            return 0
        view = memoryview(buffer).cast("B")[: self._left]
        count = super().readinto(view) or 0
        if not count:
            self._fail(f"{self._what} became shorter while it was read")
        self._state.update(view[:count])
        self._left -= count
        if not self._left:
            self._check()
        return count

    # Every way of reading goes through readinto, or it would go past the check.
    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.readinto(buffer)])

    def readall(self) -> bytes:
        buffer = bytearray(self._left)
        view = memoryview(buffer)
        done = 0
        while done < len(buffer):
            done += self.readinto(view[done:])
        return bytes(buffer)

    def seekable(self) -> bool:
        return False

    def _check(self) -> None:
        found = f"sha256:{self._state.hexdigest()}"
        if found != self._digest:
            self._fail(f"{self._what} has digest {found}, expected {self._digest}")

    def _fail(self, message: str) -> None:
        hint = self._on_mismatch(self.fileno()) if self._on_mismatch is not None else None
        self._error = IntegrityError(message, hint=hint)
        raise self._error


def copy_verified(descriptor: int, target: str | os.PathLike[str], digest: Digest, *, what: str) -> None:
    """Copy ``descriptor``, which it owns, to the new file ``target`` and flush it; on any failure ``target`` is not there."""
    try:
        with (
            verifying_stream(descriptor, digest, what=what) as source,
            open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "wb", 0) as sink,
        ):
            while chunk := source.read(CHUNK_SIZE):
                view = memoryview(chunk)
                with about(target):
                    while view:
                        view = view[sink.write(view) :]
            with about(target):
                os.fchmod(sink.fileno(), BLOB_MODE)
                os.fsync(sink.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(target)
        raise


def link_or_copy(source: str | os.PathLike[str], target: str | os.PathLike[str], digest: Digest, *, what: str) -> bool:
    """Make ``target`` hold the blob ``source``: a hard link where the file system allows, else a verified copy.

    ``target`` appears complete or not at all, and replaces nothing but a file of that name. Returns whether it is a link.
    Raises :class:`IntegrityError` when ``source`` is no regular file or a copy does not have ``digest``; ``OSError`` otherwise.
    """
    temporary = f"{os.fspath(target)}.tmp-{os.getpid()}-{os.urandom(4).hex()}"
    descriptor = open_blob_file(source, what=what)
    linked = True
    try:
        os.link(source, temporary, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            os.close(descriptor)
            raise
        linked = False
    if linked:
        os.close(descriptor)
    else:
        copy_verified(descriptor, temporary, digest, what=what)
    try:
        os.rename(temporary, target)
        # Renaming one name of an inode over another name of it does nothing and leaves both.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return linked
