"""Which old bytes help with new ones: old files by their names, and places in them by equal blocks.

Names: the same path, the file behind the same link, a name that differs in numbers only, a name of the same words. Places: the
same place, and where blocks of 4 KiB moved to, as the contents of file-system images do. All of it is only a guess of what will
compress well, and depends on nothing but the two sides. Must not know: compression, tables.
"""

from __future__ import annotations

import os
import re
import zlib
from functools import cached_property
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.deltaformat import Range, prefix_limit
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.relpath import resolve_link
from kata_bundle.core.tree import File, Hardlink, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.relpath import RelPath

__all__ = ["BlockIndex", "read_range", "similar_files", "window", "with_moved"]

_BLOCK: Final = 4096
_ZERO_BLOCK: Final = zlib.crc32(bytes(_BLOCK))
_NEAR: Final = 16 * _BLOCK
"""Moved blocks closer than this to each other are read in one range."""
_AROUND: Final = 4 * _BLOCK
_FEW: Final = 4
_CANDIDATES: Final = 3
_NUMBERS: Final = re.compile(r"[0-9]+")
_WORDS: Final = re.compile(r"[^A-Za-z]+")
_READ: Final = 1 << 20


def similar_files(old: Tree, new: Tree) -> dict[Digest, tuple[File, ...]]:
    """Return for each content of ``new`` that ``old`` lacks at most three old files that may be like it, the likeliest first."""
    there = {path: entry for path, entry in old.entries.items() if isinstance(entry, File) and entry.size_bytes}
    known = {entry.digest for entry in old.entries.values() if isinstance(entry, File)}
    by_shape: dict[str, list[RelPath]] = {}
    by_words: dict[str, list[RelPath]] = {}
    for path in there:
        by_shape.setdefault(_NUMBERS.sub("0", path), []).append(path)
        for word in _words(path):
            by_words.setdefault(word, []).append(path)
    links = _linked(new)
    result: dict[Digest, tuple[File, ...]] = {}
    for path, entry in new.entries.items():
        if not isinstance(entry, File) or entry.digest in known or entry.digest in result or not entry.size_bytes:
            continue
        names: list[RelPath] = [path] if path in there else []
        names += [target for link in links.get(path, ()) if (target := _file_behind(old, link)) is not None]
        same_shape = by_shape.get(_NUMBERS.sub("0", path), [])
        names += sorted(same_shape, key=lambda p: (abs(there[p].size_bytes - entry.size_bytes), p))
        if len(names) < _CANDIDATES:
            names += _of_same_words(path, entry, by_words, there)
        chosen: dict[Digest, File] = {}
        for name in names:
            if name in there:
                chosen.setdefault(there[name].digest, there[name])
        result[entry.digest] = tuple(chosen.values())[:_CANDIDATES]
    return result


def window(base: File, number: int, offset: int, length: int, budget: int) -> Range:
    """Return at most ``budget`` bytes of source ``number`` around the place where ``length`` new bytes lie at ``offset``."""
    margin = max(0, budget - length) // 2
    start = min(max(0, offset - margin), max(0, base.size_bytes - min(budget, length + 2 * margin)))
    return Range(number, start, min(base.size_bytes - start, budget, length + 2 * margin))


