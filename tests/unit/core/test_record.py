"""Records mean what dataclasses of the same shape mean."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from functools import cached_property
from typing import Any, ClassVar

import pytest

from kata_bundle.core.record import FrozenError, field, field_names, record, replace


@record
class Point:
    """A record with a default."""

    x: int
    y: int = 7
    kinds: ClassVar[tuple[str, ...]] = ("flat",)

    @property
    def total(self) -> int:
        """The sum."""
        return self.x + self.y


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Twin:
    """The same as a dataclass."""

    x: int
    y: int = 7


@record
class Named(Point):
    """A record with more fields than its base."""

    name: str = "none"
    seen: list[int] = field(default_factory=list)
    secret: str = field(default="s3cret", repr=False)


@record(kw_only=False, frozen=False)
class Counter:
    """A record that changes."""

    start: int
    counts: dict[str, int] = field(default_factory=dict)


@record(slots=False)
class Slow:
    """A record with a value that is computed once."""

    size: int = 3

    @cached_property
    def square(self) -> int:
        """The size squared."""
        return self.size * self.size


@record(kw_only=False, order=True)
class Version:
    """A record that is ordered."""

    major: int
    minor: int = 0


@record
class Checked:
    """A record that looks at its values."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            msg = "low is above high"
            raise ValueError(msg)


@record
class Empty:
    """A record without fields."""


def test_values_defaults_and_what_is_no_field() -> None:
    assert (Point(x=1).x, Point(x=1).y, Point(x=1, y=2).total) == (1, 7, 3)
    assert Point.kinds == ("flat",)
    assert field_names(Named) == ("x", "y", "name", "seen", "secret")
    assert field_names(Named(x=1)) == field_names(Named)


def test_equality_and_hash_are_those_of_the_fields() -> None:
    assert Point(x=1) == Point(x=1, y=7)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Twin(x=1)
    assert Named(x=1) != Point(x=1)
    assert hash(Point(x=1)) == hash(Twin(x=1))
    assert Empty() == Empty()
    assert {Point(x=1), Point(x=1), Point(x=3)} == {Point(x=1), Point(x=3)}


@pytest.mark.parametrize("make", [lambda: Point(x=1), lambda: Named(x=1), Slow])
def test_a_record_cannot_be_changed(make: Any) -> None:
    one = make()
    name = field_names(one)[0]
    with pytest.raises(FrozenError, match=f"{type(one).__name__} is immutable: {name} cannot be assigned"):
        setattr(one, name, 2)
    with pytest.raises(FrozenError, match="cannot be deleted"):
        delattr(one, name)


def test_a_record_has_no_other_attributes() -> None:
    assert not hasattr(Point(x=1), "__dict__")
    with pytest.raises(AttributeError):
        Counter(1).other = 2  # type: ignore[attr-defined]


def test_a_record_that_changes_has_no_hash() -> None:
    one = Counter(1)
    one.start = 2
    one.counts["a"] = 1
    assert one == Counter(2, {"a": 1})
    assert Counter(2).counts == {}
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_arguments_are_checked_at_the_first_and_at_later_calls() -> None:
    for _ in range(2):
        with pytest.raises(TypeError, match="missing"):
            Point()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected"):
            Point(x=1, z=2)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="positional"):
            Point(1)  # type: ignore[misc]
    assert Version(1, 2) == Version(major=1, minor=2)


def test_shown_like_a_dataclass() -> None:
    assert repr(Point(x=1)) == repr(Twin(x=1)).replace("Twin", "Point")
    assert "s3cret" not in repr(Named(x=1))


def test_replace_makes_another_and_runs_the_checks() -> None:
    one = Checked(low=1, high=2)
    assert replace(one, high=5) == Checked(low=1, high=5)
    assert replace(Twin(x=1), x=2) == Twin(x=2)
    with pytest.raises(ValueError, match="low is above high"):
        replace(one, low=9)
    with pytest.raises(TypeError, match="unexpected"):
        replace(one, middle=9)


def test_order_is_that_of_the_fields() -> None:
    assert sorted([Version(2), Version(1, 3), Version(1)]) == [Version(1), Version(1, 3), Version(2)]
    assert Version(1) <= Version(1)
    assert Version(2) > Version(1, 9)
    assert Version(2) >= Version(2)
    with pytest.raises(TypeError):
        assert Version(1) < (1, 0)  # type: ignore[operator]


def test_copied_and_pickled() -> None:
    one = Named(x=1, seen=[1])
    assert copy.deepcopy(one) == one
    assert copy.copy(one).seen is one.seen
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_cached_property_of_a_record_with_a_dictionary() -> None:
    one = Slow(size=4)
    assert (one.square, one.square) == (16, 16)
    assert one == Slow(size=4)
    assert Slow().size == 3


def test_patterns_see_the_fields() -> None:
    match Version(1, 2), Point(x=3):
        case Version(major, 2), Point(x=x):
            assert (major, x) == (1, 3)
        case _:
            pytest.fail("no match")


def test_installing_imports_neither_dataclasses_nor_inspect() -> None:
    names = "kata_bundle.node.install", "kata_bundle.node.live", "kata_bundle.oci.bundle", "kata_bundle.node.source", "zstandard"
    code = f"import sys, {', '.join(names)}; print(*sorted({{'dataclasses', 'inspect'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
