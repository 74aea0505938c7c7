"""Making a delta layer, or a part of it as an estimate. Each frame of new content is stored in the cheapest way found.

Zeros and places equal to the old file's cost nothing; else the frame is compressed behind the old bytes around its place and
those that its blocks moved from, or by itself. The bytes depend on the two trees and the recipe, not on the number of threads.
Memory: for each thread about four frames and what libzstd needs for its level; and twelve bytes for each old block of 4 KiB.
Must not know: where files come from, where deltas go.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, TypeVar, cast

from kata_bundle.archive.deltacodec import compress, library_version
from kata_bundle.archive.deltaformat import (
    DEFAULT_FRAME,
    DeltaRecipe,
    DeltaTable,
    FrameRecipe,
    Piece,
    Range,
    Source,
    layout,
    prefix_limit,
    render_header,
)
from kata_bundle.archive.deltamatch import BlockIndex, read_range, similar_files, window, with_moved
from kata_bundle.core.digest import HashingWriter
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.record import record
from kata_bundle.core.tree import File, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from kata_bundle.archive.deltaapply import FileOf
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.streams import Writable

__all__ = ["DEFAULT_LEVEL", "Estimate", "MadeDelta", "current_recipe", "encode_delta", "estimate_delta"]

DEFAULT_LEVEL: Final = 10
_SAMPLE: Final = 8
"""Frames of each file that an estimate is made from, at least."""
_TRIED: Final = 3
"""Frames by which old files are compared with each other."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@record
class MadeDelta:
    """A written delta: its identity, and its table, which says what went where."""

    table: DeltaTable
    digest: Digest
    size_bytes: int


@record
class Estimate:
    """How large a delta will be. ``exact`` when every frame was compressed, not only a sample."""

    table: DeltaTable
    """With the stored bytes of frames that were not compressed filled in from their neighbours."""
    size_bytes: int
    exact: bool
    sampled_bytes: int
    """New bytes that were compressed for it."""


def current_recipe(level: int = DEFAULT_LEVEL, *, frame_size: int = DEFAULT_FRAME) -> DeltaRecipe:
    """Return the recipe that deltas are made with here."""
    return DeltaRecipe(level=level, library=library_version(), frame_size=frame_size)


def encode_delta(
    old: Tree,
    new: Tree,
    old_file: FileOf,
    new_file: FileOf,
    sink: Writable,
    *,
    recipe: DeltaRecipe,
    mtime: int,
    jobs: int = 1,
    spool: Path | None = None,
    what: str = "delta",
    progress: Progress = NO_PROGRESS,
) -> MadeDelta:
    """Write the delta from ``old`` to ``new`` to ``sink`` and return what it is.

    ``old_file`` and ``new_file`` give a file with a content, by digest. ``mtime`` becomes the time of restored files. Stored
    bytes wait in an unnamed file in ``spool`` (default: the system's place for those). Raises :class:`IntegrityError` when a file
    is not there, or has another length than its tree says.
    """
    plan = _Plan(old, new, old_file, new_file, recipe)
    task = f"delta {what}"
    progress.start(task, sum(plan.lengths))
    made: list[_Made] = []
    try:
        with tempfile.TemporaryFile(dir=spool) as stored:
            for each in _ordered(plan.make, range(len(plan.frames)), jobs=jobs):
                made.append(_Made(len(each.data), each.ranges))
                stored.write(each.data)
                progress.advance(task, plan.lengths[len(made) - 1])
            table = plan.table(made, mtime)
            hashed = HashingWriter(sink)
            hashed.write(render_header(table))
            stored.seek(0)
            shutil.copyfileobj(stored, cast("BinaryIO", hashed), 1 << 20)
    finally:
        progress.finish(task)
    return MadeDelta(table=table, digest=hashed.digest, size_bytes=hashed.size_bytes)


def estimate_delta(
    old: Tree,
    new: Tree,
    old_file: FileOf,
    new_file: FileOf,
    *,
    recipe: DeltaRecipe,
    every: int = 8,
    jobs: int = 1,
    what: str = "delta",
    progress: Progress = NO_PROGRESS,
) -> Estimate:
    """Return how large :func:`encode_delta` will be, from one frame in ``every`` of each file (1: all, so that it is exact).

    At least eight frames of each file are compressed. Raises like :func:`encode_delta`.
    """
    plan = _Plan(old, new, old_file, new_file, recipe)
    chosen = plan.sample(every)
    task = f"estimate {what}"
    progress.start(task, sum(plan.lengths[number] for number in chosen))
    try:
        found: dict[int, _Made] = {}
        for number, each in zip(chosen, _ordered(plan.make, chosen, jobs=jobs), strict=True):
            found[number] = _Made(len(each.data), each.ranges)
            progress.advance(task, plan.lengths[number])
    finally:
        progress.finish(task)
    table = plan.table(plan.fill(found), 0)
    return Estimate(
        table=table,
        size_bytes=len(render_header(table)) + table.data_bytes,
        exact=len(chosen) == len(plan.frames),
        sampled_bytes=sum(plan.lengths[number] for number in chosen),
    )


