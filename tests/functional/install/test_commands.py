"""install, status, verify, rollback, uninstall and node gc, as an operator types them."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.cli import run_cli
from tests.fixtures.node import payload, snapshot


@pytest.fixture
def node(tmp_path):
    (tmp_path / "root").mkdir()
    payload(tmp_path / "v1", "1")
    payload(tmp_path / "v2", "2")
    return tmp_path


def kata(node, *argv):
    arch = ["--arch", "x86_64"] if argv[0] == "install" else []
    return run_cli(*argv, "--root", str(node / "root"), *arch)


def test_the_life_of_an_install(node):
    root = node / "root"
    planned = kata(node, "install", str(node / "v1"), "--shim", "qemu,clh", "--dry-run").ok()
    assert "unpack   kernel" in planned
    assert "/opt/kata/.kata-bundle/current: makes generation 1 the active one" in planned
    assert snapshot(root) == {}
    plan = json.loads(kata(node, "install", str(node / "v1"), "--shim", "qemu,clh", "--plan", "--json").ok())["plan"]
    assert plan["digest"] in planned
    done = kata(node, "install", str(node / "v1"), "--shim", "qemu,clh", "--approved", plan["digest"])
    assert "installed generation 1 in /opt/kata" in done.ok()
    assert "nothing was written" in kata(node, "install", str(node / "v1"), "--shim", "qemu,clh").ok()
    shown = kata(node, "status").ok()
    assert "generation 1 in /opt/kata since" in shown
    assert "nothing drifted" in shown
    assert "all as installed" in kata(node, "verify").ok()
    kata(node, "install", str(node / "v2"), "--shim", "qemu", "--json").ok()
    assert json.loads(kata(node, "status", "--json").ok())["receipt"]["generation"] == 2
    assert "rollback: generation 2 to 1" in kata(node, "rollback", "--dry-run").ok()
    assert kata(node, "rollback").ok() == "generation 1 is active in /opt/kata\n"
    assert "would remove 1 generation: 2" in kata(node, "node", "gc", "--keep", "1", "--dry-run").ok()
    assert json.loads(kata(node, "node", "gc", "--keep", "1", "--json").ok()) == {"dry_run": False, "removed": [2]}
    assert "then removed:" in kata(node, "uninstall", "--dry-run").ok()
    assert kata(node, "uninstall").ok() == "uninstalled /opt/kata\n"
    assert snapshot(root) == {}
    assert kata(node, "uninstall").ok() == "nothing is installed in /opt/kata\n"


def test_no_file_name_can_forge_a_line_or_move_the_cursor(node):
    kata(node, "install", str(node / "v1"), "--shim", "qemu").ok()
    (node / "root/opt/kata/bin/x\nmissing  y\x1b[2J").touch()
    found = kata(node, "verify")
    assert "extra    /opt/kata/bin/x\\nmissing  y\\x1b[2J\n" in found.stdout
    assert "\x1b" not in found.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--approved", "yes"], 'the approved plan is "yes", expected its digest'),
        (["--shim", ""], "no shim named"),
        (["--shim", ","], "no shim named"),
        (["--arch", ""], 'unknown architecture ""'),
        (["--dest", ""], 'install directory "" is not an absolute path'),
        (["--root", ""], "an empty path"),
    ],
)
def test_what_an_unset_variable_leaves_is_refused(node, argv, words):
    done = run_cli("install", str(node / "v1"), "--root", str(node / "root"), "--shim", "qemu", "--arch", "x86_64", *argv)
    assert (done.code, done.stdout) == (2, "")
    assert words in done.stderr
    assert snapshot(node / "root") == {}


def test_an_empty_bundle_does_not_mean_the_current_folder(node):
    done = run_cli("install", "", "--root", str(node / "root"), "--shim", "qemu", cwd=node / "v1")
    assert (done.code, done.stdout, "an empty name" in done.stderr) == (2, "", True)


def test_drift_has_an_exit_code_and_names(node):
    kata(node, "install", str(node / "v1"), "--shim", "qemu").ok()
    (node / "root/opt/kata/bin/kata-runtime").write_text("x")
    found = kata(node, "verify")
    assert found.code == 12
    assert "changed  /opt/kata/bin/kata-runtime" in found.stdout
    assert json.loads(kata(node, "verify", "--json").stdout)["changed"] == ["/opt/kata/bin/kata-runtime"]


def test_errors_are_told_with_what_to_do(node):
    assert kata(node, "verify").code == 9
    assert kata(node, "rollback").code == 9
    unknown = kata(node, "install", str(node / "v1"), "--shim", "qemuu")
    assert (unknown.code, 'did you mean "qemu"?' in unknown.stderr) == (2, True)
    nothing = kata(node, "install", str(node / "v1"))
    assert nothing.code == 2
    bad = kata(node, "install", str(node / "v1"), "--shim", "qemu", "--suffix", "v1.2")
    assert (bad.code, 'suffix "v1.2"' in bad.stderr) == (2, True)
    (node / "v1/kata-static-kernel.tar.zst").write_bytes(b"no zstd")
    hostile = kata(node, "install", str(node / "v1"), "--shim", "qemu")
    assert hostile.code == 7
    assert "layer kernel" in hostile.stderr
    assert snapshot(node / "root") == {}


def test_installs_with_suffixes_live_side_by_side(node):
    for suffix in ("dev", "test"):
        kata(node, "install", str(node / "v1"), "--shim", "qemu", "--suffix", suffix).ok()
    assert (node / "root/opt/kata-dev/bin/kata-runtime").exists()
    assert "in /opt/kata-test since" in kata(node, "status", "--suffix", "test").ok()
    kata(node, "uninstall", "--suffix", "dev").ok()
    assert "all as installed" in kata(node, "verify", "--suffix", "test").ok()
    kata(node, "uninstall", "--suffix", "test").ok()
    assert snapshot(node / "root") == {}
