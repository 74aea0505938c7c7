"""Work with dependencies on a pool of threads: what holds up the longest chain is started first.

The results are those of doing one after the other. Must not know: what the work is.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from heapq import heapify, heappop, heappush
from threading import Event
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Cancelled", "run_graph"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cancelled(Event):
    """Set when the work should stop: by an interrupt, or by the first failure unless the rest is to go on."""


def run_graph(
    order: Sequence[Item],
    parents: Mapping[Item, Sequence[Item]],
    function: Callable[[Item], Result],
    *,
    jobs: int,
    cancelled: Cancelled,
    keep_going: bool = False,
    weights: Mapping[Item, float] | None = None,
) -> tuple[dict[Item, Result], dict[Item, Exception]]:
    """Return the results and the errors of ``function`` over ``order``, in which parents come before who needs them.

    At most ``jobs`` at a time; of what is ready, that comes first which the heaviest chain waits for (``weights``, by default 1
    each). What needs something that failed is left out. The first error stops what has not begun, unless ``keep_going``. An
    interrupt sets ``cancelled``, waits for what runs, and is raised again.
    """
    cost = _chains(order, parents, weights or {})
    rank = {item: (-cost[item], number) for number, item in enumerate(order)}
    missing, children = _edges(order, parents)
    # A heap, so that the effort grows with the number of items and of what they need, no faster.
    ready = [(rank[item], item) for item in order if not missing[item]]
    heapify(ready)
    results: dict[Item, Result] = {}
    errors: dict[Item, Exception] = {}
    running: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        try:
            while ready or running:
                while ready and len(running) < max(1, jobs) and not (cancelled.is_set() or (errors and not keep_going)):
                    _, item = heappop(ready)
                    running[pool.submit(function, item)] = item
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    item = running.pop(future)
                    error = future.exception()
                    if error is None:
                        results[item] = future.result()
                        for child in children[item]:
                            missing[child] -= 1
                            if not missing[child]:
                                heappush(ready, (rank[child], child))
                    elif isinstance(error, Exception):
                        errors[item] = error
                        if not keep_going:
                            cancelled.set()
                    else:
                        raise error
        except BaseException:
            cancelled.set()
            raise
    return results, errors


def _edges(order: Sequence[Item], parents: Mapping[Item, Sequence[Item]]) -> tuple[dict[Item, int], dict[Item, list[Item]]]:
    """Return how many others each item waits for, and who waits for it."""
    children: dict[Item, list[Item]] = {item: [] for item in order}
    missing: dict[Item, int] = {}
    for item in order:
        needs = {parent for parent in parents.get(item, ()) if parent in children}
        missing[item] = len(needs)
        for parent in needs:
            children[parent].append(item)
    return missing, children


def _chains(order: Sequence[Item], parents: Mapping[Item, Sequence[Item]], weights: Mapping[Item, float]) -> dict[Item, float]:
    """Return for each item the weight of the heaviest chain that begins with it."""
    cost = {item: weights.get(item, 1.0) for item in order}
    for item in reversed(order):
        for parent in parents.get(item, ()):
            if parent in cost:
                cost[parent] = max(cost[parent], weights.get(parent, 1.0) + cost[item])
    return cost
