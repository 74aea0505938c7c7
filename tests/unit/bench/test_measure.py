"""What the measurements stand on: a program's own cost, turns, fresh destinations, real failures."""

from __future__ import annotations

import os
import sys

import pytest

from bench.measure import Contender, Launcher, allocated_bytes, compete, drop_from_cache


@pytest.fixture
def launcher(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Launcher(folder=scratch) as started:
        yield started


def test_memory_is_that_of_the_program(launcher):
    ballast = bytearray(64 << 20)  # of this process, which must not be counted
    small = launcher.run(["true"])
    large = launcher.run([sys.executable, "-I", "-S", "-c", "x = b'x' * (32 << 20)"])
    assert ballast
    assert small.rss_kib < 16 << 10
    assert large.rss_kib >= 32 << 10


def test_a_program_that_fails_ends_the_benchmark_with_what_it_said(launcher):
    with pytest.raises(RuntimeError, match=r"(?s)exited with 3:.*went wrong"):
        launcher.run(["sh", "-c", "echo went wrong >&2; exit 3"])


def test_contenders_take_turns_each_with_a_fresh_destination(launcher, tmp_path):
    log = tmp_path / "log"
    place = tmp_path / "place"
    place.mkdir()
    script = 'test ! -e "$1" && mkdir "$1" && echo $0 >>' + str(log)
    contenders = [
        Contender(name=name, argv=lambda to, n=name: ["sh", "-c", script, n, str(to)], check=os.stat) for name in ("a", "b")
    ]
    samples = compete(contenders, launcher, place, rounds=3, patience_s=0)
    assert log.read_text().split() == ["a", "b"] * 3
    assert {name: len(found) for name, found in samples.items()} == {"a": 3, "b": 3}
    assert not list(place.iterdir())


def test_holes_and_second_names_take_no_space(tmp_path):
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 20)
        stream.write(bytes(4096))
    os.link(tmp_path / "sparse", tmp_path / "again")
    assert allocated_bytes(tmp_path) < 1 << 16


def test_dropping_from_the_cache_keeps_the_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10_000)
    drop_from_cache([path])
    assert path.read_bytes() == b"x" * 10_000
