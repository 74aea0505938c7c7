"""``kata-bundle repro`` as a process of its own, on rules that need no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys

import jsonschema
import pytest

from kata_bundle.build.sandbox import bubblewrap_problem
from kata_bundle.core.resources import shipped
from tests.fixtures.cli import CACHE, call_cli, run_cli

PROFILE = {"KATA_BUNDLE_PROFILE": "packages"}


@pytest.fixture
def cli(tmp_path):
    def call(*argv, **settings):
        return run_cli(*argv, store=tmp_path / "store", cwd=tmp_path, **{**PROFILE, **settings})

    return call


@pytest.fixture
def real(tmp_path):
    """The command line on the store that tests share, where the tools are already; a mirror that is away skips the test."""

    def call(*argv):
        done = run_cli(*argv, store=CACHE / "store", cwd=tmp_path, **PROFILE)
        if done.code in {5, 8} and "mirror" in done.stderr:
            pytest.skip(f"the toolchain is not to be had: {done.stderr.strip().splitlines()[-1]}")
        return done

    return call


def test_what_this_program_computes_itself_comes_out_the_same_and_is_packed_the_same(cli, tmp_path):
    document = json.loads(cli("repro", "nydus", "--arch", "x86_64", "--layer", "--json", "-q", "--keep", "kept").ok())
    jsonschema.validate(document, json.loads((shipped("schemas") / "build/repro.schema.json").read_text()))
    (one,) = document["components"]
    assert (one["component"], one["arch"], one["identical"]) == ("nydus", "x86_64", True)
    assert one["tree"]["first"] == one["tree"]["second"]
    assert one["layer"]["first"] == one["layer"]["second"]
    assert {"locale", "umask", "env", "path"} <= set(one["tree"]["varied"])
    assert one["tree"]["not_varied"]["order"] == "it is made without reading folders"
    first, second = (
        sorted((path.relative_to(at), stat.S_IMODE(path.lstat().st_mode)) for path in at.rglob("*"))
        for at in (tmp_path / "kept/nydus-x86_64/first", tmp_path / "kept/nydus-x86_64/second")
    )
    assert first
    assert first == second
    # Nothing of it is remembered.
    assert "would be made" in cli("build", "nydus", "--arch", "x86_64", "--dry-run").ok()


@pytest.mark.net
def test_without_walls_around_programs_it_says_so(real, tmp_path):
    rules = _rules(tmp_path, ["sh", "-c", 'mkdir -p "$1" && umask > "$1"/nydusd && cat "$1"/nydusd', "sh", "{out}/libexec"])
    done = real("repro", "nydus", "--arch", "x86_64", "--rules", rules, "--sandbox", "none", "--vary", "user,cpus,umask")
    assert "made without walls" in done.ok()
    assert "user: there are no walls to be somebody else in" in done.stdout


def _rules(tmp_path, step):
    shutil.copytree(shipped("buildrules"), tmp_path / "rules")
    head = 'kind = "script"\narches = ["x86_64"]\nnotes = "tried"\ntoolchain = "image-tools"\nversion = "1"'
    (tmp_path / "rules/nydus.toml").write_text(f"version = 1\n\n[[recipes]]\n{head}\nsteps = {json.dumps([step])}\n")
    return tmp_path / "rules"


@pytest.mark.net
def test_a_rule_that_writes_the_host_name_is_caught_and_its_trees_are_kept(real, tmp_path):
    problem = bubblewrap_problem()
    if problem is not None:
        pytest.skip(str(problem))
    step = ["sh", "-c", 'mkdir -p "$1" && uname -n > "$1"/nydusd', "sh", "{out}/libexec"]
    rules = _rules(tmp_path, step)
    argv = ["--rules", rules, "--vary", "host,umask", "--find-cause", "--keep", "kept"]
    done = real("repro", "nydus", "--arch", "x86_64", *argv)
    assert done.code == 6, done.stderr
    assert "nydus (x86_64): trees differ at 1 path" in done.stdout
    assert "libexec/nydusd: content: file 0644, 12 bytes / file 0644, 12 bytes, first other byte at 0" in done.stdout
    assert "what made the difference: host" in done.stdout
    assert "error: not reproducible: nydus (x86_64)" in done.stderr
    kept = tmp_path / "kept/nydus-x86_64"
    assert [(kept / name / "libexec/nydusd").read_text() for name in ("first", "second")] == ["kata-bundle\n", "elsewhere-4\n"]
    assert "would be made" in real("build", "nydus", "--arch", "x86_64", "--rules", rules, "--dry-run").ok()


def test_a_trial_says_what_would_be_changed(cli, tmp_path):
    done = cli("repro", "nydus", "--arch", "x86_64", "--vary", "time,host", "--dry-run")
    assert "would make 1 component twice" in done.ok()
    assert "host: the host is named" in done.stdout
    assert "umask" not in done.stdout
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["repro"], "name components, or say --all"),
        (["repro", "nydus", "--all"], "name none"),
        (["repro", "nydu"], 'did you mean "nydus"'),
        (["repro", "nydus", "--arch", "s390x"], "has no rule for s390x"),
        (["repro", "nydus", "--vary", "tme"], 'did you mean "time"'),
        (["repro", "nydus", "--vary", ","], "no condition to vary"),
        (["repro", "nydus", "--arch", "x86_64", "--json", "--markdown"], "two forms of one result"),
    ],
)
def test_wrong_use_is_named(argv, said, monkeypatch):
    monkeypatch.setenv("KATA_BUNDLE_PROFILE", "packages")
    done = call_cli(*argv)
    assert done.code == 2, done.stderr
    assert said in done.stderr


def test_a_table_is_printed(monkeypatch, tmp_path):
    monkeypatch.setenv("KATA_BUNDLE_PROFILE", "packages")
    argv = ["repro", "nydus", "--arch", "x86_64", "--markdown", "--vary", "umask", "-q", "--store", tmp_path / "store"]
    text = call_cli(*argv).ok()
    head, rule, row = text.splitlines()
    assert head.startswith("| component | architecture |")
    assert rule == "|---|---|---|---|---|---|---|"
    assert row.startswith("| nydus | x86_64 | fixture | ")
    assert "| same `" in row
    assert row.endswith("| umask |")


def test_an_interrupt_ends_it_with_130(tmp_path):
    environment = {**os.environ, **PROFILE, "KATA_BUNDLE_STORE": str(tmp_path / "store")}
    argv = [sys.executable, "-m", "kata_bundle", "repro", "--all", "--arch", "x86_64,ppc64le,s390x", "-j", "1"]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "making it twice" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.endswith("error: interrupted\n")
