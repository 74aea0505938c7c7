"""Blobs on disk: written beside, flushed, renamed into place; read with the digest checked; corrupt ones set aside.

Knows the folders ``blobs/sha256``, ``tmp`` and ``quarantine`` of a store. Must not know: what blobs mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import stat
import threading
from typing import TYPE_CHECKING, BinaryIO

from kata_bundle.core import clock
from kata_bundle.core.blobs import BLOB_MODE, open_blob_file, verifying_stream
from kata_bundle.core.digest import CHUNK_SIZE, Digest, digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fsops import about, fsync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["BlobWriter", "Blobs"]

_STALE_AFTER_S = 60.0


class Blobs:
    """The content-addressed part of a store. Safe for many threads and processes at once."""

    def __init__(self, root: Path, *, durable: bool) -> None:
        self.is_durable = durable
        self._blobs = root / "blobs" / "sha256"
        self._temporary = root / "tmp"
        self._quarantine = root / "quarantine"
        self._unsynced = False
        self._sync_lock = threading.Lock()

    def path(self, digest: Digest) -> Path:
        """Return where the blob is or would be."""
        return self._blobs / hex_part(digest)

    def size(self, digest: Digest) -> int | None:
        """Return the blob's length in bytes, ``None`` when it is not there (a link or directory of its name counts as absent)."""
        try:
            status = os.lstat(self.path(digest))
        except FileNotFoundError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def open(self, digest: Digest) -> BinaryIO:
        """Return a stream over the blob that checks the digest before it hands out the last bytes.

        A corrupt blob is moved to quarantine on the way. Raises :class:`IntegrityError` when it is corrupt or not there.
        """
        path = self.path(digest)
        try:
            descriptor = open_blob_file(path, what=f"blob {path}")
        except FileNotFoundError:
            msg = f"blob {digest} is not in the store"
            raise IntegrityError(msg, hint="build or import what it belongs to again") from None
        return verifying_stream(descriptor, digest, what=f"blob {path}", on_mismatch=lambda found: self._set_aside(digest, found))

    def verify(self, digest: Digest) -> int:
        """Read the whole blob and return its length in bytes; raise :class:`IntegrityError` like :meth:`open`."""
        buffer = memoryview(bytearray(CHUNK_SIZE))
        size = 0
        with self.open(digest) as stream:
            while count := stream.readinto(buffer):  # type: ignore[attr-defined]
                size += count
        return size

    def new(self) -> BlobWriter:
        """Return a writer for a blob whose digest is not known yet."""
        return BlobWriter(self._temporary, self)

    def put_bytes(self, data: bytes) -> Digest:
        """Publish ``data`` and return its digest."""
        digest = digest_bytes(data)
        if not self.keep(digest, len(data)):
            with self.new() as writer:
                writer.sink.write(data)
                writer.publish(digest)
        return digest

    def keep(self, digest: Digest, size_bytes: int) -> bool:
        """Return whether the blob is there with the right length, and renew its date so that no collector takes it now."""
        if self.size(digest) != size_bytes:
            return False
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        except PermissionError:
            pass  # somebody else's store, which we only read
        self._unsynced = True  # another process may have published it and not have flushed the name yet
        return True

    def flush(self, descriptor: int) -> None:
        """Make a file's content durable, unless the store was opened without durability."""
        if self.is_durable:
            os.fsync(descriptor)

    def adopt(self, temporary: str, digest: Digest) -> None:
        """Rename a complete, flushed file into place."""
        os.rename(temporary, self.path(digest))
        self._unsynced = True

    def sync(self) -> None:
        """Make the names of all blobs published by this object durable: to be called before a record refers to them."""
        with self._sync_lock:  # who finds nothing to do must not overtake the one who is doing it
            if self._unsynced and self.is_durable:
                self._unsynced = False
                try:
                    fsync_directory(self._blobs)
                except BaseException:
                    self._unsynced = True
                    raise

    def digests(self) -> Iterator[Digest]:
        """Yield the digests of all blobs, sorted."""
        try:
            names = sorted(os.listdir(self._blobs))
        except FileNotFoundError:
            return
        for name in names:
            if len(name) == 64 and not name.strip("0123456789abcdef"):
                yield Digest(f"sha256:{name}")

    def sweep(self) -> int:
        """Remove what killed writers left in ``tmp`` and return its size in bytes. What is still being written is left alone."""
        freed = 0
        for name in os.listdir(self._temporary):
            path = self._temporary / name
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    status = os.fstat(descriptor)
                    # A living writer holds the lock; the age covers the instant between its creation and its lock. What is
                    # dated later than now was left before the clock was set back.
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if abs(clock.now() - status.st_mtime) < _STALE_AFTER_S:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        freed += sum(entry.stat().st_size for entry in os.scandir(path))
                        shutil.rmtree(path)
                    else:
                        os.unlink(path)
                        freed += status.st_size
                finally:
                    os.close(descriptor)
        return freed

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a new folder in ``tmp``, removed afterwards, and by :meth:`sweep` when this process is killed."""
        folder = self._temporary / f"{os.getpid()}-{os.urandom(8).hex()}"
        folder.mkdir(mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            os.close(descriptor)
            shutil.rmtree(folder, ignore_errors=True)

    def _set_aside(self, digest: Digest, descriptor: int) -> str:
        """Move the corrupt file open at ``descriptor`` to quarantine; return a hint for people."""
        path = self.path(digest)
        target = self._quarantine / f"{hex_part(digest)}.{os.urandom(4).hex()}"
        bad = os.fstat(descriptor)
        try:
            here = os.lstat(path)
            if (here.st_dev, here.st_ino) == (bad.st_dev, bad.st_ino):
                os.rename(path, target)
                moved = os.lstat(target)
                if (moved.st_dev, moved.st_ino) != (bad.st_dev, bad.st_ino):
                    # A writer replaced the blob in between, and we took the good one: give it back, never over another.
                    with contextlib.suppress(FileExistsError):
                        os.link(target, path, follow_symlinks=False)
                    os.unlink(target)
                    return "it was replaced while it was read; try again"
        except FileNotFoundError:
            return "it was already set aside; build or import what it belongs to again"
        except OSError as error:
            return f"it could not be moved to quarantine ({error.strerror}); remove {path}"
        return f"moved to {target}; build or import what it belongs to again"


class BlobWriter:
    """A blob being made: write to :attr:`sink`, then :meth:`publish`. Leaving the context unpublished drops it."""

    def __init__(self, directory: Path, blobs: Blobs) -> None:
        self._blobs = blobs
        self._name: str | None = os.fspath(directory / f"{os.getpid()}-{os.urandom(8).hex()}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._name, flags, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: the age alone protects from sweep
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._raw = _HashingFile(descriptor, self._name)
        self.sink: BinaryIO = io.BufferedWriter(self._raw, CHUNK_SIZE)
        """Where the bytes go; write-only, not seekable."""

    def publish(self, expected: Digest | None = None) -> tuple[Digest, int]:
        """Finish the blob; return its digest and its length in bytes.

        Nothing is published and :class:`IntegrityError` raised when the digest is not ``expected``.
        """
        digest, size = self.seal(expected)
        if not self.is_known():
            self.flush()
            self.adopt()
        return digest, size

    # The steps of publish, for those who take them for many blobs at once.

    def seal(self, expected: Digest | None = None) -> tuple[Digest, int]:
        """End writing; return digest and length in bytes, or raise like :meth:`publish`."""
        if self._name is None:
            msg = "a blob is published once"
            raise ValueError(msg)
        self.sink.flush()
        digest, size = self._raw.digest, self._raw.size_bytes
        if expected is not None and digest != expected:
            self.discard()
            msg = f"content has digest {digest} ({size} bytes), expected {expected}"
            raise IntegrityError(msg)
        os.fchmod(self._raw.fileno(), BLOB_MODE)
        return digest, size

    def is_known(self) -> bool:
        """Drop the sealed blob when the store has it already; return whether it did."""
        if not self._blobs.keep(self._raw.digest, self._raw.size_bytes):
            return False
        self.discard()
        return True

    def flush(self) -> None:
        """Make the sealed content durable."""
        with about(self._raw.path):
            self._blobs.flush(self._raw.fileno())

    def adopt(self) -> None:
        """Give the flushed blob its name."""
        name, self._name = self._name, None
        if name is None:
            return
        try:
            # Closed first: nobody can link, hash or run a blob that is still open for writing.
            self.sink.close()
            self._blobs.adopt(name, self._raw.digest)
        except BaseException:
            _remove(name)
            raise

    def discard(self) -> None:
        """Drop what was written; nothing when published already."""
        name, self._name = self._name, None
        if name is not None:
            self._raw.close()  # below the buffer, which would flush what nobody wants
            _remove(name)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()


class _HashingFile(io.FileIO):
    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(descriptor, "wb", closefd=True)
        self._state = hashlib.sha256()
        self.path = path
        self.size_bytes = 0

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        with about(self.path):
            count = super().write(view)
        self._state.update(view[:count])
        self.size_bytes += count
        return count

    def seekable(self) -> bool:
        return False  # what is written twice or skipped would not be what was hashed

    @property
    def digest(self) -> Digest:
        return Digest("sha256:" + self._state.hexdigest())


def _remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
