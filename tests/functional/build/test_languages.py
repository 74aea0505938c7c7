"""Kind ``go`` with the real compiler: a module of our own, made in the real sandbox from a given folder.

Slow, since the compiler has to be fetched and unpacked once: ``pytest -m slow tests/functional/build/test_languages.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kata_bundle.core.resources import shipped
from kata_bundle.store import Store
from tests.fixtures.cli import CACHE, run_cli

pytestmark = pytest.mark.slow

STORE = Path(os.environ.get("KATA_BUNDLE_STORE") or CACHE / "languages-store")
"""Kept between runs for the compilers."""
HEAD = """
version = 1

[[recipes]]
kind = "{kind}"
arches = ["x86_64"]
notes = "A program of a test."
toolchain = "{toolchain}"
version = "1"
{more}
[[recipes.sources]]
name = "program"
checkout = "program"
"""
GO = {
    "go.mod": "module example/program\n\ngo 1.21\n",
    "cmd/kata-ctl/main.go": 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("made with go") }\n',
}
GO_STEPS = """steps = [["go", "build", "-trimpath", "-buildvcs=false", "-o", "{out}/bin/", "./..."]]
"""


@pytest.mark.parametrize(("kind", "toolchain", "files", "more"), [("go", "go", GO, GO_STEPS)], ids=["go"])
def test_a_program_is_made_from_a_given_folder_and_made_equal_again(tmp_path, kind, toolchain, files, more):
    rules, program = tmp_path / "rules", tmp_path / "program"
    shutil.copytree(shipped("buildrules") / "toolchains", rules / "toolchains")
    (rules / "kata-ctl.toml").write_text(HEAD.format(kind=kind, toolchain=toolchain, more=more))
    for name, text in files.items():
        (program / name).parent.mkdir(parents=True, exist_ok=True)
        (program / name).write_text(text)
    words = ("build", "kata-ctl", "--arch", "x86_64", "--rules", rules, "--source", f"program={program}", "--json", "-q")
    (built,) = json.loads(run_cli(*words, store=STORE).ok())["components"]
    assert (built["origin"], built["hermetic"]) == (kind, True)
    with Store(STORE).open(Store(STORE).get_tree(built["tree"]).entries["bin/kata-ctl"].digest) as stream:
        (tmp_path / "kata-ctl").write_bytes(stream.read())
    (tmp_path / "kata-ctl").chmod(0o755)
    assert subprocess.run([tmp_path / "kata-ctl"], check=True, capture_output=True, text=True).stdout == f"made with {kind}\n"
    (program / "README").write_text("another action, the same program\n")
    (again,) = json.loads(run_cli(*words, store=STORE).ok())["components"]
    assert again["rule_key"] != built["rule_key"]
    assert again["tree"] == built["tree"]
