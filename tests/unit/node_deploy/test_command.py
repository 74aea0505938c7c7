"""The command line of ``kata-deploy``: what it accepts, what it says, what it loads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kata_bundle.node.actions import Action


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kata_bundle.cli.deploy", *arguments]
    return subprocess.run(command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, check=False)


def test_the_console_script_is_this_program():
    scripts = tomllib.loads(Path("pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kata-deploy"] == "kata_bundle.cli.deploy:main"


def test_help_shows_every_action_but_the_internal_one():
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for action in Action:
        assert (f"  {action.value} " in done.stdout) is not action.is_hidden


@pytest.mark.parametrize(
    "action", ["install-stage-label", "cleanup-stage-unlabel", "install-stage", "cleanup-stage", "", "bogus"]
)
def test_other_names_are_usage_errors(action):
    done = run(action)
    assert done.returncode == 2
    assert "error:" in done.stderr


def test_without_a_node_name_nothing_begins():
    if os.geteuid() != 0:
        pytest.skip("everybody but root is refused before that")
    done = run("install")
    assert done.returncode == 2
    assert "NODE_NAME" in done.stderr
    assert "hint:" in done.stderr


def test_everybody_but_root_is_refused():
    if os.geteuid() != 0:
        done = run("install", NODE_NAME="n")
    else:
        code = "import os, sys; os.geteuid = lambda: 1000; from kata_bundle.cli.deploy import main; sys.exit(main(['install']))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 9
    assert "root" in done.stderr


def test_the_program_loads_no_command_line_library_and_nothing_of_the_catalog():
    code = "import sys, kata_bundle.cli.deploy, kata_bundle.node.deploy.run; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"click", "rich", "pydantic", "jsonschema", "kata_bundle.manifest", "kata_bundle.build"}