class BlockIndex:
    """Where each block of an old file lies. Zeros and blocks that stand twice are left out."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path

    @cached_property
    def _blocks(self) -> Mapping[int, int]:
        blocks: dict[int, int] = {}
        offset = 0
        with open(self._path, "rb", buffering=0) as stream:
            while piece := stream.read(_READ):
                view = memoryview(piece)
                for at in range(0, len(piece) - _BLOCK + 1, _BLOCK):
                    key = zlib.crc32(view[at : at + _BLOCK])
                    if key != _ZERO_BLOCK:
                        blocks[key] = offset + at if key not in blocks else -1
                offset += len(piece)
        return blocks

    def unknown_bytes(self, data: bytes, offset: int) -> int:
        """Return how many bytes of ``data``, new at ``offset``, lie in blocks, other than zeros, that are not in the old file."""
        view = memoryview(data)
        first = -offset % _BLOCK
        starts = range(first, len(data) - _BLOCK + 1, _BLOCK)
        unknown = sum(
            1 for at in starts if (key := zlib.crc32(view[at : at + _BLOCK])) not in self._blocks and key != _ZERO_BLOCK
        )
        return unknown * _BLOCK + len(data) - len(starts) * _BLOCK

    def moved(self, data: bytes, offset: int, *, apart: Range) -> list[tuple[int, int]]:
        """Return (start, end) of old bytes outside ``apart`` that the blocks of ``data``, new at ``offset``, are found in.

        Those that hold most come first. Fewer than four blocks are not worth a range.
        """
        view = memoryview(data)
        found = []
        for at in range(-offset % _BLOCK, len(data) - _BLOCK + 1, _BLOCK):
            place = self._blocks.get(zlib.crc32(view[at : at + _BLOCK]), -1)
            if place >= 0 and not apart.offset <= place < apart.offset + apart.length:
                found.append(place)
        found.sort()
        groups: list[tuple[int, int, int]] = []
        for place in found:
            if groups and place - groups[-1][1] <= _NEAR:
                start, _, count = groups[-1]
                groups[-1] = (start, place + _BLOCK, count + 1)
            else:
                groups.append((place, place + _BLOCK, 1))
        groups.sort(key=lambda group: (-group[2], group[0]))
        return [(max(0, start - _AROUND), end + _AROUND) for start, end, count in groups if count >= _FEW]


def with_moved(near: Range, moved: list[tuple[int, int]], *, base: File, length: int, budget: int) -> tuple[Range, ...]:
    """Return the window ``near`` and as many of the ``moved`` places as a frame of ``length`` bytes may have beside it.

    Where much moved, the window gives way to a quarter of that. The window comes last: near bytes are cheapest to refer to.
    """
    limit = min(budget, prefix_limit(length))
    wanted = sum(end - start for start, end in moved)
    if wanted > limit - near.length:
        half = max(limit - wanted, limit // 4)
        cut = max(0, near.length - half) // 2
        near = Range(near.source, near.offset + cut, near.length - 2 * cut)
    room = limit - near.length
    ranges: list[Range] = []
    for start, end in moved[:64]:
        stop = min(end, base.size_bytes, start + room)
        if stop - start >= _BLOCK:
            ranges.append(Range(near.source, start, stop - start))
            room -= stop - start
    return (*sorted(ranges, key=lambda r: r.offset), near)


def read_range(path: str | os.PathLike[str], offset: int, length: int) -> bytes:
    """Return ``length`` bytes of a file from ``offset`` on, fewer at its end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(_pieces(descriptor, offset, length))
    finally:
        os.close(descriptor)


def _pieces(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    while length and (piece := os.pread(descriptor, min(length, _READ), offset)):
        yield piece
        offset += len(piece)
        length -= len(piece)


def _words(path: RelPath) -> set[str]:
    return {word for word in _WORDS.split(path.rpartition("/")[2].lower()) if len(word) > 1}


def _of_same_words(
    path: RelPath, entry: File, by_words: Mapping[str, list[RelPath]], there: Mapping[RelPath, File]
) -> list[RelPath]:
    """Return old files that share words with the name ``path``, the most first; not those of a wholly other size."""
    score: dict[RelPath, int] = {}
    words = _words(path)
    for word in words:
        for found in by_words.get(word, ()):
            score[found] = score.get(found, 0) + 2
    folder = path.rpartition("/")[0]
    size = entry.size_bytes
    fitting = [p for p in score if size // 16 <= there[p].size_bytes <= 16 * size]
    return sorted(
        fitting,
        key=lambda p: (-score[p] + len(_words(p)), p.rpartition("/")[0] != folder, abs(there[p].size_bytes - size), p),
    )[:_CANDIDATES]


def _linked(tree: Tree) -> dict[RelPath, list[RelPath]]:
    """Return file → the links that lead to it."""
    result: dict[RelPath, list[RelPath]] = {}
    for path, entry in tree.entries.items():
        if isinstance(entry, Symlink) and (target := _file_behind(tree, path)) is not None:
            result.setdefault(target, []).append(path)
    return result


def _file_behind(tree: Tree, path: RelPath) -> RelPath | None:
    """Return the regular file that ``path`` leads to, at most through four links."""
    place: RelPath | None = path
    for _ in range(5):
        entry = None if place is None else tree.entries.get(place)
        if isinstance(entry, File):
            return place
        if isinstance(entry, Hardlink):
            place = entry.target
        elif isinstance(entry, Symlink) and place is not None:
            try:
                place = resolve_link(place, entry.target)
            except ArchiveError:
                return None
        else:
            return None
    return None
