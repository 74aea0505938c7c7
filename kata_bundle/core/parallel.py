"""One thread pool a run: work on plain values, results in the order of the input, the first error stops what has not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["map_ordered"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(function: Callable[[Item], Result], items: Sequence[Item], *, jobs: int) -> list[Result]:
    """Return ``[function(item) for item in items]``, at most ``jobs`` at a time.

    The error of the earliest failing item is raised, after what was running has ended; what had not begun is not started. With
    ``jobs`` 1 no thread is made.
    """
    if jobs <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(jobs, len(items))) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
