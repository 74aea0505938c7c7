"""Any sequence of installs, rollbacks, drop-ins, edits and removals ends as if only the administrator had ever been there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import replace
from kata_bundle.node.install import install, plan_install
from kata_bundle.node.rollback import rollback
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.faults import MAIN, Fault, Killed, edits, host_files, overlay
from tests.fixtures.node import CONFIG, World, payload, snapshot

BASE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SUFFIXES = st.sampled_from(["", "-a", "-b"])
SHIMS = st.sets(st.sampled_from(["qemu", "clh", "dragonball"]), min_size=1).map(sorted)
VERSIONS = st.sampled_from(["1", "2"])


class Node(RuleBasedStateMachine):
    """One host with up to three installs; ``mirror`` is the same host without any."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kata-bundle-", dir=BASE))
        self.sources = {version: payload(self.folder / version, version) for version in ("1", "2")}
        self.root, self.mirror = self.folder / "root", self.folder / "mirror"
        for root in (self.root, self.mirror):
            root.mkdir()
            host_files(root)
        self.notes = 0
        self.drop_ins: dict[str, dict[str, str]] = {}

    def world(self, suffix: str) -> World:
        return World(self.root, f"/opt/kata{suffix}")

    def wanted(self, suffix, version, shims):
        return replace(self.world(suffix).desired(self.sources[version], *shims), overlay=overlay, edits=edits(version, suffix))

    @rule(suffix=SUFFIXES, version=VERSIONS, shims=SHIMS)
    def install(self, suffix, version, shims) -> None:
        world, wanted = self.world(suffix), self.wanted(suffix, version, shims)
        planned = plan_install(world.machine(), wanted)
        done = install(world.machine(), wanted)
        assert done.plan.to_dict() == planned.to_dict()
        assert plan_install(world.machine(), wanted).changes_nothing
        assert set(done.receipt.shims) == set(shims)

    @rule(suffix=SUFFIXES, version=VERSIONS, shims=SHIMS, at=st.integers(1, 250))
    def killed(self, suffix, version, shims, at) -> None:
        world = self.world(suffix)
        try:
            install(world.machine(Fault(at=at).files()), self.wanted(suffix, version, shims))
        except Killed:
            install(world.machine(), self.wanted(suffix, version, shims))

    @rule(suffix=SUFFIXES)
    def roll_back(self, suffix) -> None:
        try:
            rollback(self.world(suffix).machine())
        except HostError:
            state = load_state(self.world(suffix).site)
            assert state.receipt is None or state.receipt.previous not in state.receipts

    @rule(suffix=SUFFIXES)
    def uninstall(self, suffix) -> None:
        uninstall(self.world(suffix).machine())
        self.drop_ins.pop(suffix, None)

    @rule(text=st.sampled_from(["# note\n", "[x]\ny = 1\n"]))
    def administrator_edits(self, text) -> None:
        self.notes += 1
        text = text.replace("[x]", f"[x{self.notes}]")
        for root in (self.root, self.mirror):
            with (root / MAIN[1:]).open("a") as stream:
                stream.write(text)

    @precondition(lambda self: hasattr(self, "root"))
    @rule(suffix=SUFFIXES, name=st.sampled_from(["60-a.toml", "61-b.toml"]), text=st.sampled_from(["", "a = 1\n"]))
    def administrator_adds_a_drop_in(self, suffix, name, text) -> None:
        folder = self.world(suffix).folder / CONFIG / "runtimes/clh/config.d"
        if folder.is_dir():
            (folder / name).write_text(text)
            self.drop_ins.setdefault(suffix, {})[name] = text

    @invariant()
    def what_is_installed_verifies(self) -> None:
        if not hasattr(self, "root"):
            return
        for suffix in ("", "-a", "-b"):
            world = self.world(suffix)
            receipt = load_state(world.site).receipt
            if receipt is None:
                assert not world.folder.exists()
                continue
            found = verify(world.machine(), receipt)
            assert found.is_clean, found
            assert len(load_state(world.site).receipts) <= 2
            theirs = {os.path.basename(path) for path in found.administrators}
            assert theirs == set(self.drop_ins.get(suffix, {}))
            for name, text in self.drop_ins.get(suffix, {}).items():
                assert (world.folder / CONFIG / "runtimes/clh/config.d" / name).read_text() == text

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        try:
            for suffix in ("-a", "", "-b"):
                uninstall(self.world(suffix).machine())
            assert snapshot(self.root) == snapshot(self.mirror)
        finally:
            shutil.rmtree(self.folder)


Node.TestCase.settings = settings(
    max_examples=int(os.environ.get("KATA_BUNDLE_EXAMPLES", "5")),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestNode = Node.TestCase
