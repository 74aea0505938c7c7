"""Hypothesis strategies shared by property tests."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
"""Plain JSON data of any shape."""


@st.composite
def mutated(draw, document):
    """Return a copy of a JSON document with one to three members or elements replaced, removed or added somewhere."""
    result = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        place = result
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                key = None
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not draw(st.booleans()):
                break
            place = place[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace" if key is not None:
                place[key] = draw(json_values)
            case "remove" if key is not None:
                del place[key]
            case _:
                if isinstance(place, dict):
                    place[draw(st.text(max_size=6))] = draw(json_values)
                else:
                    place.append(draw(json_values))
    return result
