"""Killed or failed at any change to the disk: the next start finishes or takes back, and one whole generation is there."""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kata_bundle.core.errors import BundleError, InstallError, InstallRestoredError
from kata_bundle.core.record import replace
from kata_bundle.node.install import install
from kata_bundle.node.machine import Machine
from kata_bundle.node.recover import recover
from kata_bundle.node.rollback import rollback
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.faults import Fault, Killed, copy, edits, host_files, lookups, overlay, run, state
from tests.fixtures.node import CONFIG, World, payload

Action = Callable[[World, Machine], object]


@dataclass(frozen=True)
class Scenario:
    name: str
    before: Path
    action: Action
    finish: Action
    """What an operator runs after an interruption that was not finished: the same command again."""


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory: thousands of small installs."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(dir=base))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def scenarios(memory: Path) -> dict[str, Scenario]:
    one, two = payload(memory / "v1", "1"), payload(memory / "v2", "2")

    def put(source: Path, version: str, *shims: str) -> Action:
        def action(world: World, machine: Machine) -> object:
            wanted = replace(world.desired(source, *shims), overlay=overlay, edits=edits(version))
            return install(machine, wanted)

        return action

    def back(world: World, machine: Machine) -> object:
        return rollback(machine)

    def out(world: World, machine: Machine) -> object:
        return uninstall(machine)

    first, upgrade = put(one, "1", "qemu"), put(two, "2", "clh", "dragonball")
    empty = memory / "empty"
    empty.mkdir()
    host_files(empty)

    def prepared(name: str, start: Path, *actions: Action) -> Path:
        root = copy(start, memory / name)
        for action in actions:
            world = World(root)
            action(world, world.machine())
        return root

    def user_files(world: World, machine: Machine) -> None:
        folder = world.folder / CONFIG / "runtimes/clh/config.d"
        (folder / "60-mine.toml").write_text("mine = true\n")

    in_place = copy(empty, memory / "in-place")
    old = in_place / "opt/kata"
    shutil.copytree(prepared("seed", empty, first) / "opt/kata/.kata-bundle/generations/1", old, symlinks=True)
    (old / CONFIG / "runtimes/clh/config.d/60-mine.toml").write_text("mine = true\n")
    (old / "share/kata-containers/cross").symlink_to("../../bin/kata-runtime")
    installed = prepared("installed", empty, first, user_files)
    upgraded = prepared("upgraded", installed, upgrade)
    third = payload(memory / "v3", "3")
    return {
        "install": Scenario("install", empty, first, first),
        "upgrade": Scenario("upgrade", installed, upgrade, upgrade),
        "prune": Scenario("prune", upgraded, put(third, "3", "qemu"), put(third, "3", "qemu")),
        "rollback": Scenario("rollback", upgraded, back, lambda world, machine: rollback(machine, 1)),
        "adoption": Scenario("adoption", in_place, upgrade, upgrade),
        "uninstall": Scenario("uninstall", upgraded, out, out),
    }


NAMES = ["install", "upgrade", "prune", "rollback", "adoption", "uninstall"]
FAULTS = {
    "killed": Fault(at=0),
    "full": Fault(at=0, errno=errno.ENOSPC),
    "full for good": Fault(at=0, errno=errno.ENOSPC, lasting=True),
    "broken": Fault(at=0, errno=errno.EIO),
    "broken for good": Fault(at=0, errno=errno.EIO, lasting=True),
    "read-only": Fault(at=0, errno=errno.EROFS, lasting=True),
}


def check_whole(world: World, allowed: list[dict[str, object]]) -> None:
    """The root is byte for byte in one of the ``allowed`` states, and what is installed verifies."""
    now = state(world.root)
    if now not in allowed:
        nearest = min(allowed, key=lambda other: sum(now.get(k) != other.get(k) for k in {*now, *other}))
        assert now == nearest
    found = load_state(world.site)
    assert not found.interrupted
    if found.receipt is not None:
        checked = verify(world.machine(), found.receipt)
        assert checked.is_clean, checked


def trial(scenario: Scenario, fault: Fault, work: Path, old: dict[str, object], new: dict[str, object]) -> bool:
    """Run ``scenario`` with ``fault``; return whether the fault was reached."""
    world = World(copy(scenario.before, work))
    visible = lookups(world)
    error = run(lambda machine: scenario.action(world, machine), world.machine(fault.files()))
    if not fault.hit:
        assert error is None
        return False
    if isinstance(error, Exception):
        assert isinstance(error, BundleError), error
    if isinstance(error, InstallRestoredError):
        assert lookups(world) == visible
        if not fault.lasting:
            check_whole(world, [old])
    middle = [old, new]
    second = run(recover, world.machine())
    if second is not None:
        raise second
    if scenario.name == "uninstall" and isinstance(error, InstallError):
        # Some edits may be taken back, some not: the next uninstall goes on from the receipts, or all of it is gone.
        assert lookups(world) in (visible, {})
    elif scenario.name == "prune":
        check_after_prune(world, old, new)
    else:
        check_whole(world, middle)
    run_again = run(lambda machine: scenario.finish(world, machine), world.machine())
    if run_again is not None:
        raise run_again
    check_whole(world, [new])
    return True


