"""Installing small payloads into a root directory, and everything that is visible afterwards."""

from __future__ import annotations

import os
import stat

import pytest

from kata_bundle.node.install import install, plan_install
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.node import World, payload, snapshot


@pytest.fixture
def world(tmp_path):
    (tmp_path / "root").mkdir()
    return World(tmp_path / "root")


@pytest.fixture
def source(tmp_path):
    return payload(tmp_path / "v1", "1")


def test_an_installed_tree_is_reached_through_links_and_verifies(world, source):
    done = install(world.machine(), world.desired(source, "qemu"))
    assert done.receipt is not None
    assert done.receipt.generation == 1
    assert (world.folder / "bin/containerd-shim-kata-v2").read_bytes() == b"go shim 1"
    assert os.readlink(world.folder / "bin") == ".kata-bundle/current/bin"
    assert os.readlink(world.folder / ".kata-bundle/current") == "generations/1"
    assert os.readlink(world.folder / "share/kata-qemu/default") == "/opt/kata/share/kata-qemu/qemu"
    assert verify(world.machine(), done.receipt).is_clean
    assert load_state(world.site).active == 1


def test_programs_are_executable_and_set_id_bits_are_gone(world, source):
    install(world.machine(), world.desired(source, "qemu"))
    assert stat.S_IMODE((world.folder / "bin/kata-runtime").stat().st_mode) == 0o755
    assert stat.S_IMODE((world.folder / "libexec/qemu-bridge-helper").stat().st_mode) == 0o755


def test_uninstalling_leaves_the_root_as_it_was(world, source):
    (world.root / "etc").mkdir()
    before = snapshot(world.root)
    install(world.machine(), world.desired(source, "qemu"))
    uninstall(world.machine())
    assert snapshot(world.root) == before


def test_a_reinstall_with_nothing_changed_touches_nothing(world, source):
    install(world.machine(), world.desired(source, "qemu"))
    before = snapshot(world.root, inodes=True)
    done = install(world.machine(), world.desired(source, "qemu"))
    assert done.plan.changes_nothing
    assert snapshot(world.root, inodes=True) == before


def test_an_upgrade_links_what_is_equal(world, source, tmp_path):
    install(world.machine(), world.desired(source, "qemu"))
    old = (world.folder / "share/kata-qemu/qemu/bios.bin").stat()
    done = install(world.machine(), world.desired(payload(tmp_path / "v2", "2"), "qemu"))
    assert done.receipt.generation == 2
    assert (world.folder / "share/kata-qemu/qemu/bios.bin").stat().st_ino == old.st_ino
    assert (world.folder / "bin/containerd-shim-kata-v2").read_bytes() == b"go shim 2"
    assert verify(world.machine(), done.receipt).is_clean


def test_a_dry_run_makes_the_plan_that_the_install_carries_out(world, source):
    planned = plan_install(world.machine(), world.desired(source, "qemu"))
    assert snapshot(world.root) == {}
    done = install(world.machine(), world.desired(source, "qemu"))
    assert done.plan.to_dict() == planned.to_dict()
