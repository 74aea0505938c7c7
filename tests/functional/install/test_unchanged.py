"""An install with nothing to do is answered from file times, and from nothing else than what still is as it was."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from kata_bundle.cli.quick import answer
from kata_bundle.node.seen import load_record
from tests.fixtures.cli import run_cli
from tests.fixtures.node import payload, snapshot

SPEC = """
version = 1
shims = ["qemu"]
default_shim = "qemu"
container_runtime_version = "containerd://1.7.24"
"""


@pytest.fixture
def node(tmp_path):
    root = tmp_path / "root"
    (root / "etc/containerd").mkdir(parents=True)
    (root / "etc/containerd/config.toml").write_text("version = 2\n")
    payload(tmp_path / "v1", "1")
    payload(tmp_path / "v2", "2")
    (tmp_path / "node.toml").write_text(SPEC)
    time.sleep(0.05)  # what was changed a moment ago is never taken to be settled
    return tmp_path


def arguments(node: Path, *more: str) -> list[str]:
    shims = [] if "--spec" in more else ["--shim", "qemu"]
    return [str(node / "v1"), "--root", str(node / "root"), "--arch", "x86_64", *shims, *more]


def configured(node: Path) -> list[str]:
    return arguments(node, "--spec", str(node / "node.toml"), "--runtime", "containerd")


def settle(node: Path, argv: list[str]) -> str:
    """Install, then have the long way find that nothing has to be done; return what that printed."""
    run_cli("install", *argv).ok()
    time.sleep(0.05)
    shown = run_cli("install", *argv).ok()
    assert answer(argv) == 0, "not settled"
    return shown


@pytest.mark.parametrize("more", [(), ("--json",), ("--quiet",), ("--keep", "5")])
def test_the_short_answer_is_the_long_one(node, capfd, more):
    argv = arguments(node, *more)
    run_cli("install", *argv).ok()
    time.sleep(0.05)
    long = run_cli("install", *argv)
    before = snapshot(node / "root", inodes=True)
    short = run_cli("install", *argv)
    assert (short.code, short.stdout, short.stderr) == (0, long.stdout, long.stderr)
    capfd.readouterr()
    assert answer(argv) == 0
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == (long.stdout, long.stderr)
    assert snapshot(node / "root", inodes=True) == before


def test_a_configured_node_is_answered_too(node):
    shown = settle(node, configured(node))
    assert "nothing was written" in shown
    record = load_record(str(node / "root/opt/kata/.kata-bundle/seen"))
    assert record is not None
    assert str(node / "root/etc/containerd/config.toml") in record.stats


def rewrite(path: Path, same_time: bool = False) -> None:
    """Change one byte in place; the length stays, and with ``same_time`` the modification time too."""
    times = path.stat()
    with path.open("r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first[0] ^ 1]))
    if same_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


STATE = "root/opt/kata/.kata-bundle"
DAMAGE = {
    "a changed byte": lambda n: rewrite(n / "root/opt/kata/bin/kata-runtime"),
    "a changed byte and its time put back": lambda n: rewrite(n / "root/opt/kata/bin/kata-runtime", same_time=True),
    "a mode": lambda n: (n / "root/opt/kata/bin/kata-runtime").chmod(0o700),
    "an owner": lambda n: os.chown(n / "root/opt/kata/bin/kata-runtime", 1, 1),
    "a missing file": lambda n: (n / "root/opt/kata/share/kata-qemu/qemu/bios.bin").unlink(),
    "a replaced file": lambda n: (
        shutil.copy2(n / "root/opt/kata/bin/kata-runtime", n / "x") and os.replace(n / "x", n / "root/opt/kata/bin/kata-runtime")
    ),
    "an extra file": lambda n: (n / "root/opt/kata/bin/extra").touch(),
    "an extra file deep inside": lambda n: (n / "root/opt/kata/share/kata-qemu/empty/x").touch(),
    "an inner link": lambda n: relink(n / "root/opt/kata/share/kata-containers/vmlinux.container", "elsewhere"),
    "a lost top-level link": lambda n: (n / "root/opt/kata/bin").unlink(),
    "a turned top-level link": lambda n: relink(n / "root/opt/kata/bin", "/elsewhere"),
    "a stray name": lambda n: (n / "root/opt/kata/stray").symlink_to("x"),
    "a lost current link": lambda n: (n / STATE / "current").unlink(),
    "a lost generation": lambda n: (n / STATE / "generations/1").rename(n / "away"),
    "a damaged receipt": lambda n: rewrite(n / STATE / "receipts/1.json"),
    "a damaged object": lambda n: rewrite(min((n / STATE / "objects").iterdir())),
    "a lost object": lambda n: min((n / STATE / "objects").iterdir()).unlink(),
    "an interrupted activation": lambda n: (n / STATE / "journal.json").write_text("{}"),
    "an unfinished generation": lambda n: (n / STATE / "generations/2.partial").mkdir(),
    "an unfinished start": lambda n: (n / "root/opt/.kata.kata-bundle-new").mkdir(),
    "a neighbour": lambda n: run_cli("install", *arguments(n, "--suffix", "dev")).ok(),
    "an edited host file": lambda n: rewrite(n / "root/etc/containerd/config.toml"),
    "a lost host file": lambda n: (n / "root/etc/containerd/config.toml").unlink(),
    "another configuration": lambda n: (n / "node.toml").write_text(SPEC + "debug = true\n"),
    "a tarball of other content": lambda n: shutil.copy(n / "v2/kata-static-kernel.tar.zst", n / "v1/kata-static-kernel.tar.zst"),
    "another component map": lambda n: rewrite(n / "v1/shim-components.json"),
    "a record of another program": lambda n: replace_line(n / STATE / "seen", "facts "),
    "a start of the system": lambda n: replace_line(n / STATE / "seen", "boot "),
    "a cut record": lambda n: (n / STATE / "seen").write_bytes((n / STATE / "seen").read_bytes()[:-40]),
    "no record": lambda n: (n / STATE / "seen").unlink(),
}


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def replace_line(path: Path, start: str) -> None:
    lines = [start + "other" if line.startswith(start) else line for line in path.read_text().split("\n")]
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """A settled configured node, made once; damage is done to it and taken back by an install."""
    base = tmp_path_factory.mktemp("settled")
    node = base / "node"
    (node / "root/etc/containerd").mkdir(parents=True)
    (node / "root/etc/containerd/config.toml").write_text("version = 2\n")
    payload(node / "v1", "1")
    payload(node / "v2", "2")
    (node / "node.toml").write_text(SPEC)
    time.sleep(0.05)
    settle(node, configured(node))
    return node


@pytest.mark.parametrize("name", DAMAGE)
def test_whatever_changes_is_looked_at(node, name, settled):
    shutil.copytree(settled, node, symlinks=True, dirs_exist_ok=True)
    # A copy has other inodes and times: its record is rewritten for the new places, as an install would.
    argv = configured(node)
    record = (node / STATE / "seen").read_text()
    assert answer(argv) is None
    (node / STATE / "seen").write_text(moved(record, settled, node))
    assert answer(argv) == 0, "the record does not fit before the damage"
    DAMAGE[name](node)
    assert answer(argv) is None


def moved(record: str, old: Path, new: Path) -> str:
    """Return ``record`` with the paths of ``new`` and what they are there."""
    from kata_bundle.node.seen import Record, signature

    found = Record.from_bytes(record.replace(f"{old}/", f"{new}/").encode())
    assert found is not None
    stats = {path: signature(path) for path in found.stats}
    return Record(
        generation=found.generation, boot=found.boot, stats=stats, facts=found.facts, request=found.request, answer=found.answer,
        said=found.said, kinds=found.kinds, names=found.names,
    ).to_bytes().decode()  # fmt: skip


def test_damage_with_its_time_put_back_is_put_right(node):
    argv = arguments(node)
    settle(node, argv)
    rewrite(node / "root/opt/kata/bin/kata-runtime", same_time=True)
    assert "bin/kata-runtime was changed since it was installed and is put right" in run_cli("install", *argv).stderr
    assert "all as installed" in run_cli("verify", "--root", str(node / "root")).ok()


def test_quick_verification_reads_only_what_looks_touched(node):
    argv = arguments(node)
    settle(node, argv)
    verify = ("verify", "--root", str(node / "root"), "--json")
    assert json.loads(run_cli(*verify, "--quick").ok())["hashed"] == 0
    assert json.loads(run_cli(*verify).ok())["hashed"] > 3
    (node / "root/opt/kata/bin/kata-runtime").touch()
    assert json.loads(run_cli(*verify, "--quick").ok())["hashed"] == 1
    rewrite(node / "root/opt/kata/bin/kata-runtime", same_time=True)
    found = run_cli(*verify, "--quick")
    assert (found.code, json.loads(found.stdout)["changed"]) == (12, ["/opt/kata/bin/kata-runtime"])


def test_what_file_times_do_not_show_is_found_by_hashing_everything(node):
    """A bit that went bad on the disk leaves no trace: stood in for by a record that says what the damaged file is now."""
    from kata_bundle.node.seen import Record, signature

    argv = arguments(node)
    settle(node, argv)
    place, seen = node / "root/opt/kata/bin/kata-runtime", node / STATE / "seen"
    rewrite(place)
    old = Record.from_bytes(seen.read_bytes())
    stats = {path: signature(path) for path in old.stats}
    seen.write_bytes(
        Record(
            generation=old.generation, boot=old.boot, stats=stats, facts=old.facts, request=old.request, answer=old.answer,
            said=old.said, kinds=old.kinds, names=old.names,
        ).to_bytes()
    )  # fmt: skip
    assert answer(argv) == 0
    assert json.loads(run_cli("verify", "--quick", "--root", str(node / "root"), "--json").ok())["changed"] == []
    assert run_cli("verify", "--root", str(node / "root")).code == 12
    assert "was changed since it was installed and is put right" in run_cli("install", *argv, "--verify").stderr
    assert "nothing was written" in run_cli("install", *argv, "--repair").ok()
    assert "all as installed" in run_cli("verify", "--root", str(node / "root")).ok()


def test_an_upgrade_hashes_nothing_that_was_recorded(node):
    from kata_bundle.node.prepare import begin
    from kata_bundle.node.state import load_state
    from tests.fixtures.node import World

    run_cli("install", *arguments(node)).ok()
    world = World(node / "root")
    work = begin(world.machine(), world.desired(node / "v2", "qemu"), load_state(world.site))
    assert work.inspection.hashed == 0
    work = begin(world.machine(), world.desired(node / "v2", "qemu"), load_state(world.site), hash_all=True)
    assert work.inspection.hashed > 3
