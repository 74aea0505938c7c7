"""Installing from a real registry: only what the node lacks comes, only what was checked gets in, no break leaves half of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from kata_bundle.core.errors import BundleError, HostError, InstallRestoredError, IntegrityError, RemoteError
from kata_bundle.node.desired import Desired
from kata_bundle.node.install import install, plan_install
from kata_bundle.node.remote import RegistrySource
from kata_bundle.node.source import select
from kata_bundle.node.state import load_state
from kata_bundle.node.verify import verify
from kata_bundle.oci.registry import Limits, RegistryClient, RegistrySettings, open_remote_bundle, parse_reference
from tests.fixtures.cli import run_cli
from tests.fixtures.node import ARCH, World, snapshot
from tests.interop.install.conftest import CONFIG, MIB, parts

pytestmark = pytest.mark.interop
DOCUMENTS = 64 << 10
"""More than manifests, configs and the heads of answers come to in one install."""


@dataclass
class Node:
    world: World
    cache: Path
    address: str

    def client(self) -> RegistryClient:
        limits = Limits(tries=3, answer_s=10, slow_s=10)
        return RegistryClient(RegistrySettings(environment={}, limits=limits), pause=lambda _s: None)

    def desired(self, client: RegistryClient, name: str, *shims: str) -> Desired:
        bundle = open_remote_bundle(client.repository(parse_reference(f"{self.address}/kata/bundle{name}")), arches={ARCH})
        source = RegistrySource(bundle, self.cache, jobs=2)
        return Desired(source=source, selection=select(source, ARCH, shims or ("qemu",)), dest="/opt/kata")

    def install(self, name: str, *shims: str):
        with self.client() as client:
            return install(self.world.machine(), self.desired(client, name, *shims))

    def plan(self, name: str, *shims: str):
        with self.client() as client:
            return plan_install(self.world.machine(), self.desired(client, name, *shims))

    def check(self, version: str, *components: str) -> None:
        """What is there verifies, and is what the parts of ``version`` say."""
        receipt = load_state(self.world.site).receipt
        assert receipt is not None
        assert verify(self.world.machine(), receipt).is_clean
        wanted = {path: data for name in components for path, data in parts(version)[name].items()}
        assert {path: (self.world.folder / path).read_bytes() for path in wanted} == wanted

    @property
    def fetched(self) -> int:
        """Bytes that the cache takes on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self.cache.glob("*"))


QEMU = ("kernel", "rootfs-image", "shim-v2-go")


@pytest.fixture
def node(tmp_path, proxy, pushed):
    (tmp_path / "root").mkdir()
    return Node(World(tmp_path / "root"), tmp_path / "cache", proxy.address)


def size(version: str, *components: str) -> int:
    return sum(len(data) for name in components for data in parts(version)[name].values())


def test_only_layers_of_the_enabled_shims_come_and_the_digest_is_recorded(node, proxy, pushed):
    plan = node.plan(":v1")
    wanted = size("1", *QEMU)
    assert abs(plan.transfer_bytes - wanted) < MIB // 8
    proxy.set()
    done = node.install(":v1")
    node.check("1", *QEMU)
    assert abs(proxy.passed - plan.transfer_bytes) < DOCUMENTS
    assert done.receipt.source_digest == pushed["v1"]
    assert not node.cache.exists()


def test_a_layer_without_a_table_comes_whole(node, proxy):
    assert abs(node.plan(":plain").transfer_bytes - size("1", *QEMU)) < MIB // 8
    node.install(":plain")
    node.check("1", *QEMU)
    assert not node.cache.exists()


def test_an_upgrade_transfers_what_the_plan_says_and_links_the_rest(node, proxy):
    node.install(":v1")
    image = (node.world.folder / "share/kata-containers/kata.img").stat().st_ino
    plan = node.plan(":v2")
    changed = 3 * MIB  # vmlinuz and kata-runtime; configurations share their frames
    assert changed <= plan.transfer_bytes < changed + MIB
    proxy.set()
    node.install(":v2")
    node.check("2", *QEMU)
    assert abs(proxy.passed - plan.transfer_bytes) < DOCUMENTS
    assert (node.world.folder / "share/kata-containers/kata.img").stat().st_ino == image


def test_nothing_comes_when_nothing_is_lacking(node, proxy):
    node.install(":v1")
    proxy.set()
    assert node.plan(":v1").transfer_bytes == 0
    assert node.install(":v1").plan.changes_nothing
    assert proxy.passed < DOCUMENTS
    # A second shim needs its own component alone.
    proxy.set()
    node.install(":v1", "qemu", "clh")
    assert 4 * MIB <= proxy.passed < 4 * MIB + DOCUMENTS
    node.check("1", *QEMU, "cloud-hypervisor")


def test_a_dry_run_reads_tables_and_configurations_only(node, proxy):
    proxy.set()
    plan = node.plan(":v1")
    assert f"{CONFIG}/configuration-qemu.toml" in {change.path for change in plan.files}
    assert proxy.passed < DOCUMENTS
    assert snapshot(node.world.root) == {}


def test_a_digest_is_taken_at_its_word(node, pushed):
    assert node.install(f"@{pushed['v1']}").receipt.source_digest == pushed["v1"]
    with pytest.raises(BundleError):
        node.install("@sha256:" + "0" * 64)
    node.check("1", *QEMU)


