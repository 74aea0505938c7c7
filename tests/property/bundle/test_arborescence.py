"""The cheapest bases are the cheapest of all choices, and no circle."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.bundle.arborescence import Edge, cheapest_bases

NODES = "abcde"
GRAPHS = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        st.fixed_dictionaries({node: st.integers(1, 20) for node in NODES[:count]}),
        st.lists(
            st.builds(Edge, st.sampled_from(NODES[:count]), st.sampled_from(NODES[:count]), st.integers(0, 20)), max_size=12
        ),
    )
)


def total(alone: dict[str, int], edges: list[Edge[str]], bases: dict[str, str | None]) -> int | None:
    """Return what a choice costs, ``None`` for one that goes in a circle or takes a way that is not there."""
    cost = 0
    for node, base in bases.items():
        steps, place = 0, node
        while (up := bases[place]) is not None:
            place, steps = up, steps + 1
            if steps > len(bases):
                return None
        ways = [edge.cost for edge in edges if (edge.base, edge.new) == (base, node)]
        if base is not None and not ways:
            return None
        cost += alone[node] if base is None else min(ways)
    return cost


@given(GRAPHS)
def test_no_choice_is_cheaper(graph: tuple[dict[str, int], list[Edge[str]]]) -> None:
    alone, edges = graph
    found = total(alone, edges, cheapest_bases(alone, edges))
    every = (dict(zip(alone, choice, strict=True)) for choice in product([None, *alone], repeat=len(alone)))
    assert found == min(cost for bases in every if (cost := total(alone, edges, bases)) is not None)


def test_edges_to_what_is_not_asked_for_are_left_out() -> None:
    assert cheapest_bases({"a": 5}, [Edge("b", "a", 1), Edge("a", "b", 1), Edge("a", "a", 0)]) == {"a": None}
