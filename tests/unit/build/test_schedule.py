"""Work with dependencies: order, failure, interrupts, the longest chain first."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.build.schedule import Cancelled, run_graph


def run(order, parents, function, **more):
    return run_graph(order, parents, function, **({"jobs": 2, "cancelled": Cancelled()} | more))


@given(st.data())
def test_nothing_begins_before_what_it_needs_has_ended(data):
    count = data.draw(st.integers(0, 12))
    parents = {i: data.draw(st.lists(st.integers(0, i - 1), max_size=3)) if i else [] for i in range(count)}
    done: list[int] = []
    lock = threading.Lock()

    def work(item):
        with lock:
            assert set(parents[item]) <= set(done)
            done.append(item)
        return item * 2

    results, errors = run(range(count), parents, work, jobs=data.draw(st.integers(1, 4)))
    assert results == {i: i * 2 for i in range(count)}
    assert errors == {}


def test_the_longest_chain_is_started_first():
    begun: list[str] = []
    run(["a", "b", "c", "b2", "b3"], {"b2": ["b"], "b3": ["b2"]}, begun.append, jobs=1)
    assert begun == ["b", "b2", "a", "c", "b3"]
    begun.clear()
    run(["a", "b", "c"], {}, begun.append, jobs=1, weights={"c": 5.0, "b": 2.0})
    assert begun == ["c", "b", "a"]


def failing(begun, bad):
    def work(item):
        begun.append(item)
        if item in bad:
            raise ValueError(item)

    return work


def test_the_first_error_stops_what_has_not_begun():
    begun: list[str] = []
    results, errors = run(["bad", "x", "y"], {}, failing(begun, {"bad"}), jobs=1)
    assert begun == ["bad"]
    assert results == {}
    assert list(errors) == ["bad"]


def test_keep_going_leaves_out_only_what_needs_the_failed():
    begun: list[str] = []
    results, errors = run(
        ["bad", "child", "x", "y"], {"child": ["bad"], "y": ["x"]}, failing(begun, {"bad"}), jobs=1, keep_going=True
    )
    assert set(begun) == {"bad", "x", "y"}
    assert set(results) == {"x", "y"}
    assert list(errors) == ["bad"]


def test_an_interrupt_tells_those_at_work_and_is_raised_after_them():
    cancelled, ended = Cancelled(), threading.Event()

    def work(item):
        if item == "interrupt":
            raise KeyboardInterrupt
        assert cancelled.wait(30)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        run(["long", "interrupt", "never"], {}, work, cancelled=cancelled)
    assert ended.is_set()
