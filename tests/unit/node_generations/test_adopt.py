"""A tree that the reference installer wrote in place is taken over without losing anything."""

from __future__ import annotations

import errno
import os

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.core.fsops import FileOps
from kata_bundle.node.install import install, plan_install
from kata_bundle.node.rollback import rollback
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.faults import MAIN, edits, host_files, lookups, overlay
from tests.fixtures.node import CONFIG, snapshot


@pytest.fixture
def in_place(world):
    files = {
        "bin/containerd-shim-kata-v2": "old shim",
        f"{CONFIG}/configuration-qemu.toml": "# old\n",
        f"{CONFIG}/runtimes/qemu/config.d/60-mine.toml": "mine\n",
        f"{CONFIG}/runtimes/qemu/config.d/20-debug.toml": "stale\n",
        "share/kata-qemu/qemu/bios.bin": "bios" * 50,
        "versions.yaml": "old",
        "containerd/config.d/kata-deploy.toml": "handlers",
        "mine/precious": "x",
    }
    for name, text in files.items():
        (world.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (world.folder / name).write_text(text)
    (world.folder / "bin/containerd-shim-kata-v2").chmod(0o755)
    (world.folder / "share/to-bin").symlink_to("../bin/containerd-shim-kata-v2")
    return world.folder


def test_the_old_tree_becomes_generation_0_and_the_new_one_active(world, v1, put, in_place):
    done = put(v1, "qemu", overlay=overlay)
    assert done.receipt.previous == 0
    assert (in_place / "bin/containerd-shim-kata-v2").read_bytes() == b"go shim 1"
    assert (in_place / ".kata-bundle/generations/0/bin/containerd-shim-kata-v2").read_text() == "old shim"
    assert (in_place / f"{CONFIG}/runtimes/qemu/config.d/60-mine.toml").read_text() == "mine\n"
    assert not (in_place / f"{CONFIG}/runtimes/qemu/config.d/20-debug.toml").exists()
    assert not os.path.lexists(in_place / "versions.yaml")
    assert (in_place / "containerd/config.d/kata-deploy.toml").read_text() == "handlers"
    assert (in_place / "mine/precious").read_text() == "x"
    assert verify(world.machine(), done.receipt).is_clean


def test_equal_files_share_the_old_ones_inodes(world, v1, put, in_place):
    old = (in_place / "share/kata-qemu/qemu/bios.bin").stat().st_ino
    put(v1, "qemu")
    inode = (in_place / ".kata-bundle/generations/1/share/kata-qemu/qemu/bios-copy.bin").stat().st_ino
    assert (in_place / ".kata-bundle/generations/0/share/kata-qemu/qemu/bios.bin").stat().st_ino == old
    assert inode != old  # another name: copied, since the two are one file in the new tree
    assert (in_place / "share/kata-qemu/qemu/bios.bin").read_text() == "bios" * 50


def test_the_plan_of_an_adoption_is_the_one_carried_out(world, v1, in_place):
    wanted = world.desired(v1, "qemu", overlay=overlay)
    before = snapshot(world.root)
    planned = plan_install(world.machine(), wanted)
    assert snapshot(world.root) == before
    assert install(world.machine(), wanted, approved=planned.digest).plan.to_dict() == planned.to_dict()


def test_a_rollback_goes_back_to_the_old_tree(world, v1, put, in_place):
    before = lookups(world)
    put(v1, "qemu", overlay=overlay)
    done = rollback(world.machine())
    assert done.receipt.generation == 0
    after = lookups(world)
    before.pop(f"{CONFIG}/runtimes/qemu/config.d/20-debug.toml")
    after.pop(f"{CONFIG}/runtimes/qemu/config.d/20-debug.toml")
    assert after == before
    assert verify(world.machine(), done.receipt).is_clean


def test_what_the_other_installer_edited_counts_as_ours(world, v1, v2, put, in_place):
    host_files(world.root)
    before = snapshot(world.root / "etc")
    main = world.root / MAIN[1:]
    main.write_text('imports = ["/opt/kata/containerd/config.d/kata-deploy.toml"]\n' + main.read_text())
    put(v1, "qemu", edits=edits("1"))
    done = put(v1, "qemu", edits=edits("1"))
    assert done.plan.changes_nothing
    assert verify(world.machine(), done.receipt).is_clean
    put(v2, "qemu", edits=edits("2"))
    uninstall(world.machine())
    assert snapshot(world.root / "etc") == before
    assert sorted(os.listdir(in_place)) == ["mine"]


def test_what_the_other_installer_left_elsewhere_goes(world, v1, put, in_place):
    host_files(world.root)
    stale = world.root / "etc/containerd/stale.toml"
    stale.write_text("theirs")
    put(v1, "qemu", edits=edits("1"), traces=lambda view: {"/etc/containerd/stale.toml": None, "/etc/none": None})
    assert not stale.exists()
    uninstall(world.machine())
    assert not stale.exists()


def test_uninstalling_removes_the_old_tree_too_and_keeps_what_is_somebody_elses(world, v1, put, in_place):
    put(v1, "qemu")
    uninstall(world.machine())
    assert sorted(os.listdir(in_place)) == ["containerd", "mine"]


def test_links_between_names_of_the_old_tree_work_at_every_moment(world, v1, put, in_place):
    def look(verb, path):
        if not os.path.lexists(in_place / ".kata-bundle/generations/1") or (in_place / "share/to-bin").is_symlink():
            assert (in_place / "share/to-bin").read_text() == "old shim"

    put(v1, "qemu", machine=world.machine(FileOps(look)))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_without_exchange_it_is_refused_unless_a_gap_is_accepted(world, v1, in_place, code):
    def refuse(verb, path):
        if verb == "exchange":
            raise OSError(code, os.strerror(code), path)

    before = snapshot(world.root)
    wanted = world.desired(v1, "qemu", overlay=overlay)
    with pytest.raises(HostError, match="cannot exchange") as caught:
        install(world.machine(FileOps(refuse)), wanted)
    assert "--accept-gap" in (caught.value.hint or "")
    assert snapshot(world.root) == before
    done = install(world.machine(FileOps(refuse)), wanted, accept_gap=True)
    assert verify(world.machine(), done.receipt).is_clean
    assert load_state(world.site).receipts[0].names == ("bin", "share", "versions.yaml")


def test_a_gap_interrupted_anywhere_is_finished_or_taken_back(world, v1, in_place, tmp_path):
    from kata_bundle.node.recover import recover
    from tests.fixtures.faults import Killed, copy, run, state
    from tests.fixtures.node import World

    start = copy(world.root, tmp_path / "start")
    outcomes = set()
    for at in range(1, 400, 3):
        trial = World(copy(start, tmp_path / "trial"))
        count = 0

        def before(verb, path, at=at):
            nonlocal count
            if verb == "exchange":
                raise OSError(errno.EINVAL, "no", path)
            count += 1
            if count == at:
                raise Killed(verb, path)

        wanted = trial.desired(v1, "qemu", overlay=overlay)
        machine = trial.machine(FileOps(before))
        error = run(lambda machine, wanted=wanted: install(machine, wanted, accept_gap=True), machine)
        if error is None:
            break
        outcomes.add(recover(trial.machine()).value)
        found = load_state(trial.site)
        if found.receipt is None:
            assert state(trial.root) == state(start)
        else:
            assert verify(trial.machine(), found.receipt).is_clean
    assert error is None
    assert outcomes == {"nothing", "finished"}


def test_what_does_not_look_like_kata_is_left_alone(world, v1, put):
    (world.folder / "share/other").mkdir(parents=True)
    with pytest.raises(HostError, match="in the way"):
        put(v1, "qemu")


def test_a_device_in_the_old_tree_is_refused(world, v1, put, in_place):
    os.mkfifo(in_place / "share/pipe")
    before = sorted(os.listdir(in_place))
    with pytest.raises(HostError, match="no file, directory or link: "):
        put(v1, "qemu")
    assert sorted(os.listdir(in_place)) == before
