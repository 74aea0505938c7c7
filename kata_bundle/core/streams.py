"""The least that code moving bytes asks of a stream. Must not know: what the bytes mean."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Readable", "Writable"]


class Readable(Protocol):
    """Anything with ``read``."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes (all when negative), none at the end."""


class Writable(Protocol):
    """Anything with ``write`` that takes all it is given."""

    def write(self, data: bytes, /) -> object:
        """Take ``data``."""
