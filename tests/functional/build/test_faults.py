"""Builds that go wrong, as processes: what is said, what is left, and that a later build gives what an undisturbed one does."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.fixtures.cli import run_cli
from tests.support.actionrules import Rules, walls  # noqa: F401 - a fixture for all tests here
from tests.support.httpserver import reply, serving

CHAIN = ("cloud-hypervisor", "kata-ctl", "nydus", "openvmm")


@pytest.fixture
def rules(tmp_path) -> Rules:
    return Rules.make(tmp_path / "rules")


@pytest.fixture
def build(rules, tmp_path):
    def call(*argv, store="store", command="build", **settings):
        root = tmp_path / store
        if not root.exists():
            rules.seed(root)
        return run_cli(command, *argv, "--rules", rules.folder, "--arch", "x86_64", store=root, cwd=tmp_path, **settings)

    return call


def digests(done) -> dict[str, str]:
    return {one["component"]: one["tree"] for one in json.loads(done.ok())["components"]}


def is_clean(tmp_path, store="store") -> bool:
    done = run_cli("store", "verify", "--json", store=tmp_path / store)
    return done.code == 0 and not list((tmp_path / store / "quarantine").iterdir())


def chain(rules, before=":"):
    for number, name in enumerate(CHAIN):
        rules.simple(name, before=before, needs=CHAIN[:number][-1:])


# Rules that cannot be right


def test_rules_that_need_each_other(rules, build):
    rules.simple("openvmm", needs=("nydus",))
    rules.simple("nydus", needs=("openvmm",))
    done = build("nydus")
    assert done.code == 5
    assert "rules need each other: nydus → openvmm → nydus" in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize(
    ("more", "line", "message"),
    [
        ('stepz = [["true"]]\n', 12, "recipes.0.stepz: unknown key"),
        ('[[recipes.sources]]\nname = "a"\nfiles = "x"\nsha512 = "0"\n', 15, "recipes.0.sources.0.sha512: unknown key"),
        ('[[recipes.sources]]\nname = "a"\nfetch = ["ftp://example/x"]\n', 14, "recipes.0.sources.0.fetch.0: "),
        ("env = { A = 1 }\n", 12, "recipes.0.env.A: "),
        ("notes = 1\n", 12, 'key "recipes[0].notes" is given twice, first on line 6'),
        ("env = {\n", 12, "not valid TOML: invalid initial character"),
    ],
    ids=["unknown", "deep", "value", "type", "twice", "syntax"],
)
def test_a_wrong_rule_is_shown_with_its_place(rules, build, more, line, message):
    rules.simple("nydus", more=more)
    done = build("nydus")
    assert done.code == 3
    assert re.search(rf"rules/nydus\.toml:{line}:\d+: ", done.stderr), done.stderr
    assert message in done.stderr


# Sources


def source(url: str, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f'[[recipes.sources]]\nname = "data"\nfetch = ["{url}"]\nsha256 = "{digest}"\nsize = {len(data)}\n'


def test_a_source_that_cannot_be_reached(rules, build, tmp_path):
    rules.simple("nydus", more=source("http://127.0.0.1:9/data", b"x"))
    done = build("nydus")
    assert done.code == 8
    assert 'source "data" of nydus cannot be fetched' in done.stderr
    assert "http://127.0.0.1:9/data: " in done.stderr
    assert is_clean(tmp_path)


def test_a_source_with_another_sum_is_refused_until_it_is_right(rules, build, tmp_path):
    right, wrong = b"right" * 1000, b"wrong" * 1000
    served = [wrong]
    with serving(lambda _: reply(200, served[0])) as server:
        url = f"http://{server.host}/data"
        rules.simple("nydus", text="$(cat $3/data/data | head -c 5)", more=source(url, right))
        done = build("nydus")
        assert done.code == 7
        assert hashlib.sha256(wrong).hexdigest() in done.stderr
        assert hashlib.sha256(right).hexdigest() in done.stderr
        assert is_clean(tmp_path)
        assert not (tmp_path / "store" / "blobs" / "sha256" / hashlib.sha256(wrong).hexdigest()).exists()
        served[0] = right
        again = digests(build("nydus", "--json"))
        assert again == digests(build("nydus", "--json", store="undisturbed"))


# Programs that die, and disks that are full


def start(rules, store, *argv):
    argv = [sys.executable, "-m", "kata_bundle", "build", *CHAIN, "--rules", rules.folder, "--arch", "x86_64", "-j", "2", *argv]
    environment = {**os.environ, "KATA_BUNDLE_STORE": str(store)}
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_build_killed_at_any_moment_is_finished_by_the_next(rules, build, tmp_path):
    chain(rules, before="sleep 0.1")
    expected = digests(build(*CHAIN, "--json", store="undisturbed"))
    moments = random.Random(1)
    store = tmp_path / "store"
    rules.seed(store)
    for number in range(6):
        rules.simple("trace-forwarder", text=str(number), before="sleep 0.3")
        process = start(rules, store, "trace-forwarder")
        # It is told by its first line that work has begun; what comes then is left to chance.
        process.stderr.readline()
        time.sleep(moments.uniform(0, 0.9))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert is_clean(tmp_path)
    left = [
        path for place in ("tmp", "sandboxes", "checkouts/tmp") if (store / place).exists() for path in (store / place).iterdir()
    ]
    left += store.glob("actions/*.tmp-*")
    assert left, "no kill hit anything"
    for path in left:
        os.utime(path, (1, 1))
    assert digests(build(*CHAIN, "--json")) == expected
    rules.simple("virtiofsd")
    build("virtiofsd").ok()
    assert [path for path in left if path.exists()] == []
    assert is_clean(tmp_path)


def test_two_builds_of_one_component_at_once(rules, build, tmp_path):
    chain(rules, before="sleep 0.2")
    rules.seed(tmp_path / "store")
    both = [start(rules, tmp_path / "store", "--json") for _ in range(2)]
    results = []
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, err
        results.append({one["component"]: one["tree"] for one in json.loads(out)["components"]})
    assert results[0] == results[1] == digests(build(*CHAIN, "--json", store="undisturbed"))
    assert is_clean(tmp_path)


def test_a_full_disk(rules, build, tmp_path):
    rules.simple("nydus")
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path / "disk"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        rules.seed(tmp_path / "disk" / "store")
        ballast = tmp_path / "disk" / "ballast"
        room = os.statvfs(tmp_path / "disk")
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - (256 << 10))
        done = build("nydus", store="disk/store")
        assert done.code == 9
        assert f"error: No space left on device: {tmp_path}/disk/store/" in done.stderr
        assert "hint: free some space there" in done.stderr
        assert "unexpected" not in done.stderr
        assert is_clean(tmp_path, "disk/store")
        ballast.unlink()
        assert digests(build("nydus", "--json", store="disk/store")) == digests(build("nydus", "--json"))
    finally:
        subprocess.run(["umount", "-l", tmp_path / "disk"], check=True)


# What is no result


def test_what_fails_or_has_no_walls_is_not_kept_as_made(rules, build, tmp_path):
    rules.simple("nydus", before="false")
    rules.simple("openvmm")
    done = build("nydus")
    assert done.code == 5
    assert "nydus-x86_64 failed with exit code 1" in done.stderr
    assert [one["cached"] for one in json.loads(build("nydus", "--dry-run", "--json").ok())["components"]] == [False]
    (bare,) = json.loads(build("openvmm", "--sandbox", "none", "--json").ok())["components"]
    assert not bare["hermetic"]
    assert is_clean(tmp_path)
    # In walls it is another matter: not taken from what had none.
    (walled,) = json.loads(build("openvmm", "--json").ok())["components"]
    assert (walled["hermetic"], walled["cached"]) == (True, False)
