"""Content digests in OCI's spelling, and readers that compute them while streaming.

Knows: sha256, the text form ``sha256:<64 hex digits>`` (OCI image-spec, "Digests").
Must not know: where bytes come from.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NewType

from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.core.streams import Readable, Writable

__all__ = [
    "CHUNK_SIZE",
    "Digest",
    "HashingReader",
    "HashingWriter",
    "digest_bytes",
    "digest_stream",
    "hex_part",
    "parse_digest",
]

Digest = NewType("Digest", str)
"""A checked ``sha256:<hex>`` text. Make one with :func:`parse_digest` or a digest function, never by hand."""

CHUNK_SIZE = 1 << 18
_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


def parse_digest(text: object) -> Digest:
    """Return ``text`` as a digest.

    Raises :class:`IntegrityError` for anything but ``sha256:`` and 64 lower-case hex digits. Since a digest becomes a
    file name, this is also what keeps path separators out of stores and layouts.
    """
    if not isinstance(text, str) or not _PATTERN.fullmatch(text):
        shown = repr(text)
        msg = f"not a sha256 digest: {shown if len(shown) < 120 else shown[:117] + '...'}"
        raise IntegrityError(msg, hint="expected sha256: followed by 64 lower-case hex digits")
    return Digest(text)


def hex_part(digest: Digest) -> str:
    """Return the 64 hex digits of ``digest``."""
    return digest.partition(":")[2]


def digest_bytes(data: bytes | memoryview) -> Digest:
    """Return the digest of ``data``."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def digest_stream(chunks: Iterable[bytes]) -> tuple[Digest, int]:
    """Return the digest and the length in bytes of the concatenated ``chunks``."""
    state, size = hashlib.sha256(), 0
    for chunk in chunks:
        state.update(chunk)
        size += len(chunk)
    return Digest("sha256:" + state.hexdigest()), size


class HashingReader:
    """Wrap a binary stream; ``digest`` and ``size_bytes`` cover exactly what was read through it."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._state = hashlib.sha256()
        self.size_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes (all when negative), hashed."""
        data = self._stream.read(size)
        self._state.update(data)
        self.size_bytes += len(data)
        return data

    def drain(self) -> None:
        """Read what is left, so that ``digest`` covers the whole stream."""
        while self.read(CHUNK_SIZE):
            pass

    @property
    def digest(self) -> Digest:
        """Digest of everything read so far."""
        return Digest("sha256:" + self._state.hexdigest())


class HashingWriter:
    """Wrap a binary sink; ``digest`` and ``size_bytes`` cover exactly what was written through it."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self._state = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes, /) -> int:
        """Write ``data``; return its length."""
        self._stream.write(data)
        self._state.update(data)
        self.size_bytes += len(data)
        return len(data)

    @property
    def digest(self) -> Digest:
        """Digest of everything written so far."""
        return Digest("sha256:" + self._state.hexdigest())
