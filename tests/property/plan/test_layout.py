"""Any graph is laid out: within bounds, without overlaps, from left to right, the same each time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.plan.layout import layered_layout

GAP = 7.0


SIZES = st.lists(st.tuples(st.integers(1, 200), st.integers(1, 40)), max_size=14)
PAIRS = st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=30)


def graph_of(sizes, pairs):
    """Return sizes by name, and the edges between nodes that exist."""
    count = len(sizes)
    named = {f"n{i}": (float(width), float(height)) for i, (width, height) in enumerate(sizes)}
    return named, [(f"n{a}", f"n{b}") for a, b in pairs if a < count and b < count]


def is_forward(edges):
    return all(int(a[1:]) < int(b[1:]) for a, b in edges)


@given(st.builds(graph_of, SIZES, PAIRS))
def test_nodes_stay_within_bounds_and_never_overlap(graph):
    sizes, edges = graph
    layout = layered_layout(sizes, edges, node_gap=GAP)
    boxes = list(layout.boxes.values())
    assert set(layout.boxes) == set(sizes)
    for box in boxes:
        assert all(math.isfinite(v) for v in (box.x, box.y))
        assert box.x - box.width / 2 >= -1e-6
        assert box.x + box.width / 2 <= layout.width + 1e-6
        assert box.y - box.height / 2 >= -1e-6
        assert box.y + box.height / 2 <= layout.height + 1e-6
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            if one.x == other.x:
                assert abs(one.y - other.y) >= (one.height + other.height) / 2 + GAP - 1e-6


@given(st.builds(graph_of, SIZES, PAIRS))
def test_edges_of_a_graph_without_cycles_run_from_left_to_right_through_every_layer_between(graph):
    sizes, edges = graph
    edges = [edge for edge in edges if is_forward([edge])]
    layout = layered_layout(sizes, edges)
    assert len(layout.bends) == len(edges)
    for (source, target), bends in zip(edges, layout.bends, strict=True):
        xs = [layout.boxes[source].x, *(x for x, _ in bends), layout.boxes[target].x]
        assert xs == sorted(set(xs))


@given(st.builds(graph_of, SIZES, PAIRS))
def test_equal_input_gives_equal_output(graph):
    assert layered_layout(*graph) == layered_layout(*graph)
