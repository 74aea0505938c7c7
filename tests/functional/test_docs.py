"""What README.md tells people to run is run, in the order of the page, and does what the page says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from kata_bundle.cli.root import TABLE
from tests.functional.test_bundle import SELECTION

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DEV = (ROOT / "dev").read_text()
ROWS = dict(
    re.findall(r"^\| ([^|]+) \| `([^`]+)` \|$", README.partition("## Use it")[2].partition("\n## ")[0], flags=re.MULTILINE)
)

ELSEWHERE = {
    "ship it": "tests/interop/registry runs it with a registry of its own",
    "install from a registry only what the node lacks": "tests/interop/install runs it with a registry of its own",
    "carry releases to a site without network": "tests/functional/delta/test_media.py",
    "put its troubles into one file for a bug report": "tests/functional/guide/test_operator_guide.py",
    "look into a build that failed": "tests/unit/build_sandbox: there has to be one",
}
"""Rows that need more than this machine, and who runs them."""
SCRATCH = ("--root", "root")
"""Where a row means the host's root."""
STATUS = {"see whether a node is fit": {0, 9}, "compare two releases": {12}, "see what programs printed": {0, 5}}
"""Exit codes of rows that find something: a host's problems, differences, a result in a store of an earlier version."""


@pytest.fixture
def place(cli, tmp_path):
    """A folder with what the rows name."""
    (tmp_path / "node.toml").write_text('version = 1\nshims = ["qemu"]\ncontainer_runtime_version = "containerd://2.1.5"\n')
    (tmp_path / "root/etc/containerd").mkdir(parents=True)
    (tmp_path / "root/etc/containerd/config.toml").write_text("version = 3\n")
    cli("bundle", "--shim", "qemu", "-o", "out").ok()
    for name, shims in (("OLD", "qemu"), ("NEW", "qemu,clh")):
        cli("bundle", "--shim", shims, "-o", name, "--lock", f"{name}.lock").ok()
    return tmp_path


def adapted(command: str) -> list[str]:
    """Return the words after ``kata-bundle``, with a scratch directory for the host's root."""
    program, *words = shlex.split(command)
    assert program == "kata-bundle"
    if words[0] in {"install", "verify"}:
        words = [word for i, word in enumerate(words) if word != "--root" and words[i - 1] != "--root"]
        words += SCRATCH
    return words


def test_the_table_of_uses_runs(cli, place):
    for purpose, command in ROWS.items():
        if purpose in ELSEWHERE:
            continue
        words = adapted(command)
        if words[0] == "verify":
            cli("install", "out", *SCRATCH).ok()
        if words[:1] == ["install"] and "--spec" in words:  # carrying it out needs a running container runtime
            words += ["--runtime", "containerd", "--dry-run"]
        if words[:2] == ["store", "gc"]:  # the tests at other places use this store; tests/unit/store collects for real
            words += ["--dry-run"]
        done = cli(*words)
        assert done.code in STATUS.get(purpose, {0}), f"{purpose}: {command}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert (place / "tarballs" / "shim-components.json").is_file()


def test_the_listing_of_the_demo_is_what_the_demo_does():
    listed = re.findall(
        r"^kata-bundle (\S+)", README.partition("## What the demo does")[2].partition("## ")[0], flags=re.MULTILINE
    )
    body = re.search(r"^demo\(\) \{\n(.*?)^\}", DEV, flags=re.MULTILINE | re.DOTALL)
    assert body is not None
    done = [verb for verb in re.findall(r"^\s+(?:run|local bundle=\()\s*(\w+)", body[1], flags=re.MULTILINE) if verb != "lock"]
    assert listed == list(dict.fromkeys(done))


def test_every_command_has_help_with_an_example_and_json(cli):
    """ "Every command has --help with examples, --json for its result"."""
    for name in TABLE:
        shown = cli(name, "--help").ok()
        assert "kata-bundle" in shown


def test_what_is_real_and_what_is_not_is_what_the_page_says(cli, place):
    text = README.partition("## What the demo does")[2].partition("\n## ")[0]
    real = set(re.findall(r"`([\w-]+)`", re.search(r"^(.*) are real:", text, flags=re.MULTILINE)[1]))
    shims, arches = SELECTION[1], SELECTION[3]
    layers = json.loads(cli("bundle", "--shim", shims, "--arch", arches, "-o", "both", "--json").ok())["layers"]
    assert {layer["component"] for layer in layers if layer["real"]} == real
    for layer in layers:
        assert layer["real"] == (layer["component"] in real)
    cells = int(re.search(r"all\s+(\d+) cells", text)[1])
    assert f"{cells} cells" in cli("check").stderr
