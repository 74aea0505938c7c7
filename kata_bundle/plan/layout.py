"""A layered drawing of a directed graph: where nodes and the bends of edges go. Small, deterministic, no dependency.

The usual four steps (Sugiyama, Tagawa and Toda 1981): edges against the flow are turned; every node gets a layer right of what
leads to it, long edges a bend a layer; the order within layers is improved by barycentres as long as crossings become fewer;
positions follow the neighbours' as closely as order and distances allow, by isotonic regression. Must not know: what nodes are,
how they are drawn.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Box", "Layout", "layered_layout"]

_SWEEPS = 24
_BEND_HEIGHT = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A placed node: centre and size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Boxes by node, for each edge the points between its ends, and the size of the whole."""

    boxes: Mapping[str, Box]
    bends: Sequence[Sequence[tuple[float, float]]]
    width: float
    height: float


def layered_layout(
    sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]], *, layer_gap: float = 90, node_gap: float = 10
) -> Layout:
    """Return where to draw nodes of the given ``sizes`` (width, height) so that ``edges`` run from left to right.

    Every end of an edge must be in ``sizes``. Equal input gives equal output; an empty graph has size 0.
    """
    forward = _without_cycles(list(sizes), edges)
    layer = _layers(list(sizes), forward)
    columns: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in sizes:
        columns[layer[node]].append(node)
    chains = [_chain(number, edge, layer, columns) for number, edge in enumerate(forward)]
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for chain in chains:
        for left, right in pairwise(chain) if chain[0] != chain[-1] else ():
            after.setdefault(left, []).append(right)
            before.setdefault(right, []).append(left)
    columns = _ordered(columns, before, after)
    heights = {node: height for node, (_, height) in sizes.items()}
    y = _heights(columns, before, after, heights, node_gap)
    x, width = _across(columns, sizes, layer_gap)
    top = min((y[node] - heights.get(node, _BEND_HEIGHT) / 2 for node in y), default=0.0)
    bottom = max((y[node] + heights.get(node, _BEND_HEIGHT) / 2 for node in y), default=0.0)
    boxes = {node: Box(x=x[layer[node]], y=y[node] - top, width=size[0], height=size[1]) for node, size in sizes.items()}
    place = {node: (x[number], y[node] - top) for number, column in enumerate(columns) for node in column}
    bends = []
    for (source, _), chain in zip(edges, chains, strict=True):
        points = [place[bend] for bend in chain[1:-1]]
        bends.append(points if chain[0] == source else points[::-1])
    return Layout(boxes=boxes, bends=bends, width=width, height=bottom - top)


def _without_cycles(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return ``edges`` with those turned that lead back to a node on the way; an edge to itself stays out of the layers."""
    follow: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        follow[source].append(target)
    state: dict[str, int] = {}
    back: set[tuple[str, str]] = set()
    for root in nodes:
        stack = [(root, iter(follow[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            node, rest = stack[-1]
            for target in rest:
                if state.get(target) == 1:
                    back.add((node, target))
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(follow[target])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return [(target, source) if (source, target) in back else (source, target) for source, target in edges]


def _layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return each node's layer: one more than the greatest of those that lead to it."""
    incoming = dict.fromkeys(nodes, 0)
    follow: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        if source != target:
            incoming[target] += 1
            follow[source].append(target)
    layer = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not incoming[node]]
    for node in ready:
        for target in follow[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            incoming[target] -= 1
            if not incoming[target]:
                ready.append(target)
    return layer


def _chain(number: int, edge: tuple[str, str], layer: Mapping[str, int], columns: list[list[str]]) -> list[str]:
    """Return the edge's ends with a bend for every layer between, which is added to ``columns``."""
    source, target = edge
    chain = [source]
    for between in range(layer[source] + 1, layer[target]):
        bend = f"\0{number}/{between}"
        columns[between].append(bend)
        chain.append(bend)
    return [*chain, target]


def _ordered(columns: list[list[str]], before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> list[list[str]]:
    best, fewest = columns, _crossings(columns, after)
    current = columns
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        neighbours, numbers = (before, range(1, len(columns))) if sweep % 2 == 0 else (after, range(len(columns) - 2, -1, -1))
        current = [list(column) for column in current]
        for number in numbers:
            beside = current[number - 1 if sweep % 2 == 0 else number + 1]
            rank = {node: place for place, node in enumerate(beside)}
            own = {node: place for place, node in enumerate(current[number])}
            current[number].sort(key=lambda node: (_mean([rank[n] for n in neighbours.get(node, ())], own[node]), own[node]))
        crossings = _crossings(current, after)
        if crossings < fewest:
            best, fewest = current, crossings
    return best


def _crossings(columns: list[list[str]], after: Mapping[str, list[str]]) -> int:
    total = 0
    for left, right in pairwise(columns):
        rank = {node: place for place, node in enumerate(right)}
        seen: list[int] = []
        for node in left:
            ends = sorted(rank[target] for target in after.get(node, ()) if target in rank)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _heights(
    columns: list[list[str]],
    before: Mapping[str, list[str]],
    after: Mapping[str, list[str]],
    heights: Mapping[str, float],
    gap: float,
) -> dict[str, float]:
    """Return vertical centres: order and distances kept, as near to the neighbours' middle as they allow."""
    y: dict[str, float] = {}
    offsets = []
    for column in columns:
        place, marks = 0.0, []
        for node in column:
            height = heights.get(node, _BEND_HEIGHT)
            marks.append(place + height / 2)
            place += height + gap
        offsets.append(marks)
        y.update({node: mark - place / 2 for node, mark in zip(column, marks, strict=True)})
    for sweep in range(_SWEEPS):
        numbers = range(len(columns)) if sweep % 2 == 0 else range(len(columns) - 1, -1, -1)
        for number in numbers:
            wanted = [
                _mean([y[n] for n in (*before.get(node, ()), *after.get(node, ()))], y[node]) - mark
                for node, mark in zip(columns[number], offsets[number], strict=True)
            ]
            fitted = _isotonic(wanted)
            y.update({n: f + m for n, f, m in zip(columns[number], fitted, offsets[number], strict=True)})
    return y


def _isotonic(values: Sequence[float]) -> list[float]:
    """Return the rising sequence nearest to ``values`` (least squares, pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while blocks and blocks[-1][0] >= mean:
            last, weight = blocks.pop()
            mean, count = (mean * count + last * weight) / (count + weight), count + weight
        blocks.append((mean, count))
    return [mean for mean, count in blocks for _ in range(count)]


def _across(columns: list[list[str]], sizes: Mapping[str, tuple[float, float]], gap: float) -> tuple[list[float], float]:
    x, place = [], 0.0
    for column in columns:
        width = max((sizes[node][0] for node in column if node in sizes), default=0.0)
        x.append(place + width / 2)
        place += width + gap
    return x, max(place - gap, 0.0)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
