from __future__ import annotations

import math
import re

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fields import Fields, is_json

DIGEST = digest_bytes(b"")


def test_members_are_returned_typed():
    fields = Fields(
        {"t": "x", "n": 0, "b": False, "d": DIGEST, "l": ["a", "b"], "m": {"k": "v"}, "o": {"n": 1}, "a": [{"n": 2}]}, "doc"
    )
    assert (fields.text("t"), fields.integer("n"), fields.boolean("b"), fields.digest("d")) == ("x", 0, False, DIGEST)
    assert fields.texts("l") == ("a", "b")
    assert fields.text_map("m") == {"k": "v"}
    assert fields.child("o").integer("n") == 1
    assert [item.integer("n") for item in fields.children("a")] == [2]
    fields.done()


@pytest.mark.parametrize("missing", [{}, {"x": None}])
def test_optional_members_may_be_absent_or_null(missing):
    fields = Fields(missing, "doc")
    assert (fields.optional_text("x"), fields.optional_integer("x"), fields.optional_digest("x")) == (None, None, None)


@pytest.mark.parametrize(
    ("getter", "value"),
    [
        ("text", 1),
        ("text", ""),
        ("text", None),
        ("integer", True),
        ("integer", 1.0),
        ("integer", -1),
        ("integer", 1 << 63),
        ("integer", "1"),
        ("boolean", 0),
        ("boolean", None),
        ("digest", "sha256:" + "A" * 64),
        ("digest", "sha256:../../etc/passwd"),
        ("digest", 5),
        ("texts", "abc"),
        ("texts", ["a", 1]),
        ("texts", ["a", "a"]),
        ("text_map", {"a": 1}),
        ("text_map", []),
        ("child", []),
        ("optional_text", 4),
        ("optional_integer", "4"),
        ("optional_digest", ""),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_path_to_it(getter, value):
    with pytest.raises(IntegrityError, match=r"doc\.x"):
        getattr(Fields({"x": value}, "doc"), getter)("x")


def test_an_element_that_is_wrong_is_named_by_its_position():
    with pytest.raises(IntegrityError, match=r"doc\.a\[1\]"):
        list(Fields({"a": [{}, 3]}, "doc").children("a"))
    with pytest.raises(IntegrityError, match=r"doc\.a: expected an array"):
        list(Fields({"a": {}}, "doc").children("a"))


def test_absent_members_and_unknown_ones_are_refused():
    with pytest.raises(IntegrityError, match='member "x" is missing'):
        Fields({}, "doc").text("x")
    fields = Fields({"x": "a", "y": 1}, "doc")
    fields.text("x")
    with pytest.raises(IntegrityError, match="unknown member \"'y'\""):
        fields.done()


def test_a_pattern_covers_the_whole_text():
    with pytest.raises(IntegrityError, match="matching"):
        Fields({"x": "ab\n"}, "doc").text("x", re.compile(r"[a-z]+"))


@pytest.mark.parametrize("value", [None, [], "x", 3, {1: 2}])
def test_only_an_object_has_fields(value):
    with pytest.raises(IntegrityError, match="expected an object"):
        Fields(value, "doc")


def test_long_values_are_cut_in_messages():
    with pytest.raises(IntegrityError) as caught:
        Fields({"x": "A" * 10_000}, "doc").digest("x")
    assert len(str(caught.value)) < 400


def test_plain_json_has_no_nan_no_infinity_and_an_end():
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    assert is_json({"a": [1, 1.5, None, True, "x", {}]})
    assert not any(is_json(value) for value in (math.nan, math.inf, -math.inf, {1: 2}, (1,), b"", deep, [math.nan]))
