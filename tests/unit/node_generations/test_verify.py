"""Verification names everything that differs, by where it is on the host."""

from __future__ import annotations

import os

import pytest

from kata_bundle.node.state import load_state
from kata_bundle.node.status import status
from kata_bundle.node.verify import verify


@pytest.fixture
def installed(world, v1, put):
    return put(v1, "qemu").receipt


def test_changed_missing_and_extra_files_are_named(world, installed):
    (world.folder / "bin/kata-runtime").write_text("x")
    (world.folder / "share/kata-qemu/qemu/bios.bin").unlink()
    (world.folder / "share/extra").mkdir()
    (world.folder / "libexec/qemu-bridge-helper").chmod(0o777)
    (world.folder / "share/kata-containers/vmlinux.container").unlink()
    (world.folder / "share/kata-containers/vmlinux.container").symlink_to("elsewhere")
    os.mkfifo(world.folder / "bin/pipe")
    found = verify(world.machine(), installed)
    assert found.changed == (
        "/opt/kata/bin/kata-runtime",
        "/opt/kata/libexec/qemu-bridge-helper",
        "/opt/kata/share/kata-containers/vmlinux.container",
    )
    assert found.missing == ("/opt/kata/share/kata-qemu/qemu/bios.bin",)
    assert found.extra == ("/opt/kata/bin/pipe", "/opt/kata/share/extra")
    assert not found.is_clean


def test_one_changed_bit_is_found(world, installed):
    place = world.folder / "bin/containerd-shim-kata-v2"
    data = bytearray(place.read_bytes())
    data[3] ^= 1
    place.write_bytes(data)
    assert verify(world.machine(), installed).changed == ("/opt/kata/bin/containerd-shim-kata-v2",)


def test_links_in_the_install_directory_are_checked(world, installed):
    (world.folder / "bin").unlink()
    (world.folder / "share").unlink()
    (world.folder / "share").symlink_to("/elsewhere")
    (world.folder / "stray").symlink_to(".kata-bundle/current/stray")
    found = verify(world.machine(), installed)
    assert found.missing == ("/opt/kata/bin",)
    assert found.changed == ("/opt/kata/share",)
    assert found.extra == ("/opt/kata/stray",)
    assert "/opt/kata/bin" in status(world.machine()).drifted


def test_a_backup_restored_without_hard_links_verifies(world, installed):
    place = world.folder / "share/kata-qemu/qemu/bios.bin"
    data, mode = place.read_bytes(), place.stat().st_mode
    place.unlink()
    place.write_bytes(data)
    place.chmod(mode)
    assert verify(world.machine(), installed).is_clean


def test_status_says_what_is_installed_and_what_visibly_drifted(world, installed):
    found = status(world.machine())
    assert found.receipt == installed
    assert found.drifted == ()
    (world.folder / "bin/kata-runtime").write_text("longer than before")
    assert status(world.machine()).drifted == ("/opt/kata/bin/kata-runtime",)
    assert found.to_dict()["receipt"]["tree"] == installed.tree.digest


def test_status_of_nothing(world):
    found = status(world.machine())
    assert not found.to_dict()["installed"]


def test_a_lost_current_link_is_named_put_right_and_loses_nothing(world, v1, put):
    from kata_bundle.node.uninstall import uninstall
    from tests.fixtures.faults import edits, host_files
    from tests.fixtures.node import snapshot

    host_files(world.root)
    before = snapshot(world.root)
    receipt = put(v1, "qemu", edits=edits("1")).receipt
    for repair in (True, False):
        (world.folder / ".kata-bundle/current").unlink()
        found = verify(world.machine(), load_state(world.site).latest)
        assert found.missing == ("/opt/kata/.kata-bundle/current",)
        assert status(world.machine()).receipt == receipt
        if repair:
            receipt = put(v1, "qemu", edits=edits("1")).receipt
            assert verify(world.machine(), receipt).is_clean
    uninstall(world.machine())
    assert snapshot(world.root) == before


def test_what_an_upgrade_does_not_carry_over_is_told(world, v2, put, installed):
    (world.folder / "bin/extra").write_text("x")
    (world.folder / "bin/kata-runtime").write_text("x")
    notes = put(v2, "qemu").plan.notes
    assert "bin/extra is not of this install and is not carried over" in notes
    assert "bin/kata-runtime was changed since it was installed and is put right" in notes


def test_a_lost_generation_is_all_missing(world, installed):
    (world.folder / ".kata-bundle/generations/1").rename(world.root / "away")
    found = verify(world.machine(), load_state(world.site).receipt)
    assert "/opt/kata/bin/kata-runtime" in found.missing
