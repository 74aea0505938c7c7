"""The short reading of an install's command line agrees with the real one where both take it, and needs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import click
from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.cli.install_cmd import command
from kata_bundle.cli.quick import Settings, plain_settings, request_of

WORDS = st.sampled_from(
    [
        "--root", "--dest", "--suffix", "--shim", "--arch", "--spec", "--runtime", "--keep", "--payload-only", "--json", "-q",
        "--quiet", "--plan", "--dry-run", "--verify", "--repair", "--approved", "--accept-gap", "--from-environment", "--help",
        "-h", "--", "-", "", "--root=/", "--dest=/opt/x", "--dest=", "--shim=qemu", "--shim=a,b", "--keep=3", "--keep=03",
        "--json=1", "--ro", "-qx", ".", "/", "/tmp", "/opt/kata", "dev", "qemu", "x86_64", "containerd", "2", "7", "100",
        "--keep=0", "101", "\uff11", "-1", "=", "--=",
    ]
)  # fmt: skip


def parsed(arguments: list[str]) -> Settings | None:
    """Return what click makes of the command line, ``None`` when it refuses it or shows help."""
    from kata_bundle.cli.app import App

    app = App()
    try:
        with command.make_context("install", list(arguments), obj=app) as ctx:
            p = ctx.params
    except (click.ClickException, click.exceptions.Exit):
        return None
    if any(p[name] for name in ("plan_only", "approved", "accept_gap", "hash_all", "from_environment")) or app.dry_run:
        return None
    names = ("bundle", "root", "dest", "suffix", "shims", "arch", "spec", "runtime", "keep", "payload_only")
    return Settings(**{name: p[name] for name in names}, json=app.json, quiet=app.quiet)


@given(st.lists(WORDS, max_size=7))
def test_a_plain_reading_is_the_real_one(arguments):
    """What click refuses does not matter: a record's request is what click once read."""
    plain = plain_settings(arguments)
    real = parsed(arguments)
    if plain is not None and real is not None:
        assert request_of(plain) == request_of(real)
        assert plain.quiet == real.quiet


def test_the_usual_command_lines_are_read():
    plain = plain_settings(["out", "--root", "/r", "--shim", "qemu,clh", "--arch=x86_64", "--keep", "3", "-q"])
    assert plain is not None
    assert (plain.bundle, plain.root, plain.shims, plain.arch, plain.keep, plain.quiet) == (
        "out",
        "/r",
        ("qemu,clh",),
        "x86_64",
        3,
        True,
    )
    assert plain_settings(["out"]) is not None
    for other in (
        ["out", "--dry-run"],
        ["out", "--verify"],
        ["out", "out"],
        [],
        ["out", "--shim"],
        ["out", "--from-environment"],
    ):
        assert plain_settings(other) is None


def test_asking_for_a_record_imports_nothing_that_takes_time(tmp_path):
    code = (
        "import sys; before = set(sys.modules)\n"
        "from kata_bundle.cli.quick import answer\n"
        f"assert answer(['x', '--root', {str(tmp_path)!r}]) is None\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.split(".")[0] == "kata_bundle"}
    assert ours == {"kata_bundle", "kata_bundle.cli", "kata_bundle.cli.quick", "kata_bundle.node", "kata_bundle.node.seen"}
    assert set(done.stdout.split()) - ours <= {"__future__"}
