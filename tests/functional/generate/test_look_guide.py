"""Every command of docs/guide/look-before-you-build.md runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.resources import shipped
from tests.fixtures.cli import call_cli
from tests.support.bundles import sample_bundle

GUIDE = (Path(__file__).parents[3] / "docs" / "guide" / "look-before-you-build.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for block in BLOCKS for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What the commands name: bundles, manifests, locks."""
    root = tmp_path_factory.mktemp("guide")
    for name in ("out", "old-bundle", "new-bundle"):
        shutil.move(sample_bundle(root / f"of-{name}", arches=(Arch.X86_64,)).directory, root / name)
    for name in ("main/manifests", "manifests"):
        shutil.copytree(shipped("manifests"), root / name)
    for name in ("old.lock", "kata-bundle.lock"):
        (root / name).write_text('{"version": 1, "shims": {}, "components": {}}')
    return root


def test_the_guide_has_commands():
    assert {words[0] for words in COMMANDS} == {"plan", "why", "size", "diff"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_guide_runs(words, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("KATA_BUNDLE_STORE", str(place / "store"))
    done = call_cli(*words)
    if words[:2] == ["size", "--shim"]:
        assert done.code == 2  # nothing was made here
        assert "kata-bundle bundle makes them" in done.stderr
    else:
        assert done.code == 0, done.stderr