def check_after_prune(world: World, old: dict[str, object], new: dict[str, object]) -> None:
    """Old, new, or new with the oldest generation still there."""
    now = state(world.root)
    found = load_state(world.site)
    if found.active == 3:
        extra = {name for name in now if name not in new}
        assert all("/generations/1" in name or name.endswith("receipts/1.json") or "/objects/" in name for name in extra), extra
        assert {name: now[name] for name in new} == new
    else:
        assert now == old
    assert found.receipt is not None
    assert verify(world.machine(), found.receipt).is_clean


def outcome(scenario: Scenario, work: Path) -> tuple[dict[str, object], dict[str, object], int]:
    """Return the states before and after, and the number of changes in between."""
    world = World(copy(scenario.before, work))
    old = state(world.root)
    counter = Fault(at=1 << 30)
    scenario.action(world, world.machine(counter.files()))
    return old, state(world.root), counter.count


Outcomes = dict[str, tuple[dict[str, object], dict[str, object], int]]


@pytest.fixture(scope="module")
def outcomes(scenarios: dict[str, Scenario], memory: Path) -> Outcomes:
    return {name: outcome(scenario, memory / "work") for name, scenario in scenarios.items()}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_interruptions_ends_whole(name, kind, scenarios, outcomes, memory):
    old, new, count = outcomes[name]
    chance = random.Random(f"{name} {kind}")
    for at in chance.sample(range(1, count + 1), 2):
        assert trial(scenarios[name], replace(FAULTS[kind], at=at), memory / "work", old, new), at


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("name", NAMES)
def test_every_interruption_ends_whole(name, kind, scenarios, outcomes, memory):
    old, new, count = outcomes[name]
    for at in range(1, count + 1):
        assert trial(scenarios[name], replace(FAULTS[kind], at=at), memory / "work", old, new), at


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_of_what_an_interruption_left_ends_whole(name, scenarios, outcomes, memory):
    """Killed, then killed again while the next start cleans up, at every tenth pair of moments."""
    scenario = scenarios[name]
    old, new, count = outcomes[name]
    for first in range(1, count + 1, 3):
        world = World(copy(scenario.before, memory / "work"))
        run(lambda machine, world=world: scenario.action(world, machine), world.machine(Fault(at=first).files()))
        once = copy(world.root, memory / "once")
        for second in range(1, 1000, 4):
            world = World(copy(once, memory / "work"))
            fault = Fault(at=second)
            run(recover, world.machine(fault.files()))
            error = run(recover, world.machine())
            if error is not None:
                raise error
            check_after_prune(world, old, new) if name == "prune" else check_whole(world, [old, new])
            if not fault.hit:
                break


@pytest.mark.parametrize("name", ["upgrade", "rollback", "adoption", "prune"])
def test_every_lookup_at_every_moment_is_wholly_old_or_new(name, scenarios, memory):
    scenario = scenarios[name]
    world = World(copy(scenario.before, memory / "work"))
    before = lookups(world)
    done = World(copy(scenario.before, memory / "done"))
    scenario.action(done, done.machine())
    after = lookups(done)
    moments: list[str] = []

    def look(verb: str, path: str) -> None:
        now = lookups(world)
        mixed = [name for name in now if now[name] not in (before.get(name), after.get(name))]
        gone = [name for name in before if name in after and name not in now]
        assert not mixed, (verb, path, mixed)
        assert not gone, (verb, path, gone)
        moments.append("old" if now == before else "new" if now == after else "partly")

    from kata_bundle.core.fsops import FileOps

    scenario.action(world, world.machine(FileOps(look)))
    assert lookups(world) == after
    assert "partly" not in moments[: moments.index("new")] if "new" in moments else True


def test_a_failure_that_lasts_is_told_with_what_to_do(scenarios, outcomes, memory):
    scenario = scenarios["upgrade"]
    _, _, count = outcomes["upgrade"]
    world = World(copy(scenario.before, memory / "work"))
    fault = Fault(at=count - 4, errno=errno.EROFS, lasting=True)
    error = run(lambda machine: scenario.action(world, machine), world.machine(fault.files()))
    assert isinstance(error, InstallError)
    assert error.hint


def test_a_killed_process_changes_nothing_more(scenarios, memory):
    world = World(copy(scenarios["upgrade"].before, memory / "work"))
    fault = Fault(at=40)
    error = run(lambda machine: scenarios["upgrade"].action(world, machine), world.machine(fault.files()))
    assert isinstance(error, Killed)
    assert fault.count == 40
