"""Two trees that should be one: which paths differ, in what, and where the first other byte is.

Must not know: how the trees were made.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.digest import CHUNK_SIZE
from kata_bundle.core.tree import Directory, File, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import Entry, Tree
    from kata_bundle.store import Store

__all__ = ["Difference", "Kind", "compare_trees", "holds_dates"]

_AROUND: Final = 24


class Kind(StrEnum):
    """What differs at a path."""

    ONLY_FIRST = "only in the first"
    ONLY_SECOND = "only in the second"
    TYPE = "type"
    TARGET = "target"
    MODE = "mode"
    CONTENT = "content"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One path at which two trees differ."""

    path: RelPath
    kind: Kind
    first: str
    """What is there in the first tree, in words; empty when nothing is."""
    second: str
    offset: int | None = None
    """Of a content: where the first other byte is."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"path": self.path, "kind": self.kind.value, "first": self.first, "second": self.second, "offset": self.offset}

    @property
    def text(self) -> str:
        """One line for people, without the path."""
        if self.kind in {Kind.ONLY_FIRST, Kind.ONLY_SECOND}:
            return f"{self.kind} build: {self.first or self.second}"
        at = "" if self.offset is None else f", first other byte at {self.offset}"
        return f"{self.kind}: {self.first} / {self.second}{at}"


def compare_trees(store: Store, first: Tree, second: Tree) -> tuple[Difference, ...]:
    """Return the paths at which two trees differ, sorted; ``store`` has the contents."""
    found = []
    for path in sorted(first.entries.keys() | second.entries.keys()):
        a, b = first.entries.get(path), second.entries.get(path)
        if a == b:
            continue
        if a is None or b is None:
            kind = Kind.ONLY_SECOND if a is None else Kind.ONLY_FIRST
            found.append(Difference(path=path, kind=kind, first=_words(a), second=_words(b)))
        elif type(a) is not type(b):
            found.append(Difference(path=path, kind=Kind.TYPE, first=_words(a), second=_words(b)))
        elif isinstance(a, File) and isinstance(b, File) and a.digest != b.digest:
            offset = _first_other(store, a, b)
            found.append(Difference(path=path, kind=Kind.CONTENT, first=_words(a), second=_words(b), offset=offset))
        else:
            kind = Kind.TARGET if isinstance(a, Symlink) else Kind.MODE
            found.append(Difference(path=path, kind=kind, first=_words(a), second=_words(b)))
    return tuple(found)


def holds_dates(
    store: Store, first: Tree, second: Tree, paths: Iterable[RelPath], spans: tuple[tuple[float, float], ...]
) -> bool:
    """Return whether each of ``paths`` is a file whose first other bytes are dates within ``spans`` (seconds since 1970).

    Dates are looked for as numbers, written as text in base 8 and 10 or as 32 bits; those written in words are not recognised.
    """
    count = 0
    for path in paths:
        a, b = first.entries.get(path), second.entries.get(path)
        if not (isinstance(a, File) and isinstance(b, File)):
            return False
        offset = _first_other(store, a, b)
        if not all(_is_date(_window(store, one, offset), min(offset, _AROUND), spans) for one in (a, b)):
            return False
        count += 1
    return count > 0


def _is_date(data: bytes, at: int, spans: tuple[tuple[float, float], ...]) -> bool:
    def fits(value: int) -> bool:
        return any(start - 2 <= value <= end + 2 for start, end in spans)

    for match in re.finditer(rb"[0-9]+", data):
        if match.start() <= at < match.end():
            digits = match.group()
            if fits(int(digits)) or fits(int(digits[:10] or b"0")) or (not set(digits) & set(b"89") and fits(int(digits, 8))):
                return True
    for start in range(max(0, at - 3), at + 1):
        part = data[start : start + 4]
        if len(part) == 4 and (fits(struct.unpack("<I", part)[0]) or fits(struct.unpack(">I", part)[0])):
            return True
    return False


def _window(store: Store, entry: File, offset: int) -> bytes:
    with store.open(entry.digest) as stream:
        skip = max(0, offset - _AROUND)
        while skip and (data := stream.read(min(skip, CHUNK_SIZE))):
            skip -= len(data)
        return stream.read(2 * _AROUND)


def _first_other(store: Store, a: File, b: File) -> int:
    offset = 0
    with store.open(a.digest) as one, store.open(b.digest) as two:
        while True:
            x, y = one.read(CHUNK_SIZE), two.read(CHUNK_SIZE)
            if x != y:
                return offset + next((i for i, (p, q) in enumerate(zip(x, y, strict=False)) if p != q), min(len(x), len(y)))
            if not x:
                return offset
            offset += len(x)


def _words(entry: Entry | None) -> str:
    match entry:
        case None:
            return ""
        case File(mode=mode, size_bytes=size):
            return f"file {mode:04o}, {size} bytes"
        case Symlink(target=target):
            return f'link to "{target}"'
        case other:
            return f"folder {other.mode:04o}" if isinstance(other, Directory) else "further name of a file"
