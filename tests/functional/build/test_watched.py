"""Builds as people see them: logs of what ran, the summary of what failed, and an interrupt that leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.fixtures.cli import run_cli
from tests.support.actionrules import Rules, walls  # noqa: F401 - a fixture for all tests here

ARCH = ("--arch", "x86_64")
SECRET = "hunter2-of-the-machine"


@pytest.fixture
def rules(tmp_path) -> Rules:
    rules = Rules.make(tmp_path / "rules")
    rules.seed(tmp_path / "store")
    return rules


@pytest.fixture
def cli(rules, tmp_path):
    def call(command, *argv, **settings):
        words = [command, *argv, "--rules", rules.folder, *ARCH]
        return run_cli(*words, store=tmp_path / "store", cwd=tmp_path, SECRET_TOKEN=SECRET, **settings)

    return call


def last(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]


def test_the_log_of_a_result_is_kept_also_of_one_that_another_rule_made(rules, cli, tmp_path):
    rules.simple("nydus", before="echo said to the log; env; echo and this >&2")
    cli("build", "nydus").ok()
    text = cli("log", "nydus").ok()
    assert text.startswith("said to the log\n")
    assert text.endswith("and this\n")
    assert SECRET not in text
    document = json.loads(cli("log", "nydus", "--json").ok())["logs"][0]
    assert (document["text"], document["failed"]) == (text, False)
    # Another key that leads to the same action: found, not run, and it has the log all the same.
    rules.simple("nydus", before="echo said to the log; env; echo and this >&2", more="timeout_s = 77\n")
    (tmp_path / "rules" / "nydus.toml").write_text(
        (tmp_path / "rules" / "nydus.toml").read_text().replace('version = "1"\nwork', 'version = "2"\nwork')
    )
    done = cli("build", "nydus", "--events", "events")
    done.ok()
    (finished,) = [event for event in last(tmp_path) if event["event"] == "action-finished"]
    assert (finished["cached"], finished["action"]) == ("local", document["action"])
    assert cli("log", "nydus").ok() == text


def test_the_log_goes_with_its_result(rules, cli, tmp_path):
    rules.simple("nydus", before="echo printed")
    cli("build", "nydus", "--events", "events").ok()
    (finished,) = [event for event in last(tmp_path) if event["event"] == "action-finished"]
    blob = tmp_path / "store" / "blobs" / "sha256" / finished["log"].removeprefix("sha256:")
    assert blob.read_bytes() == b"printed\n"
    old = time.time() - 10 * 86400
    for path in [*(tmp_path / "store" / "actions").iterdir(), *blob.parent.iterdir()]:
        os.utime(path, (old, old))
    run_cli("store", "gc", "--keep-days", "20", store=tmp_path / "store").ok()
    assert blob.exists()
    run_cli("store", "gc", "--keep-days", "1", store=tmp_path / "store").ok()
    assert not blob.exists()


def test_a_very_long_log_is_cut_in_the_middle(rules, cli):
    rules.simple("nydus", before="echo first; seq 1 900000; echo latest")
    cli("build", "nydus").ok()
    text = cli("log", "nydus").ok()
    assert text.startswith("first\n1\n")
    assert text.endswith("900000\nlatest\n")
    assert text.count("[kata-bundle: ") == 1
    assert len(text) <= 4 << 20


def test_a_failure_names_its_log_and_the_command_prints_it(rules, cli, tmp_path):
    rules.simple("nydus", before="echo before it broke; exit 7")
    done = cli("build", "nydus", "--events", "events")
    assert done.code == 5
    (failed,) = [event for event in last(tmp_path) if event["event"] == "action-failed"]
    assert failed["exit"] == 7
    assert f"the whole log: {failed['log']}" in done.stderr
    assert "before it broke" in failed["message"]
    shown = cli("log", "nydus")
    assert shown.ok() == "before it broke\n"
    assert "of the failure whose work folder is" in shown.stderr
    rules.simple("nydus")
    cli("build", "nydus").ok()
    assert cli("log", "nydus").ok() == ""
    assert cli("log", "nydus", "--failed").ok() == "before it broke\n"


def test_without_a_log_the_reason_is_said(rules, cli):
    rules.simple("nydus")
    done = cli("log", "nydus")
    assert done.code == 5
    assert "nydus (x86_64) has no log: it was not made with today's rule" in done.stderr


def test_keep_going_makes_the_rest_and_sums_up_what_failed(rules, cli, tmp_path):
    rules.simple("cloud-hypervisor", before="exit 3")
    rules.simple("kata-ctl", needs=("cloud-hypervisor",))
    rules.simple("agent-ctl", needs=("kata-ctl",))
    rules.simple("nydus", before="echo other; exit 4")
    rules.simple("openvmm")
    done = cli("build", "--keep-going", "-j", "4", "--events", "events")
    assert done.code == 5
    assert "cloud-hypervisor-x86_64 failed with exit code 3" in done.stderr
    assert "also failed: 1\n  nydus (x86_64): nydus-x86_64 failed with exit code 4; the whole log: " in done.stderr
    assert "agent-ctl (x86_64) (needs cloud-hypervisor)" in done.stderr
    assert "kata-ctl (x86_64) (needs cloud-hypervisor)" in done.stderr
    counts = last(tmp_path)[-1]["counts"]
    assert counts == {"made": 1, "local": 0, "remote": 0, "failed": 2, "not_tried": 2}
    assert last(tmp_path)[-1]["exit"] == 5
    assert cli("build", "openvmm", "--json").ok().count('"cached": true') == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_programs_and_leaves_nothing_half_written(rules, tmp_path, number):
    mark = f"4{number:03d}7{os.getpid()}"
    rules.simple("nydus", before=f"echo running; sleep {mark}")
    rules.simple("openvmm", needs=("nydus",))
    words = ["build", "--rules", rules.folder, *ARCH, "--store", tmp_path / "store", "-j", "2", "--events", tmp_path / "events"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kata_bundle", *map(str, words)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not sleepers(mark):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "error: interrupted" in said
    assert sleepers(mark) == []
    assert list((tmp_path / "store" / "sandboxes").iterdir()) == []
    assert not list((tmp_path / "store" / "tmp").iterdir())
    events = last(tmp_path)
    assert (events[-1]["event"], events[-1]["exit"]) == ("build-finished", 130)
    assert [event["cancelled"] for event in events if event["event"] == "action-failed"] == [True]
    run_cli("store", "verify", store=tmp_path / "store").ok()
    rules.simple("nydus")
    run_cli("build", "--rules", rules.folder, *ARCH, store=tmp_path / "store").ok()


def sleepers(mark: str) -> list[str]:
    """Return the processes that sleep for ``mark`` seconds."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", mark.encode()]:
            found.append(name)
    return found
