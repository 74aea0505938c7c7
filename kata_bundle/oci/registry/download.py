"""One blob from a registry into a file: continued after a break, by this process or an earlier one, checked as a whole.

What has come lies beside the target under a name of its own until its digest is right; then it is renamed. Must not know: what
the blob is, several servers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.blobs import BLOB_MODE
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fsops import about, fsync_directory
from kata_bundle.oci.registry.errors import ProtocolError, RegistryError, RegistryStatusError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.answer import Answer
    from kata_bundle.oci.registry.hosts import Endpoint
    from kata_bundle.oci.registry.transport import Request, Transport

__all__ = ["Partial", "fill", "read_part"]

_READ_BYTES: Final = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class Partial:
    """The part of a blob that has come. Use it as a context: what is unfinished stays for the next time."""

    def __init__(self, target: Path, descriptor: Descriptor, *, moved: Callable[[int], None]) -> None:
        self._target = os.fspath(target)
        self._descriptor = descriptor
        self._moved = moved
        self._state = hashlib.sha256()
        self._file = -1
        self._path = ""
        self.size = 0
        """Bytes there."""
        self.inherited = 0
        """Of these, bytes that an earlier process left or another server sent: a wrong digest may be their fault."""

    def __enter__(self) -> Partial:
        self._open()
        self._take_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if self.size == 0 or (kind is not None and issubclass(kind, IntegrityError)):
                with contextlib.suppress(OSError):
                    os.unlink(self._path)

    def write(self, data: bytes) -> None:
        """Add ``data``. Raises :class:`IntegrityError` when that is more than the blob has, ``OSError`` of the disk."""
        if self.size + len(data) > self._descriptor.size_bytes:
            msg = f"blob {self._descriptor.digest}: the registry sent more than its {self._descriptor.size_bytes} bytes"
            raise IntegrityError(msg)
        self._state.update(data)
        view = memoryview(data)
        with about(self._target):
            while view:
                view = view[os.write(self._file, view) :]
        self.size += len(data)
        self._moved(len(data))

    def restart(self) -> None:
        """Forget everything."""
        self._moved(-self.size)
        with about(self._target):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self._state = hashlib.sha256()
        self.size = self.inherited = 0

    def distrust(self) -> None:
        """Take what is there for inherited: another server goes on from here, and answers only for what it sends itself."""
        self.inherited = self.size

    def finish(self) -> bool:
        """Make the target of what is there and return true; return false, and forget it, when an inherited part was wrong.

        Raises :class:`IntegrityError` when all of it came now and has another digest.
        """
        found = f"sha256:{self._state.hexdigest()}"
        if found != self._descriptor.digest:
            if self.inherited:
                self.restart()
                return False
            msg = f"blob {self._descriptor.digest}: the registry sent content with digest {found}"
            raise IntegrityError(msg)
        with about(self._target):
            os.fchmod(self._file, BLOB_MODE)
            os.fsync(self._file)
            os.rename(self._path, self._target)
            os.close(self._file)
            self._file = -1
            fsync_directory(os.path.dirname(self._target) or ".")
        return True

    def _open(self) -> None:
        """Open the file that earlier processes left, or one of our own while another process writes that one."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        shared = f"{self._target}.tmp-partial"
        own = f"{self._target}.tmp-{os.getpid()}-{os.urandom(4).hex()}"
        for path in (shared, own):
            self._path = path
            self._file = os.open(path, flags, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever held the lock may have finished meanwhile and renamed the file that we opened.
                if os.path.samestat(os.fstat(self._file), os.stat(path, follow_symlinks=False)):
                    return
            except OSError:
                if path == own:
                    return  # a file system without locks; the name is nobody else's
            os.close(self._file)
        self._file = os.open(self._path, flags | os.O_EXCL, 0o600)

    def _take_up(self) -> None:
        if os.fstat(self._file).st_size > self._descriptor.size_bytes:
            os.ftruncate(self._file, 0)
        while data := os.read(self._file, _READ_BYTES):
            self._state.update(data)
            self.size += len(data)
            self._moved(len(data))
        self.inherited = self.size


def fill(partial: Partial, transport: Transport, endpoint: Endpoint, request: Request, descriptor: Descriptor) -> None:
    """Get what ``partial`` lacks from one server and finish it.

    A break is taken up where it happened; ``request`` is sent with a range then. Only tries that moved nothing are counted.
    Raises :class:`RegistryError`, and :class:`IntegrityError` for content that is not the blob's.
    """
    attempt = 0
    while True:
        before = partial.size
        try:
            if partial.size < descriptor.size_bytes or not descriptor.size_bytes:
                _once(partial, transport, endpoint, request, descriptor)
            if partial.finish():
                return
            continue
        except RegistryStatusError as error:
            if error.status == 416 and before:
                partial.restart()
                continue
            failure: RegistryError = error
        except RegistryError as error:
            failure = error
        attempt = 1 if partial.size > before else attempt + 1
        transport.wait_or_raise(failure, attempt)


def _once(partial: Partial, transport: Transport, endpoint: Endpoint, request: Request, descriptor: Descriptor) -> None:
    from kata_bundle.core.record import replace

    offset, size = partial.size, descriptor.size_bytes
    if offset:
        request = replace(request, headers={**request.headers, "Range": f"bytes={offset}-"})
    with transport.once(endpoint, request, {200, 206}) as answer:
        if answer.status == 206:
            _check_range(answer, offset, size - 1, size)
        else:
            if answer.length not in {None, size}:
                msg = f"{request.what}: {answer.origin} sends {answer.length} bytes, expected {size}"
                raise IntegrityError(msg)
            if offset:
                partial.restart()  # it does not know ranges
        for chunk in answer.chunks():
            partial.write(chunk)
    if partial.size < size:
        msg = f"{request.what}: the answer from {endpoint.origin} ended after {partial.size} of {size} bytes"
        raise UnreachableError(msg, retryable=True)


def _check_range(answer: Answer, first: int, last: int, size: int) -> None:
    """Raise :class:`ProtocolError` unless the answer says that it holds exactly bytes ``first`` to ``last`` of ``size``."""
    stated = answer.header("Content-Range") or ""
    found = _CONTENT_RANGE.fullmatch(stated.strip())
    if found is None or (int(found[1]), int(found[2])) != (first, last) or found[3] not in {"*", str(size)}:
        msg = f"{answer.what}: {answer.origin} sends {stated[:60]!a}, asked for bytes {first}-{last}/{size}"
        raise ProtocolError(msg)
    if answer.length not in {None, last - first + 1}:
        msg = f"{answer.what}: {answer.origin} sends {answer.length} bytes for a range of {last - first + 1}"
        raise ProtocolError(msg)


def read_part(answer: Answer, offset: int, length: int, size: int) -> bytes:
    """Return ``length`` bytes from ``offset`` on of a blob of ``size``, out of the answer with that range or with the whole blob.

    Raises :class:`ProtocolError` for another range, :class:`UnreachableError` for an answer that ends early.
    """
    skip = offset
    if answer.status == 206:
        _check_range(answer, offset, offset + length - 1, size)
        skip = 0
    result = bytearray()
    for chunk in answer.chunks():
        result += chunk[skip:]
        skip = max(0, skip - len(chunk))
        if answer.status == 206 and len(result) > length:
            msg = f"{answer.what}: {answer.origin} sends more than the range asked for"
            raise ProtocolError(msg)
        if answer.status == 200 and len(result) >= length:
            break
    if len(result) < length:
        msg = f"{answer.what}: the answer from {answer.origin} ended after {len(result)} of {length} bytes"
        raise UnreachableError(msg, retryable=True)
    return bytes(result[:length])
