"""Administrators' drop-ins: copied, never linked, carried everywhere, told as theirs."""

from __future__ import annotations

import os

import pytest

from kata_bundle.core.fsops import FileOps
from kata_bundle.node.rollback import rollback
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import plan_uninstall, uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.faults import overlay
from tests.fixtures.node import CONFIG

FOLDER = f"{CONFIG}/runtimes/qemu/config.d"


@pytest.fixture
def drop_in(world, v1, put):
    put(v1, "qemu", overlay=overlay)
    path = world.folder / FOLDER / "60-mine.toml"
    path.write_text("mine = 1\n")
    path.chmod(0o600)
    return path


def generation(world, number):
    return world.folder / f".kata-bundle/generations/{number}"


def test_a_drop_in_survives_an_upgrade_as_a_copy(world, v2, put, drop_in):
    inode = drop_in.stat().st_ino
    done = put(v2, "qemu", overlay=overlay)
    assert drop_in.read_text() == "mine = 1\n"
    assert drop_in.stat().st_ino != inode
    assert drop_in.stat().st_mode & 0o777 == 0o600
    checked = verify(world.machine(), done.receipt)
    assert checked.is_clean
    assert checked.administrators == (f"/opt/kata/{FOLDER}/60-mine.toml",)


def test_a_reinstall_leaves_a_drop_in_alone(world, v1, put, drop_in):
    before = drop_in.stat()
    assert put(v1, "qemu", overlay=overlay).plan.changes_nothing
    assert drop_in.stat() == before


def test_a_linked_drop_in_becomes_a_regular_file(world, v2, put, drop_in):
    real = world.root / "mine.toml"
    drop_in.rename(real)
    drop_in.symlink_to(real)
    done = put(v2, "qemu", overlay=overlay)
    assert not drop_in.is_symlink()
    assert drop_in.read_text() == "mine = 1\n"
    assert verify(world.machine(), done.receipt).is_clean


def test_names_that_only_the_installer_uses_are_not_carried(world, v2, put, drop_in):
    (drop_in.parent / "20-debug.toml").write_text("[runtime]\nenable_debug = true\n")
    receipt = load_state(world.site).receipt
    assert f"/opt/kata/{FOLDER}/20-debug.toml" in verify(world.machine(), receipt).extra
    put(v2, "qemu", overlay=overlay)
    assert not (drop_in.parent / "20-debug.toml").exists()


def test_a_rollback_carries_todays_drop_ins(world, v2, put, drop_in):
    put(v2, "qemu", overlay=overlay)
    drop_in.write_text("mine = 2\n")
    (drop_in.parent / "61-new.toml").write_text("new = 1\n")
    done = rollback(world.machine())
    assert done.receipt.generation == 1
    assert drop_in.read_text() == "mine = 2\n"
    assert (drop_in.parent / "61-new.toml").read_text() == "new = 1\n"
    drop_in.unlink()
    rollback(world.machine())
    assert not drop_in.exists()
    assert (drop_in.parent / "61-new.toml").exists()


def test_a_deselected_shims_drop_ins_stay(world, v2, put, drop_in):
    done = put(v2, "dragonball")
    assert drop_in.read_text() == "mine = 1\n"
    assert verify(world.machine(), done.receipt).is_clean


def test_what_changes_while_the_new_generation_is_staged_is_copied_again(world, v2, put, drop_in):
    folder = generation(world, 1) / FOLDER
    (folder / "61-gone.toml").write_text("x")
    (folder / "62-both.toml").write_text("x")

    def meddle(verb, path):
        if verb == "rename" and path.endswith("/current"):
            (folder / "60-mine.toml").write_text("mine = 3\n")
            (folder / "61-gone.toml").unlink()
            (folder / "63-late.toml").write_text("late\n")
            (folder / "62-both.toml").write_text("old\n")
            (generation(world, 2) / FOLDER / "62-both.toml").write_text("new\n")

    done = put(v2, "qemu", machine=world.machine(FileOps(meddle)), overlay=overlay)
    assert drop_in.read_text() == "mine = 3\n"
    assert sorted(os.listdir(drop_in.parent)) == ["10-installation-prefix.toml", "60-mine.toml", "62-both.toml", "63-late.toml"]
    assert (drop_in.parent / "62-both.toml").read_text() == "new\n"
    assert verify(world.machine(), done.receipt).is_clean


def test_a_name_that_the_installer_takes_over_is_told(world, v2, put, drop_in):
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.node.overlay import Overlay, OverlayFile

    def more(payload):
        return Overlay(files={**overlay(payload).files, RelPath(f"{FOLDER}/60-mine.toml"): OverlayFile(data=b"ours\n")})

    done = put(v2, "qemu", overlay=more)
    assert any("60-mine.toml" in note for note in done.plan.notes)
    assert drop_in.read_text() == "ours\n"
    assert (generation(world, 1) / FOLDER / "60-mine.toml").read_text() == "mine = 1\n"


def test_an_uninstall_tells_which_drop_ins_go(world, drop_in):
    assert any("60-mine.toml" in note for note in plan_uninstall(world.machine()).notes)
    uninstall(world.machine())
    assert not world.folder.exists()
