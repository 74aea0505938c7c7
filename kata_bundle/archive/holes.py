"""Finding runs of zeros in contents: what an extraction leaves out, and a table of contents names.

Must not know: archives.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["HOLE", "Hole", "HoleFinder"]

HOLE: Final = 1 << 16
"""Unit of holes in bytes: a hole is a run of whole units of zeros, counted from the start of the file."""
_ZEROS: Final = bytes(HOLE)


class Hole(NamedTuple):
    """A run of zeros in a file, both numbers whole multiples of :data:`HOLE`."""

    offset: int
    size_bytes: int


class HoleFinder:
    """Finds the holes of one file in the pieces of its content."""

    def __init__(self) -> None:
        self._holes: list[Hole] = []
        self._position = 0
        self._unit = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if self._unit:
            data = self._unit + data
        whole = len(data) - len(data) % HOLE
        for offset in range(0, whole, HOLE):
            if data.startswith(_ZEROS, offset):
                self._add(self._position + offset)
        self._position += whole
        self._unit = data[whole:]

    @property
    def holes(self) -> tuple[Hole, ...]:
        """What was found so far."""
        return tuple(self._holes)

    def _add(self, offset: int) -> None:
        if self._holes and sum(self._holes[-1]) == offset:
            last = self._holes.pop()
            self._holes.append(Hole(last.offset, last.size_bytes + HOLE))
        else:
            self._holes.append(Hole(offset, HOLE))
