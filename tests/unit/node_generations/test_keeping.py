"""Rollback, stages, and which generations stay."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from kata_bundle.core import clock
from kata_bundle.core.errors import HostError, InstallRestoredError, IntegrityError, UsageError
from kata_bundle.node.gc import prune, superseded
from kata_bundle.node.install import finish_install
from kata_bundle.node.machine import Knowledge, RecordingServices, Sandboxes
from kata_bundle.node.recover import Recovered, recover
from kata_bundle.node.rollback import plan_rollback, rollback
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.faults import MAIN, edits, host_files, overlay
from tests.fixtures.node import snapshot


@pytest.fixture
def hours(monkeypatch):
    """Every look at the clock is an hour later."""
    now = 1_800_000_000.0

    def tick():
        nonlocal now
        now += 3600
        return now

    monkeypatch.setattr(clock, "now", tick)


@dataclass
class Running(RecordingServices):
    found: Sandboxes = field(default_factory=lambda: Sandboxes(knowledge=Knowledge.UNREACHABLE))

    def sandboxes(self):
        return self.found


def kept(world):
    return sorted(load_state(world.site).receipts)


def test_a_rollback_goes_to_the_generation_before_and_back_again(world, v1, v2, put):
    put(v1, "qemu")
    put(v2, "qemu")
    assert (world.folder / "bin/kata-runtime").read_bytes() == b"runtime 2"
    planned = plan_rollback(world.machine())
    done = rollback(world.machine())
    assert done.plan.to_dict() == planned.to_dict()
    assert (world.folder / "bin/kata-runtime").read_bytes() == b"runtime 1"
    assert done.receipt.previous == 2
    assert verify(world.machine(), load_state(world.site).receipt).is_clean
    assert rollback(world.machine()).receipt.generation == 2


def test_a_rollback_needs_no_source_and_links_names_anew(world, v1, v2, put, tmp_path):
    put(v1, "qemu", "dragonball")
    put(v2, "clh")
    assert not os.path.lexists(world.folder / "libexec")
    rollback(world.machine())
    assert (world.folder / "libexec/qemu-bridge-helper").exists()


def test_rolling_back_to_the_active_generation_changes_nothing(world, v1, put):
    put(v1, "qemu")
    before = snapshot(world.root, inodes=True)
    assert rollback(world.machine(), 1).plan.changes_nothing
    assert snapshot(world.root, inodes=True) == before


def test_there_has_to_be_something_to_go_back_to(world, v1, put):
    with pytest.raises(HostError, match="nothing is installed"):
        rollback(world.machine())
    put(v1, "qemu")
    with pytest.raises(HostError, match="no earlier generation"):
        rollback(world.machine())
    with pytest.raises(UsageError, match="no generation 9"):
        rollback(world.machine(), 9)


def test_a_damaged_generation_is_not_gone_back_to(world, v1, v2, put):
    put(v1, "qemu")
    put(v2, "qemu")
    (world.folder / ".kata-bundle/generations/1/bin/kata-runtime").write_text("x")
    before = snapshot(world.root)
    with pytest.raises(IntegrityError, match=r"generation 1 is damaged: bin/kata-runtime"):
        rollback(world.machine())
    assert snapshot(world.root) == before


def test_an_install_after_a_rollback_keeps_what_was_active_last(world, v1, v2, put, tmp_path):
    put(v1, "qemu")
    put(v2, "qemu")
    rollback(world.machine())
    done = put(v2, "clh")
    assert done.receipt.generation == 3
    assert done.receipt.previous == 1
    assert kept(world) == [1, 3]


def test_a_generation_that_a_running_sandbox_began_in_stays(world, v1, v2, put, hours):
    put(v1, "qemu")
    put(v2, "qemu")
    began = load_state(world.site).receipts[1].activated
    old = Sandboxes(knowledge=Knowledge.ANSWERED, oldest=began)
    machine = world.machine()
    machine.services = Running(found=old)
    put(v1, "clh", machine=machine)
    assert kept(world) == [1, 2, 3]
    state = load_state(world.site)
    assert superseded(state, keep=1, sandboxes=old) == ()
    late = Sandboxes(knowledge=Knowledge.ANSWERED, oldest="2099-01-01T00:00:00Z")
    assert superseded(state, keep=1, sandboxes=late) == (1, 2)
    assert superseded(state, keep=1, sandboxes=Sandboxes(knowledge=Knowledge.UNREACHABLE)) == ()
    assert prune(world.machine(), keep=1) == (1, 2)
    assert verify(world.machine(), load_state(world.site).receipt).is_clean


def test_while_the_runtime_cannot_be_asked_nothing_is_removed(world, v1, v2, put):
    for source, shim in ((v1, "qemu"), (v2, "qemu"), (v1, "clh")):
        machine = world.machine()
        machine.services = Running()
        put(source, shim, machine=machine)
    assert kept(world) == [1, 2, 3]


def test_nothing_is_retained_when_it_is_certain_that_no_sandbox_runs(world, v1, put):
    put(v1, "qemu", "dragonball")
    machine = world.machine()
    machine.services = Running(found=Sandboxes(knowledge=Knowledge.ANSWERED))
    done = put(v1, "qemu", machine=machine)
    assert done.receipt.retained == ()
    assert not os.path.lexists(world.folder / "runtime-rs")


def test_at_least_one_generation_is_kept(world, v1, put):
    put(v1, "qemu")
    with pytest.raises(UsageError):
        prune(world.machine(), keep=0)


# -- two stages


def test_the_first_stage_switches_the_tree_and_leaves_the_runtime_alone(world, v1, v2, put):
    host_files(world.root)
    put(v1, "qemu", edits=edits("1"))
    before = (world.root / MAIN[1:]).read_bytes()
    machine = world.machine()
    put(v2, "qemu", machine=machine, edits=edits("2"), pause=True)
    assert (world.folder / "bin/kata-runtime").read_bytes() == b"runtime 2"
    assert (world.root / MAIN[1:]).read_bytes() == before
    assert machine.services.calls == []
    assert load_state(world.site).interrupted
    machine = world.machine()
    receipt = finish_install(machine)
    assert receipt is not None
    assert receipt.generation == 2
    assert machine.services.calls == [{"call": "restart", "program": "containerd"}]
    assert verify(world.machine(), receipt).is_clean


def test_a_second_stage_that_fails_takes_the_first_back_too(world, v1, v2, put):
    host_files(world.root)
    put(v1, "qemu", edits=edits("1"))
    before = snapshot(world.root)
    put(v2, "qemu", edits=edits("2"), pause=True)

    def refuse(verb, path):
        if verb == "rename" and path.endswith("99-kata-deploy"):
            raise OSError(28, "No space left on device", path)

    from kata_bundle.core.fsops import FileOps

    with pytest.raises(InstallRestoredError):
        finish_install(world.machine(FileOps(refuse)))
    recover(world.machine())
    assert snapshot(world.root) == before


def test_a_second_stage_nobody_asks_for_is_taken_back_by_the_next_install(world, v1, v2, put):
    put(v1, "qemu")
    before = snapshot(world.root)
    put(v2, "qemu", pause=True)
    assert recover(world.machine()) is Recovered.UNDONE
    assert snapshot(world.root) == before
    with pytest.raises(HostError, match="second stage"):
        finish_install(world.machine())


def test_an_uninstall_in_two_stages_frees_the_host_first(world, v1, put):
    host_files(world.root)
    before = snapshot(world.root)
    put(v1, "qemu", overlay=overlay, edits=edits("1"))
    uninstall(world.machine(), pause=True)
    assert (world.root / MAIN[1:]).read_bytes() == before[MAIN[1:]][0][2]
    assert (world.folder / "bin/kata-runtime").exists()
    uninstall(world.machine())
    assert snapshot(world.root) == before


def test_unit_calls_of_what_is_no_longer_wanted_are_made_around_its_removal(world, v1, put):
    host_files(world.root)
    stop, reload = {"verb": "stop", "unit": "n.service"}, {"verb": "daemon-reload"}
    put(v1, "qemu", edits=edits("1"), stopping=(stop,), stopped=(reload,))
    machine = world.machine()
    put(v1, "qemu", machine=machine)
    assert machine.services.calls == [stop, reload, {"call": "restart", "program": "containerd"}]
    put(v1, "qemu", edits=edits("1"), stopping=(stop,), stopped=(reload,))
    machine = world.machine()
    uninstall(machine)
    assert machine.services.calls[:2] == [stop, reload]