_OldBytes: TypeAlias = "tuple[tuple[Digest, Range], ...]"
"""Ranges of old files by digest: the numbers of sources are given out at the end."""


@record(kw_only=False)
class _Frame:
    data: bytes
    ranges: _OldBytes


@record(kw_only=False)
class _Made:
    stored: int
    ranges: _OldBytes


class _Plan:
    """The frames of a delta, and what each may be made from. Its methods may be called from several threads."""

    def __init__(self, old: Tree, new: Tree, old_file: FileOf, new_file: FileOf, recipe: DeltaRecipe) -> None:
        self._old, self._new = old, new
        self._old_file, self._new_file = old_file, new_file
        self._recipe = recipe
        self._budget = 2 * recipe.frame_size
        self._known = {entry.digest for entry in old.entries.values() if isinstance(entry, File)}
        self.frames = layout(new, self._known, recipe.frame_size)
        self.lengths = [sum(piece.length for piece in pieces) for pieces in self.frames]
        self._candidates = similar_files(old, new)
        self._numbers: dict[Digest, list[int]] = {}
        for number, pieces in enumerate(self.frames):
            for piece in pieces:
                self._numbers.setdefault(piece.digest, []).append(number)
        self._lock = threading.Lock()
        self._bases: dict[Digest, File | None] = {}
        self._indexes: dict[Digest, BlockIndex] = {}
        self._news: dict[int, int] = {}
        self._building: dict[Digest, threading.Lock] = {}

    def make(self, number: int) -> _Frame:
        """Return frame ``number``, made in the cheapest way."""
        pieces, length = self.frames[number], self.lengths[number]
        data = self._read_new(pieces)
        if data.count(0) == length:
            return _Frame(b"", ())
        found = self._alone(pieces[0], data) if len(pieces) == 1 else self._together(pieces)
        if found and found[0][1].length == length and len(found) == 1 and self._read_old(found) == data:
            return _Frame(b"", found)
        return self._cheapest(data, found)

    def sample(self, every: int) -> list[int]:
        """Return the frames to try for an estimate: of each file one in ``every``, at least eight, those that have most news."""
        chosen: set[int] = set()
        for numbers in self._numbers.values():
            count = max(_SAMPLE, -(-len(numbers) // every))
            if count >= len(numbers):
                chosen.update(numbers)
                continue
            # Spread evenly over the news: a frame is as likely to be tried as it has much of it.
            ends = list(accumulate(self.news(number) for number in numbers))
            chosen.update(numbers[bisect_right(ends, (2 * i + 1) * ends[-1] // (2 * count)) % len(numbers)] for i in range(count))
        return sorted(chosen)

    def fill(self, found: dict[int, _Made]) -> list[_Made]:
        """Return all frames; those not tried with the stored bytes for their news that the tried ones of their file have."""
        result = dict(found)
        for numbers in self._numbers.values():
            tried = [number for number in numbers if number in found]
            rate = sum(found[number].stored / max(1, self.news(number)) for number in tried) / len(tried)
            ranges = next((found[number].ranges for number in tried if found[number].ranges), ())
            for number in numbers:
                if number not in result:
                    stored = min(self.lengths[number], round(self.news(number) * rate))
                    # For an estimate only the sources matter; a byte of one is within every limit.
                    result[number] = _Made(max(1, stored), tuple((digest, Range(0, 0, 1)) for digest, _ in ranges[:1]))
        return [result[number] for number in range(len(self.frames))]

    def news(self, number: int) -> int:
        """Return how many bytes of a frame are in no block of its old file."""
        known = self._news.get(number)
        if known is None:
            pieces = self.frames[number]
            base = self._base(pieces[0].digest) if len(pieces) == 1 else None
            if base is None:
                known = self.lengths[number]
            else:
                known = self._index(base).unknown_bytes(self._read_new(pieces), pieces[0].offset)
            self._news[number] = known
        return known

    def table(self, made: Sequence[_Made], mtime: int) -> DeltaTable:
        """Return the table of frames with these stored bytes and ranges, the sources in the order of the old paths."""
        new = {entry.digest for entry in self._new.entries.values() if isinstance(entry, File)}
        used = {digest for item in made for digest, _ in item.ranges} | (new & self._known)
        sources: dict[Digest, int] = {}
        for entry in self._old.entries.values():
            if isinstance(entry, File) and entry.digest in used:
                sources.setdefault(entry.digest, entry.size_bytes)
        numbers = {digest: number for number, digest in enumerate(sources)}
        return DeltaTable(
            old=self._old.digest,
            tree=self._new,
            mtime=mtime,
            recipe=self._recipe,
            sources=tuple(Source(digest=digest, size_bytes=size) for digest, size in sources.items()),
            frames=tuple(
                FrameRecipe(item.stored, tuple(Range(numbers[d], r.offset, r.length) for d, r in item.ranges)) for item in made
            ),
        )

    # How frames are made

    def _alone(self, piece: Piece, data: bytes) -> _OldBytes:
        """Return the old bytes for a frame that lies in one large file."""
        base = self._base(piece.digest)
        if base is None:
            return ()
        same = Range(0, piece.offset, piece.length)
        if piece.offset + piece.length <= base.size_bytes and self._read_old(((base.digest, same),)) == data:
            return ((base.digest, same),)
        near = window(base, 0, piece.offset, piece.length, min(self._budget, prefix_limit(piece.length)))
        moved = self._index(base).moved(data, piece.offset, apart=near)
        ranges = with_moved(near, moved, base=base, length=piece.length, budget=self._budget) if moved else (near,)
        return tuple((base.digest, item) for item in ranges if item.length)

    def _together(self, pieces: tuple[Piece, ...]) -> _OldBytes:
        """Return the old bytes for a frame of several small files: of each file's likeliest base what lies around its place."""
        room = min(self._budget, prefix_limit(sum(piece.length for piece in pieces)))
        ranges: list[tuple[Digest, Range]] = []
        seen: set[Digest] = set()
        for piece in pieces:
            candidates = self._candidates.get(piece.digest, ())
            base = candidates[0] if candidates else None
            if base is None or base.digest in seen or len(ranges) == _MAX_SMALL:
                continue
            seen.add(base.digest)
            found = window(base, 0, piece.offset, piece.length, min(room, max(2 * piece.length, 1 << 16)))
            if found.length:
                ranges.append((base.digest, found))
                room -= found.length
        return tuple(ranges)

    def _cheapest(self, data: bytes, ranges: _OldBytes) -> _Frame:
        level = self._recipe.level
        if not ranges:
            return _Frame(compress(data, b"", level=level), ())
        behind = compress(data, self._read_old(ranges), level=level)
        if 2 * len(behind) > len(data):
            alone = compress(data, b"", level=level)
            if len(alone) <= len(behind):
                return _Frame(alone, ())
        return _Frame(behind, ranges)

    def _base(self, digest: Digest) -> File | None:
        """Return the old file that a large new one is made from: the one that some of its frames cost least with."""
        candidates = self._candidates.get(digest, ())
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        with self._lock:
            lock = self._building.setdefault(digest, threading.Lock())
        with lock:
            if digest not in self._bases:
                self._bases[digest] = min(candidates, key=lambda base: self._try(digest, base))
            return self._bases[digest]

    def _try(self, digest: Digest, base: File) -> int:
        numbers = self._numbers[digest]
        cost = 0
        for i in range(min(_TRIED, len(numbers))):
            piece = self.frames[numbers[(2 * i + 1) * len(numbers) // (2 * min(_TRIED, len(numbers)))]][0]
            near = window(base, 0, piece.offset, piece.length, min(self._budget, prefix_limit(piece.length)))
            data = self._read_new((piece,))
            cost += len(compress(data, self._read_old(((base.digest, near),)), level=3))
        return cost

    def _index(self, base: File) -> BlockIndex:
        with self._lock:
            if base.digest not in self._indexes:
                self._indexes[base.digest] = BlockIndex(_path(self._old_file, base.digest))
            return self._indexes[base.digest]

    def _read_new(self, pieces: Sequence[Piece]) -> bytes:
        data = b"".join(read_range(_path(self._new_file, p.digest), p.offset, p.length) for p in pieces)
        if len(data) != sum(piece.length for piece in pieces):
            msg = f"the file with the content {pieces[-1].digest} is shorter than its tree says"
            raise IntegrityError(msg)
        return data

    def _read_old(self, ranges: Iterable[tuple[Digest, Range]]) -> bytes:
        parts = []
        for digest, item in ranges:
            part = read_range(_path(self._old_file, digest), item.offset, item.length)
            if len(part) != item.length:
                msg = f"the file with the content {digest} is shorter than its tree says"
                raise IntegrityError(msg)
            parts.append(part)
        return b"".join(parts)


_MAX_SMALL: Final = 200
"""Old files that one frame of small new ones refers to, at most."""


def _path(find: FileOf, digest: Digest) -> str:
    path = find(digest)
    if path is None:
        msg = f"no file with the content {digest} is at hand"
        raise IntegrityError(msg)
    return str(path)


def _ordered(function: Callable[[Item], Result], items: Sequence[Item], *, jobs: int) -> Iterator[Result]:
    """Yield ``function(item)`` of each item in order, at most two results a thread waiting to be taken."""
    if jobs <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
