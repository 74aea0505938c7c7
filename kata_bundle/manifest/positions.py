"""Where values stand in a document: key paths, places, and the offset arithmetic behind them.

Knows: text. Must not know: any format.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

__all__ = ["KeyPath", "LineIndex", "Place", "Places", "key_text"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys and list indexes from the top of the document."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key_text(path: KeyPath) -> str:
    """Return ``path`` as text: ``shims.qemu.x86_64[3]``; other keys than letters, digits, ``_`` and ``-`` in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text


class Place(NamedTuple):
    """Line and column from 1, in characters, and how many characters of that line belong to it (at least 1)."""

    line: int
    column: int
    length: int


class LineIndex:
    """Line and column of an offset into ``text``. Lines end at ``\\n``, as the three formats and editors see them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, start: int, end: int | None = None) -> Place:
        """Return the place of the characters from ``start`` to ``end``, cut at the end of the first line."""
        start = min(max(start, 0), len(self._text))
        line = bisect_right(self._starts, start)
        begin = self._starts[line - 1]
        stop = self._starts[line] - 1 if line < len(self._starts) else len(self._text)
        if stop > begin and self._text[stop - 1] == "\r":
            stop -= 1
        last = stop if end is None else min(end, stop)
        return Place(line, start - begin + 1, max(last - start, 1))

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line and column, both from 1, clamped to the text."""
        if line > len(self._starts):
            return len(self._text)
        return min(self._starts[max(line, 1) - 1] + max(column, 1) - 1, len(self._text))


@dataclass(slots=True)
class Places:
    """The place of every value and of every key, by key path; ``redirects`` lead from an alias to what it stands for."""

    values: dict[KeyPath, Place] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    redirects: dict[KeyPath, KeyPath] = field(default_factory=dict)

    def find(self, path: KeyPath, *, of_key: bool = False) -> Place:
        """Return the place of the value at ``path``, or of its key; of the nearest enclosing value when there is none."""
        path = self._follow(path)
        while True:
            place = (self.keys.get(path) if of_key else None) or self.values.get(path) or self.keys.get(path)
            if place is not None:
                return place
            if not path:
                return Place(1, 1, 1)
            path, of_key = self._follow(path[:-1]), True

    def _follow(self, path: KeyPath) -> KeyPath:
        if not self.redirects:
            return path
        for _ in range(len(path) + 1):
            for size in range(len(path) - 1, 0, -1):
                target = self.redirects.get(path[:size])
                if target is not None:
                    path = target + path[size:]
                    break
            else:
                break
        return path
