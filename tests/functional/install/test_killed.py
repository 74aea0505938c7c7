"""A real process, really killed, at moments nobody chose: the next start leaves one whole generation."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kata_bundle.node.recover import recover
from kata_bundle.node.state import load_state
from kata_bundle.node.verify import verify
from tests.fixtures.faults import copy, host_files, lookups, state
from tests.fixtures.node import World, payload

CHILD = """
import sys
from kata_bundle.core.record import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from kata_bundle.node.install import install
from kata_bundle.node.rollback import rollback
from kata_bundle.node.uninstall import uninstall
from tests.fixtures.faults import edits, overlay
from tests.fixtures.node import World
world = World(Path(sys.argv[2]))
sources = {v: Path(p) for v, p in zip("12", sys.argv[3:5])}
print("ready", flush=True)
while True:
    for version, shims in (("1", ["qemu"]), ("2", ["clh", "dragonball"]), ("1", ["qemu", "dragonball"])):
        wanted = replace(world.desired(sources[version], *shims), overlay=overlay, edits=edits(version))
        install(world.machine(), wanted)
    rollback(world.machine())
    uninstall(world.machine())
"""


def strike(world: World, sources: list[Path], delay_s: float) -> None:
    """Let a child install, upgrade, roll back and uninstall for ``delay_s`` seconds, then kill it."""
    repository = Path(__file__).parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(repository), str(world.root), *map(str, sources)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=repository,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(delay_s)
        assert child.poll() is None, child.stderr.read() if child.stderr else b""
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


def check(tmp_path: Path, rounds: int, seed: int) -> None:
    sources = [payload(tmp_path / "v1", "1"), payload(tmp_path / "v2", "2")]
    root = tmp_path / "root"
    root.mkdir()
    host_files(root)
    before = state(root)
    world = World(root)
    chance = random.Random(seed)
    outcomes = set()
    for _ in range(rounds):
        strike(world, sources, chance.uniform(0, 0.35))
        killed = copy(root, tmp_path / "killed")
        outcomes.add(recover(world.machine()).value)
        found = load_state(world.site)
        assert not found.interrupted
        if found.receipt is None:
            assert state(root) == before, killed
        else:
            checked = verify(world.machine(), found.receipt)
            assert checked.is_clean, (checked, killed)
            versions = {data[-1:] for name, data in lookups(world).items() if name.endswith("containerd-shim-kata-v2")}
            assert versions <= {b"1", b"2"}
    assert os.listdir(root / "etc/containerd") == ["config.toml"]


def test_a_few_kills_leave_one_whole_generation(tmp_path):
    check(tmp_path, rounds=3, seed=1)


@pytest.mark.slow
def test_a_hundred_kills_leave_one_whole_generation(tmp_path):
    check(tmp_path, rounds=100, seed=2)
