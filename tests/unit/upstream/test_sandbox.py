"""Make itself, asked in a sandbox: it says what variables are, and reaches nothing."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from kata_bundle.core.errors import BuildError, HostError
from kata_bundle.core.process import run
from kata_bundle.manifest.upstream.check import check_tree
from kata_bundle.manifest.upstream.make import sandbox
from kata_bundle.manifest.upstream.make.sandbox import ask_make
from kata_bundle.manifest.upstream.source import Files, MemoryFiles
from tests.fixtures.upstreamtrees import UpstreamFiles

GO = "src/runtime/Makefile"


def _reason() -> str | None:
    for program in ("bwrap", "make", "prlimit", "timeout"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if run([shutil.which("bwrap") or "", "--unshare-all", "--ro-bind", "/", "/", "true"], check=False).status:
        return "bwrap can make no sandbox here"
    return None


REASON = _reason()
needs_sandbox = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def ask(makefile: str, *variables: str, **environment: str) -> dict[str, str]:
    files: Files = MemoryFiles({GO: makefile.encode()})
    return ask_make(
        files, GO, machine="s390x", command_line={"PREFIX": "/opt/kata"}, environment=environment, variables=variables
    )


@needs_sandbox
def test_make_says_what_variables_are() -> None:
    said = ask("A := $(shell echo $(PREFIX) | tr a-z A-Z)\nB = x $(A)  y\ndefine C\none\ntwo\nendef\n", "A", "B", "C", "D")
    assert said == {"A": "/OPT/KATA", "B": "x /OPT/KATA  y", "C": "one two", "D": ""}


@needs_sandbox
def test_the_machine_is_the_one_that_is_asked_about() -> None:
    said = ask("A := $(shell uname -m)\nB := $(shell arch)\nC := $(shell uname -s; uname -m)\n", "A", "B", "C")
    assert said == {"A": "s390x", "B": "s390x", "C": "Linux s390x"}


@needs_sandbox
def test_the_environment_is_empty_but_for_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the host")
    said = ask("S := $(SECRET)$(shell env)\nA := $(ARCH)\n", "S", "A", ARCH="s390x")
    assert "of the host" not in said["S"]
    assert said["A"] == "s390x"


@needs_sandbox
def test_nothing_of_the_host_can_be_read_or_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    said = ask(
        f"A := $(shell cat {secret} /etc/hostname /root/.ssh/* /proc/1/environ 2>/dev/null)\n"
        f"B := $(shell touch {tmp_path}/made ./made /usr/made /tree/made 2>/dev/null && echo made)\n"
        "C := $(shell cat /proc/net/dev | grep -v lo: | grep -c :)\n"
        "D := $(shell ls /proc | grep -c '^[0-9]')\n",
        *"ABCD",
    )
    assert "host" not in said["A"]
    assert said["B"] == ""
    assert said["C"] == "0"
    assert int(said["D"]) < 10
    assert not (tmp_path / "made").exists()
    assert not os.path.exists("/usr/made")


@needs_sandbox
def test_a_makefile_that_stops_is_told() -> None:
    with pytest.raises(BuildError, match=r"no such architecture|Stop"):
        ask("$(error no such architecture)\nA := 1\n", "A")


@needs_sandbox
def test_a_makefile_that_never_ends_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_SECONDS", 1)
    start = time.monotonic()
    with pytest.raises(BuildError, match="nothing within 1 s"):
        ask("A := $(shell sleep 1000)\n", "A")
    assert time.monotonic() - start < 15


@needs_sandbox
def test_a_makefile_that_prints_without_end_is_stopped() -> None:
    with pytest.raises(BuildError, match="more than 4 MiB"):
        ask("$(info $(shell head -c 6000000 /dev/zero | tr '\\000' x))\nA := 1\n", "A")


@needs_sandbox
def test_values_that_only_make_knows_are_used(today: UpstreamFiles) -> None:
    today.replace(GO, "KERNELDIR := ", "KERNELDIR := $(shell printf %s /opt/kata/share/kata-containers)# ")
    assert today.findings("KB903")
    assert list(check_tree(MemoryFiles(today.content), ask_make=True).report) == []
    today.replace(GO, "printf %s /opt/kata/share", "printf %s /opt/kata/shares")
    assert {f.code for f in check_tree(MemoryFiles(today.content), ask_make=True).report} >= {"KB625"}


@needs_sandbox
def test_make_and_our_evaluator_agree_on_trees_without_findings() -> None:
    for name in ("today", "shell"):
        assert list(check_tree(MemoryFiles(UpstreamFiles(name).content), ask_make=True).report) == []


def test_a_contradiction_is_told(today: UpstreamFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ask_make", lambda *_, **__: {"DEFMEMSZ": "4096"})
    report = check_tree(MemoryFiles(today.content), ask_make=True).report
    found = [finding for finding in report if finding.code == "KB903"]
    assert any('"4096"' in f.message and f.span.line == today.line(GO, "DEFMEMSZ := 2048") for f in found)


def test_what_make_does_not_say_is_told(today: UpstreamFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> dict[str, str]:
        raise BuildError("make: *** no rule.  Stop.")

    monkeypatch.setattr(sandbox, "ask_make", refuse)
    found = [f for f in check_tree(MemoryFiles(today.content), ask_make=True).report if f.code == "KB903"]
    assert "no rule" in found[0].message


def test_without_a_sandbox_make_is_not_started(today: UpstreamFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *, package: str) -> str:
        raise HostError(f'program "{name}" is not installed', hint=f"apt-get install {package}")

    monkeypatch.setattr(sandbox, "find_program", missing)
    with pytest.raises(HostError, match="bwrap"):
        check_tree(MemoryFiles(today.content), ask_make=True)


def test_without_namespaces_make_is_not_started(tmp_path: Path, today: UpstreamFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    refusing = tmp_path / "bwrap"
    refusing.write_text('#!/bin/sh\necho "bwrap: No permissions to create a new namespace" >&2\nexit 1\n')
    make = tmp_path / "make"
    make.write_text(f"#!/bin/sh\ntouch {started}\n")
    for program in (refusing, make):
        program.chmod(0o755)
    programs = {"bwrap": str(refusing), "make": str(make)}
    monkeypatch.setattr(sandbox, "find_program", lambda name, *, package: programs.get(name, "/usr/bin/false"))
    with pytest.raises(HostError, match="not started without one") as refused:
        check_tree(MemoryFiles(today.content), ask_make=True)
    assert "No permissions to create a new namespace" in str(refused.value.hint)
    assert not started.exists()
