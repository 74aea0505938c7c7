"""An install that is carried out without the command line library says and does what the command does, and imports no click."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kata_bundle.cli.direct import is_direct
from kata_bundle.cli.quick import plain_settings
from tests.fixtures.node import payload, snapshot


@pytest.fixture
def node(tmp_path):
    payload(tmp_path / "v1", "1")
    (tmp_path / "file").write_text("no folder")
    return tmp_path


COMMAND = "import sys; from kata_bundle.cli.root import run; sys.exit(run(sys.argv[1:]))"
"""The command itself, whatever its arguments."""
DIRECT = (
    "import sys; from kata_bundle.cli import main; code = main(sys.argv[1:])\n"
    "assert 'click' not in sys.modules, 'click was imported'; sys.exit(code)"
)


def run(code, *arguments, cwd):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--shim", "qemu"], 0),
        (["--shim", "qemu,clh", "--json"], 0),
        (["--shim", "qemu", "--payload-only", "-q"], 0),
        (["--shim", "qemu", "--suffix", "dev", "--keep", "3"], 0),
        (["--shim", "nonsense"], 2),
        (["--shim", ","], 2),
        (["--shim", "qemu", "--arch", "nonsense"], 2),
        (["--shim", "qemu", "--arch", "s390x"], 9),
        (["--shim", "qemu", "--dest", "relative"], 2),
        (["--shim", "qemu", "--suffix", "a/b"], 2),
    ],
)
def test_the_same_words_exit_code_and_tree(node, arguments, code):
    arch = [] if "--arch" in arguments else ["--arch", "x86_64"]
    found = {}
    for name, program in (("command", COMMAND), ("direct", DIRECT)):
        words = ["install", "v1", "--root", "root", *arguments, *arch]
        done = run(program, *words, cwd=node)
        assert done.returncode == code, done.stderr
        root = node / "root"
        tree = {path: kind for path, kind in snapshot(root).items() if ".kata-bundle" not in str(path)} if root.exists() else {}
        found[name] = (done.stdout, done.stderr, tree)
        if root.exists():
            root.rename(node / name)
    assert found["direct"] == found["command"]


def test_what_is_not_there_or_not_plain_is_left_to_the_command(node, monkeypatch):
    monkeypatch.chdir(node)
    assert is_direct(plain_settings(["v1", "--root", "root"]))
    for other in (
        ["nowhere"],
        ["file"],
        ["host/repository:tag"],
        ["v1", "--root", "file"],
        ["v1", "--keep", "101"],
        ["v1", "--spec", "file"],
        ["v1", "--runtime", "containerd"],
    ):
        assert not is_direct(plain_settings(other)), other
