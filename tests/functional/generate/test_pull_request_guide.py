"""The hooks and the workflows of docs/guide/pull-requests.md do what they say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kata_bundle.generate.artefacts import ARTEFACTS

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "guide" / "pull-requests.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)]
HOMES = [artefact.home for artefact in ARTEFACTS.values() if artefact.home]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
BRANCH_OF_THE_PULL_REQUEST = {"GITHUB_BASE_REF": "main"}


def workflow(name):
    return next(block for block in BLOCKS if block.get("name") == name)


def run_steps(name):
    """Return the scripts of a workflow's steps, but for the one that installs this program."""
    (job,) = workflow(name)["jobs"].values()
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step and step["name"] != "Install"}


def git(folder, *argv):
    settings = ("user.name=n", "user.email=e@example.org", "init.defaultBranch=main", "commit.gpgsign=false")
    options = [word for setting in settings for word in ("-c", setting)]
    subprocess.run(["git", *options, *argv], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    """A clone of a repository with manifests, as a pipeline has it; and a way to run a script in it."""
    origin = tmp_path / "origin"
    for home in ("manifests", *HOMES):
        source, target = ROOT / home, origin / home
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    git(origin, "init", "--quiet")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "base")
    git(tmp_path, "clone", "--quiet", str(origin), "work")
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "kata-bundle"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kata_bundle "$@"\n')
    program.chmod(0o755)
    summary = tmp_path / "summary.md"

    def run(script):
        environment = {
            **os.environ,
            **BRANCH_OF_THE_PULL_REQUEST,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_STEP_SUMMARY": str(summary),
        }
        # As the runner starts scripts: stop at the first failure.
        command = ["bash", "-e", "-o", "pipefail", "-c", script]
        return subprocess.run(command, cwd=tmp_path / "work", capture_output=True, text=True, env=environment, check=False)

    run.folder = tmp_path / "work"
    run.summary = summary
    return run


def test_a_change_without_a_mistake_passes_every_step_and_is_summed_up(checkout):
    path = checkout.folder / "manifests" / "runtimeclasses.toml"
    remote = '[classes.remote]\noverhead = { memory = "120Mi"'
    assert remote in path.read_text()
    path.write_text(path.read_text().replace(remote, remote.replace("120Mi", "140Mi")))
    steps = run_steps("manifests")
    assert checkout(steps["Annotate every finding"]).returncode == 0
    stale = checkout(steps["Generated files are current"])
    assert stale.returncode == 12
    assert "docs/shims/remote.md differs" in stale.stderr
    assert checkout("kata-bundle generate all --manifests manifests").returncode == 0
    assert checkout(steps["Generated files are current"]).returncode == 0
    done = checkout(steps["Say what the change does"])
    assert done.returncode == 0, done.stderr
    assert "| `kata-remote` | memory | 120Mi → 140Mi |" in checkout.summary.read_text()


def test_a_mistake_is_put_on_its_line(checkout):
    path = checkout.folder / "manifests" / "shim-components.json"
    text = path.read_text().replace('"firecracker", "kernel"', '"firecraker", "kernel"', 1)
    path.write_text(text)
    line = 1 + text[: text.index("firecraker")].count("\n")
    done = checkout(run_steps("manifests")["Annotate every finding"])
    assert done.returncode == 3, done.stderr
    assert re.search(rf"^::error file=manifests/shim-components\.json,([^:]*,)?line={line},", done.stdout, flags=re.MULTILINE)


def commands_of_the_guide():
    scripts = [script for name in ("manifests", "registrations") for script in run_steps(name).values()]
    lines = [line for script in scripts for line in script.splitlines()]
    lines += re.findall(r"`(kata-bundle [^`]*)`", GUIDE)
    return [shlex.split(re.split(r" >>? | \|\| ", line)[0])[1:] for line in lines if line.startswith("kata-bundle ")]


@pytest.mark.parametrize("words", commands_of_the_guide(), ids=" ".join)
def test_every_command_of_the_guide_is_one_with_these_options(words):
    import click

    from kata_bundle.cli.root import command

    found, context, place = command, click.Context(command), 0
    while isinstance(found, click.Group):
        found = found.get_command(context, words[place])
        assert found is not None, words[place]
        place += 1
    options = {spelling: parameter for parameter in found.params for spelling in (*parameter.opts, *parameter.secondary_opts)}
    for number, word in enumerate(words):
        if word.startswith("-"):
            assert word in options
            if isinstance(options[word].type, click.Choice):
                assert words[number + 1] in options[word].type.choices


def test_hooks_are_complete_and_say_where_manifests_are():
    assert [hook["id"] for hook in HOOKS] == ["kata-bundle-check", "kata-bundle-generate", "kata-bundle-check-upstream"]
    for hook in HOOKS:
        assert hook["language"] == "python"
        assert hook["pass_filenames"] is False
        assert hook["entry"].startswith("kata-bundle ")
        re.compile(hook["files"])
    # Without it, the manifests inside the hook's own environment would be checked.
    assert all(hook["args"] == ["--manifests", "manifests"] for hook in HOOKS[:2])


@pytest.mark.parametrize("hook", HOOKS[:2], ids=lambda hook: hook["id"])
def test_a_hook_passes_on_this_checkout_and_is_triggered_by_what_it_reads(checkout, hook):
    done = checkout(shlex.join([*shlex.split(hook["entry"]), *hook["args"]]))
    assert done.returncode == 0, done.stderr
    assert re.search(hook["files"], "manifests/arches/x86_64.toml")
    assert not re.search(hook["files"], "README.md")
    if "generate" in hook["id"]:
        assert all(re.search(hook["files"], home) or re.search(hook["files"], f"{home}/x") for home in HOMES)


def test_the_workflow_is_triggered_by_everything_that_it_checks():
    # YAML 1.1 takes the key "on" for a boolean.
    patterns = [pattern.removesuffix("/**") for pattern in workflow("manifests")[True]["pull_request"]["paths"]]
    assert "manifests" in patterns
    assert all(any(home == pattern or home.startswith(f"{pattern}/") for pattern in patterns) for home in HOMES)


def test_the_guide_names_every_hook():
    assert {hook["id"] for hook in HOOKS} == set(re.findall(r"`(kata-bundle-[a-z-]+)`", GUIDE))
    assert {hook["id"] for hook in BLOCKS[0]["repos"][0]["hooks"]} <= {hook["id"] for hook in HOOKS}