@pytest.mark.parametrize("name", [":v1", ":plain"])
def test_connections_that_break_again_and_again_are_taken_up(node, proxy, name):
    proxy.set(cut_after=MIB, cuts=5)
    node.install(name)
    node.check("1", *QEMU)
    if name == ":plain":
        assert proxy.passed < size("1", *QEMU) + 2 * MIB


@pytest.mark.parametrize("name", [":v1", ":plain"])
def test_a_registry_that_dies_leaves_the_node_alone_and_the_next_try_goes_on(node, proxy, server, name):
    proxy.set(cut_after=6 * MIB, cuts=1)
    dead = False

    def pause(_s: float) -> None:
        nonlocal dead
        if not dead:
            server.kill()
            dead = True

    limits = Limits(tries=2, answer_s=10, slow_s=10)
    with (
        RegistryClient(RegistrySettings(environment={}, limits=limits), pause=pause) as client,
        pytest.raises(RemoteError),
    ):
        install(node.world.machine(), node.desired(client, name))
    assert snapshot(node.world.root) == {}
    assert node.fetched > 2 * MIB
    server.start()
    proxy.set()
    node.install(name)
    node.check("1", *QEMU)
    assert proxy.passed < size("1", *QEMU) - 2 * MIB
    assert not node.cache.exists()


@pytest.mark.parametrize("name", [":v1", ":plain"])
def test_a_lying_registry_is_refused_and_nothing_of_it_reaches_the_tree(node, proxy, name):
    proxy.set(lie_after=5 * MIB)
    with pytest.raises(IntegrityError):
        node.install(name)
    assert snapshot(node.world.root) == {}
    proxy.set()
    node.install(name)
    node.check("1", *QEMU)


def test_a_lie_during_an_upgrade_leaves_the_old_generation_as_it_was(node, proxy):
    node.install(":v1")
    before = snapshot(node.world.root, inodes=True)
    proxy.set(lie_after=MIB)
    with pytest.raises(IntegrityError):
        node.install(":v2")
    after = snapshot(node.world.root, inodes=True)
    # A new generation was begun there and taken away again.
    for one in (before, after):
        one.pop("opt/kata/.kata-bundle/generations")
    assert after == before
    node.install(":v2")
    node.check("2", *QEMU)


def test_what_lies_in_the_cache_is_checked_like_what_comes(node):
    """Frames that somebody falsified in the cache are fetched again; a falsified layer without a table is refused or replaced."""
    with node.client() as client:
        desired = node.desired(client, ":v1")
        source = desired.source
        refs = [source.layer(ARCH, name) for name in desired.selection.components]
        source.fetch(refs, lambda _path, _file: True)
        for path in node.cache.iterdir():
            with path.open("r+b") as stream:
                stream.seek(4000)
                byte = stream.read(1)
                stream.seek(4000)
                stream.write(bytes([byte[0] ^ 1]))
        assert source.transfer_bytes(refs, lambda _path, _file: True) > 0
        install(node.world.machine(), desired)
    node.check("1", *QEMU)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("full", ["cache", "root"])
def test_a_full_disk_is_told_and_leaves_the_node_alone(node, full):
    place = node.cache if full == "cache" else node.world.root
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)
    try:
        with pytest.raises((InstallRestoredError, HostError, OSError)) as caught:
            node.install(":v1")
        assert "No space left" in str(caught.value)
        assert snapshot(node.world.root) == {}
    finally:
        subprocess.run(["umount", place], check=True)
    node.install(":v1")
    node.check("1", *QEMU)


def test_an_installer_killed_while_it_fetches_goes_on_next_time(node, proxy):
    proxy.set(bytes_per_s=4 * MIB)
    argv = ["install", f"{node.address}/kata/bundle:v1", "--root", str(node.world.root), "--arch", "x86_64", "--shim", "qemu"]
    argv += ["--cache", str(node.cache)]
    process = subprocess.Popen([sys.executable, "-m", "kata_bundle", *argv], stderr=subprocess.DEVNULL)
    while node.fetched < 3 * MIB:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert snapshot(node.world.root) == {}
    kept = node.fetched
    proxy.set()
    assert "installed generation 1" in run_cli(*argv).ok()
    node.check("1", *QEMU)
    assert proxy.passed < size("1", *QEMU) - kept + 9 * MIB


def test_the_command_shows_bytes_and_answers_a_pinned_request_without_asking(node, proxy, pushed):
    name = f"{node.address}/kata/bundle@{pushed['v1']}"
    argv = ["install", name, "--root", str(node.world.root), "--arch", "x86_64", "--shim", "qemu"]
    more = ["--cache", str(node.cache)]
    planned = json.loads(run_cli(*argv, *more, "--dry-run", "--json").ok())["plan"]
    assert abs(planned["transfer_bytes"] - size("1", *QEMU)) < MIB // 8
    assert "to be transferred: " in run_cli(*argv, *more, "--dry-run").ok()
    run_cli(*argv, *more, "--approved", planned["digest"]).ok()
    shown = json.loads(run_cli("status", "--root", str(node.world.root), "--json").ok())
    assert shown["receipt"]["source"]["digest"] == pushed["v1"]
    time.sleep(0.05)
    assert "nothing was written" in run_cli(*argv).ok()
    proxy.set(refuse=True)
    assert "nothing was written" in run_cli(*argv).ok()
    assert proxy.connections == 0
