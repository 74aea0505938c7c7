"""Cutting a tar into frames and compressing them side by side.

Where a frame ends follows from the entries and the frame size alone, and each is compressed by itself with its length pledged: so
the bytes do not depend on how many threads there are. Must not know: trees on disk, stores.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from kata_bundle.archive.tarheader import BLOCK
from kata_bundle.archive.toc import Frame, iter_members
from kata_bundle.archive.zstd import FrameCompressor
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.tree import File

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from types import TracebackType

    from kata_bundle.archive.zstd import Recipe
    from kata_bundle.core.streams import Writable
    from kata_bundle.core.tree import Tree

__all__ = ["FramePool", "FrameWriter", "cut_frames"]


def cut_frames(tree: Tree, tar_size: int, *, mtime: int, frame_size: int) -> Iterator[int]:
    """Yield the length of each frame of the tar of ``tree``, each at most ``frame_size``.

    The content of a file of half a frame or more begins a frame and goes on in whole ones; what is left of it gets one of its own
    if it is half a frame, too. Everything else shares frames, which end between members where that is possible.
    """
    start = 0
    for end in (*_wanted_cuts(tree, mtime, frame_size), tar_size):
        while end - start > frame_size:
            yield frame_size
            start += frame_size
        if end > start:
            yield end - start
            start = end


def _wanted_cuts(tree: Tree, mtime: int, frame_size: int) -> Iterator[int]:
    start = 0
    for _, entry, header, content in iter_members(tree, mtime=mtime):
        size = entry.size_bytes if isinstance(entry, File) else 0
        is_large = 2 * size >= frame_size
        end = content if is_large else content + -(-size // BLOCK) * BLOCK
        if end - start > frame_size and header > start:
            yield header
            start = header
        if is_large:
            whole, left = divmod(size, frame_size)
            yield from range(content, content + whole * frame_size + 1, frame_size)
            start = content + whole * frame_size
            if 2 * left >= frame_size:
                start += -(-left // BLOCK) * BLOCK
                yield start


class FramePool:
    """Threads that compress frames by one recipe, each with a compressor of its own. A context manager.

    Serves any number of writers at once. Raises :class:`IntegrityError` when the recipe is another library version's.
    """

    def __init__(self, recipe: Recipe, *, threads: int) -> None:
        self.recipe = recipe
        self.ahead = 2 * threads + 2
        """How many frames of one writer are under way at most: memory is bounded by that."""
        FrameCompressor(recipe)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="compress")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, data: bytearray) -> Future[tuple[bytes, Frame]]:
        """Compress ``data``, which belongs to the pool from now on."""
        return self._pool.submit(self._compress, data)

    def _compress(self, data: bytearray) -> tuple[bytes, Frame]:
        compressor: FrameCompressor | None = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = FrameCompressor(self.recipe)
        packed = compressor.compress(data)
        return packed, Frame(len(packed), len(data), hashlib.sha256(packed).digest())


class FrameWriter:
    """A sink for a tar that arrives in ``sink`` as frames of the lengths ``cuts``, in their order. ``sink`` is not closed."""

    def __init__(self, sink: Writable, cuts: Iterator[int], pool: FramePool) -> None:
        self._sink = sink
        self._cuts = cuts
        self._pool = pool
        self._wanted = next(cuts, 0)
        self._buffer = bytearray()
        self._pending: deque[Future[tuple[bytes, Frame]]] = deque()
        self._frames: list[Frame] = []

    def write(self, data: bytes, /) -> int:
        """Take the next piece of the tar; return its length."""
        view = memoryview(data)
        while view:
            piece = view[: self._wanted - len(self._buffer)]
            if not piece:
                msg = "the tar is longer than its frames"
                raise IntegrityError(msg)
            self._buffer += piece
            view = view[len(piece) :]
            if len(self._buffer) == self._wanted:
                self._pending.append(self._pool.submit(self._buffer))
                self._buffer, self._wanted = bytearray(), next(self._cuts, 0)
                while len(self._pending) > self._pool.ahead:
                    self._drain_one()
        return len(data)

    def finish(self) -> tuple[Frame, ...]:
        """Wait for the rest and return all frames."""
        if self._wanted:
            msg = "the tar is shorter than its frames"
            raise IntegrityError(msg)
        while self._pending:
            self._drain_one()
        return tuple(self._frames)

    def _drain_one(self) -> None:
        packed, frame = self._pending.popleft().result()
        self._sink.write(packed)
        self._frames.append(frame)
