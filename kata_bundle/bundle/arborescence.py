"""The cheapest way to have everything when each thing can be had by itself or from another: a minimum-cost arborescence.

The algorithm of Chu and Liu, and of Edmonds: everything takes its cheapest way; a circle of such ways is drawn together to one
thing, and where its cheapest way in from outside ends, the circle is cut. Must not know: what things are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

__all__ = ["Edge", "cheapest_bases"]

Node = TypeVar("Node", bound="Hashable")
_ROOT = -1


@dataclass(frozen=True, slots=True)
class Edge(Generic[Node]):
    """``new`` can be had from ``base`` at ``cost``."""

    base: Node
    new: Node
    cost: int


@dataclass(frozen=True, slots=True)
class _Way:
    """A way from one number to another, and the edge of the level below that it stands for."""

    base: int
    new: int
    cost: int
    stands_for: int


def cheapest_bases(alone: Mapping[Node, int], edges: Iterable[Edge[Node]]) -> dict[Node, Node | None]:
    """Return for each of ``alone`` (what it costs by itself) what it is made from, ``None`` for by itself.

    The sum of the costs is the least possible, and nothing is made from itself by any detour. Of equal ways the earlier one is
    taken, by itself first. An edge whose ends are not in ``alone`` is left out.
    """
    numbers = {node: i for i, node in enumerate(alone)}
    ways = [_Way(_ROOT, i, alone[node], i) for node, i in numbers.items()]
    ways += [
        _Way(numbers[edge.base], numbers[edge.new], edge.cost, 0)
        for edge in edges
        if edge.base in numbers and edge.new in numbers and edge.base != edge.new
    ]
    ways = [_Way(way.base, way.new, way.cost, i) for i, way in enumerate(ways)]
    nodes = list(numbers)
    result: dict[Node, Node | None] = dict.fromkeys(nodes)
    for chosen in _choose(ways, len(nodes)):
        way = ways[chosen]
        result[nodes[way.new]] = None if way.base == _ROOT else nodes[way.base]
    return result


def _choose(ways: list[_Way], count: int) -> list[int]:
    """Return which of ``ways`` lead to the numbers below ``count``, one to each."""
    best: dict[int, int] = {}
    for i, way in enumerate(ways):
        if way.base != way.new and (way.new not in best or way.cost < ways[best[way.new]].cost):
            best[way.new] = i
    circle = _circle(ways, best)
    if not circle:
        return list(best.values())
    # The circle becomes one thing, the numbers of the others are given out anew.
    inside = set(circle)
    fresh: dict[int, int] = {_ROOT: _ROOT}
    for node in range(count):
        if node not in inside:
            fresh[node] = len(fresh) - 1
    whole = len(fresh) - 1
    fresh |= dict.fromkeys(inside, whole)
    drawn = []
    for i, way in enumerate(ways):
        if fresh[way.base] != fresh[way.new]:
            saved = ways[best[way.new]].cost if way.new in inside else 0
            drawn.append(_Way(fresh[way.base], fresh[way.new], way.cost - saved, i))
    chosen = [drawn[i].stands_for for i in _choose(drawn, whole + 1)]
    entered = {ways[i].new for i in chosen}
    return [*chosen, *(best[node] for node in circle if node not in entered)]


def _circle(ways: list[_Way], best: dict[int, int]) -> list[int]:
    """Return a circle among the ways chosen, empty when there is none."""
    done: set[int] = set()
    for start in best:
        path: list[int] = []
        seen: dict[int, int] = {}
        node = start
        while node != _ROOT and node not in done and node not in seen:
            seen[node] = len(path)
            path.append(node)
            node = ways[best[node]].base
        if node in seen:
            return path[seen[node] :]
        done.update(path)
    return []
