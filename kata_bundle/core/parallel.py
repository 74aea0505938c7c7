"""One thread pool a run: work on plain values, results in the order of the input, the first error stops what has not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["map_ordered"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _NotBegunError(Exception):
    """Stands for the result of an item that was left out; where one is, another item has the real error."""


def map_ordered(
    function: Callable[[Item], Result], items: Sequence[Item], *, jobs: int, on_interrupt: Callable[[], None] | None = None
) -> list[Result]:
    """Return ``[function(item) for item in items]``, at most ``jobs`` at a time.

    The error of the earliest failing item is raised, after what was running has ended; what had not begun is not started.
    With ``jobs`` 1 no thread is made. When the caller is interrupted, ``on_interrupt`` is called before waiting for what still
    runs: it makes that end soon.
    """
    if jobs <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    stopped = Event()

    def one(item: Item) -> Result:
        # A pool hands out the next item before anybody has looked at the error of the last.
        if stopped.is_set():
            raise _NotBegunError
        try:
            return function(item)
        except BaseException:
            stopped.set()
            raise

    results: list[Result] = []
    with ThreadPoolExecutor(max_workers=min(jobs, len(items))) as pool:
        futures = [pool.submit(one, item) for item in items]
        try:
            for future in futures:
                try:
                    results.append(future.result())
                except _NotBegunError:
                    continue  # the loop ends at the error that stopped the work
        except BaseException as error:
            stopped.set()
            if on_interrupt is not None and not isinstance(error, Exception):
                on_interrupt()
            raise
    return results
