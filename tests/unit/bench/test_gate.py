"""The regression gate: ratios only, each direction, a reason for every failure."""

from __future__ import annotations

import json

import pytest

from bench.command import main
from bench.gate import compare


def report(**benches):
    return {
        "corpus": "full",
        "date": "2026-01-01",
        "benches": [
            {
                "name": name.replace("_", "-"),
                "ratios": [{"name": ratio, "kind": kind, "value": value} for ratio, (kind, value) in ratios.items()],
            }
            for name, ratios in benches.items()
        ],
    }


OLD = report(unpack={"vs Rust": ("time", 2.0)}, pack={"size": ("size", 1.0)})


def failures(new, *, times=True):
    return {(one.bench, one.ratio): one.reason for one in compare(OLD, new, times=times) if one.is_failure}


def test_equal_reports_pass():
    assert not failures(OLD)


@pytest.mark.parametrize(("value", "fails"), [(2.5, False), (1.75, False), (1.73, True), (0.5, True)])
def test_a_ratio_of_times_may_not_shrink(value, fails):
    new = report(unpack={"vs Rust": ("time", value)}, pack={"size": ("size", 1.0)})
    assert bool(failures(new)) is fails


@pytest.mark.parametrize(("value", "fails"), [(0.5, False), (1.14, False), (1.16, True)])
def test_a_ratio_of_sizes_may_not_grow(value, fails):
    new = report(unpack={"vs Rust": ("time", 2.0)}, pack={"size": ("size", value)})
    assert bool(failures(new)) is fails


def test_ratios_of_times_are_not_judged_on_a_busy_machine():
    new = report(unpack={"vs Rust": ("time", 0.1)}, pack={"size": ("size", 1.0)})
    assert not failures(new, times=False)


def test_a_ratio_that_got_lost_fails_but_a_benchmark_left_out_does_not():
    assert failures(report(unpack={}, pack={"size": ("size", 1.0)})) == {("unpack", "vs Rust"): "no longer measured"}
    assert not failures(report(pack={"size": ("size", 1.0)}))


def test_the_command_fails_with_a_line_for_each_ratio(tmp_path, capsys):
    new = report(unpack={"vs Rust": ("time", 1.0)}, pack={"size": ("size", 0.9)})
    old_path, new_path = tmp_path / "old.json", tmp_path / "new.json"
    old_path.write_text(json.dumps(OLD))
    new_path.write_text(json.dumps(new))
    assert main(["gate", str(new_path), "--against", str(old_path)]) == 1
    said = capsys.readouterr().out
    assert "FAIL unpack: vs Rust: 2.000 -> 1.000 (100% worse, more than 15%)" in said
    assert "ok   pack: size" in said
    assert main(["gate", str(new_path), "--against", str(old_path), "--sizes-only"]) == 0


def test_an_empty_comparison_fails(tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(report()))
    assert main(["gate", str(empty), "--against", str(empty)]) == 1


def test_reports_of_two_corpora_are_not_compared(tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(OLD | {"corpus": "smoke"}))
    full = tmp_path / "full.json"
    full.write_text(json.dumps(OLD))
    assert main(["gate", str(other), "--against", str(full)]) == 2
    assert "corpus" in capsys.readouterr().out
