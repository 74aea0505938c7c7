"""What the command line may import, and how it ends (docs/decisions/003)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

PROBE = """
import json, sys
before = set(sys.modules)
from kata_bundle.cli import main
sys.stdout = open("/dev/null", "w")
code = main({argv!r})
sys.stdout = sys.__stdout__
print(json.dumps(sorted(set(sys.modules) - before)))
raise SystemExit(code)
"""
HEAVY = {
    "pydantic", "jsonschema", "rich", "urllib3", "google.protobuf", "yaml", "zstandard", "tarfile", "urllib.request", "http",
    "asyncio",
    "subprocess", "hashlib", "json", "tomllib", "concurrent.futures", "multiprocessing", "email", "tempfile", "difflib",
}  # fmt: skip


def imported_by(*argv: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROBE.format(argv=list(argv))], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_version_imports_our_package_and_nothing_else():
    assert imported_by("--version") == {"kata_bundle", "kata_bundle.cli"}


@pytest.mark.parametrize("argv", [("--help",), ("node", "--help"), ("plan", "--help"), ("completion", "bash")])
def test_help_and_completion_import_nothing_heavy(argv):
    imported = imported_by(*argv)
    assert "click" in imported
    # click's completion module brings subprocess and tempfile itself when a script is asked for.
    allowed = {"subprocess", "tempfile"} if argv[0] == "completion" else set()
    assert {name for name in imported if name in HEAVY or name.split(".")[0] in HEAVY} <= allowed


def test_help_imports_no_command_module():
    assert not {name for name in imported_by("--help") if name.endswith("_cmd")}


def script(*argv: str, **settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kata_bundle", *argv], capture_output=True, text=True, check=False, **settings)


def test_module_and_script_print_the_version():
    from kata_bundle import __version__

    assert script("--version").stdout == f"kata-bundle {__version__}\n"
    assert script("-V").stdout == f"kata-bundle {__version__}\n"


@pytest.mark.parametrize("argv", [[], ["store"], ["lock"]])
def test_a_group_without_a_command_shows_its_help_and_ends_with_2(argv):
    done = script(*argv)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: kata-bundle")


def test_a_problem_of_the_host_ends_with_9_and_is_no_bug(tmp_path, monkeypatch, capsys):
    from kata_bundle.cli import root

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def full(*_args, **_settings):
        raise OSError(errno.ENOSPC, "No space left on device", "/data/store/tmp/1")

    monkeypatch.setattr(root.command, "invoke", full)
    assert root.run(["check"]) == 9
    assert capsys.readouterr().err.startswith("error: No space left on device: /data/store/tmp/1\nhint: free some space")
    assert not list(tmp_path.iterdir())


def test_an_unexpected_error_is_told_without_a_home_too(monkeypatch, capsys):
    from pathlib import Path

    from kata_bundle.cli import root

    def broken(*_args, **_settings):
        raise ZeroDivisionError

    def homeless():
        message = "no home"
        raise RuntimeError(message)

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(root.command, "invoke", broken)
    monkeypatch.setattr(Path, "home", homeless)
    assert root.run(["check"]) == 1
    assert "hint: run again with -v" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["instal"], 2, 'no such command "instal"; did you mean "install"?'),
        (["node", "xyz"], 2, 'no such command "xyz"; see kata-bundle node --help'),
        (["--nope"], 2, "No such option"),
        (["plan"], 2, "Missing option '--shim'"),
        (["plan", "--shim", "qemu", "--arch", "vax"], 2, 'unknown architecture "vax"'),
        (["plan", "--shim", ","], 2, "no shim selected"),
        (["completion", "tcsh"], 2, "tcsh"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_clear_error(argv, code, words):
    done = script(*argv)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_every_listed_command_exists_and_has_a_help_line_and_an_example():
    import click

    from kata_bundle.cli.lazy import LazyGroup
    from kata_bundle.cli.root import command

    def walk(group: click.Group, path: tuple[str, ...]):
        for name in group.list_commands(click.Context(group)):
            found = group.get_command(click.Context(group), name)
            assert found is not None, name
            if isinstance(found, click.Group):
                yield from walk(found, (*path, name))
            else:
                yield " ".join((*path, name)), found

    assert isinstance(command, LazyGroup)
    for name, found in walk(command, ()):
        assert found.help, name
        assert found.epilog, f"{name} shows no example"
        assert f"kata-bundle {name}" in found.epilog, name


def test_an_unexpected_error_is_logged_and_shown_with_v(tmp_path, monkeypatch):
    from kata_bundle.cli import root

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def broken(*_args, **_settings):
        message = "wires crossed"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(root.command, "invoke", broken)
    assert root.run(["check"]) == 1
    log = tmp_path / "kata-bundle" / "unexpected-errors.log"
    assert "ZeroDivisionError: wires crossed" in log.read_text()


def test_a_reader_that_leaves_early_is_no_failure():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "kata_bundle", "--help"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0


def test_an_interrupt_ends_with_130(monkeypatch):
    from kata_bundle.cli import root

    def interrupted(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(root.command, "invoke", interrupted)
    assert root.run(["check"]) == 130
