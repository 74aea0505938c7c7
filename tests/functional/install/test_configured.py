"""Whole installs by configuration, on the host tree of every distribution: in, changed, out, and the root as it was."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import BundleError, HostError
from kata_bundle.core.tree import Symlink
from kata_bundle.node.compose import Extras, compose, runtime_of
from kata_bundle.node.config import from_environment
from kata_bundle.node.cri.layouts import DEFAULT_DIR, host_config_dir
from kata_bundle.node.hostedit import HostDirectory, MemoryHost
from kata_bundle.node.install import install, plan_install
from kata_bundle.node.machine import Machine, RecordingServices
from kata_bundle.node.receipt import Receipt
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.site import Site
from kata_bundle.node.source import open_source
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures import components
from tests.fixtures.cli import run_cli
from tests.fixtures.cri_hosts import DISTRIBUTIONS, Distribution
from tests.fixtures.node import snapshot, write_payload

FACTS = load_facts()
SHIMS = ("qemu", "clh-runtime-rs", "dragonball")
VERSIONS = b"assets: {}\n"
NYDUS = {
    "containerd-nydus-grpc": b"\x7fELF grpc",
    "nydus-overlayfs": b"\x7fELF overlayfs",
    "config-guest-pulling.toml": b'version = 1\nroot = "@SNAPSHOTTER_ROOT_DIR@"\naddress = "@SNAPSHOTTER_GRPC_SOCKET_ADDRESS@"\n',
    "nydus-snapshotter.service": b"[Service]\nExecStart=@CONTAINERD_NYDUS_GRPC_BINARY@\n[Install]\nWantedBy=@CRI_SERVICE@\n",
}


@pytest.fixture(scope="module")
def payload_folder(tmp_path_factory) -> Path:
    """An installer image's folder with the stand-ins of the build, in the layout that today's image has."""
    folder = tmp_path_factory.mktemp("image")
    rows = {shim: list(components.row(shim, Arch.X86_64)) for shim in SHIMS}
    made = {
        component: {
            path: f"-> {data.target}" if isinstance(data, Symlink) else data
            for path, data in components.component_files(component, Arch.X86_64).items()
        }
        for component in sorted({name for row in rows.values() for name in row})
    }
    write_payload(folder, rows, made)
    (folder / "versions.yaml").write_bytes(VERSIONS)
    (folder / "nydus-snapshotter").mkdir()
    for name, data in NYDUS.items():
        (folder / "nydus-snapshotter" / name).write_bytes(data)
    return folder


@dataclass
class Node:
    """A root laid out as a distribution does it, and the payload to install there."""

    root: Path
    distribution: Distribution
    source: Path

    def machine(self, dest: str = "/opt/kata") -> Machine:
        return Machine(Site(str(self.root), dest), services=RecordingServices())

    def desired(self, **variables: str):
        environment = {
            "NODE_NAME": "node1",
            "SHIMS_X86_64": "qemu clh-runtime-rs",
            "DEFAULT_SHIM_X86_64": "qemu",
            "CONTAINER_RUNTIME_VERSION": self.distribution.version,
            **variables,
        }
        effective = from_environment(environment, "x86_64", MemoryHost({}), FACTS)
        extras = Extras.read(HostDirectory(str(self.source)), "")
        return compose(open_source(self.source), Arch.X86_64, effective, FACTS, runtime=self.distribution.runtime, extras=extras)

    def install(self, **variables: str):
        wanted = self.desired(**variables)
        done = install(self.machine(wanted.dest), wanted)
        report = verify(self.machine(wanted.dest), done.receipt)
        assert report.is_clean, report
        return done

    def host_path(self, path: str) -> Path:
        """Return where a file of the fixtures, written as the installer's pod sees it, lies on the host itself."""
        folder = host_config_dir(self.distribution.runtime) if self.distribution.runtime.is_containerd else DEFAULT_DIR
        moved = folder + path.removeprefix(DEFAULT_DIR) if path.startswith(f"{DEFAULT_DIR}/") else path
        return self.root / moved.lstrip("/")

    @property
    def main_file(self) -> Path:
        return self.host_path(self.distribution.config_file)

    def handlers(self) -> set[str]:
        """Return every handler that any file of the host defines."""
        found: set[str] = set()
        for path in self.root.rglob("*"):
            if path.suffix in {".toml", ".conf", ".tmpl"} or path.name.startswith("99-kata-deploy"):
                if ".kata-bundle" in path.parts or not path.is_file() or "defaults" in path.parts:
                    continue
                found |= handlers_in(tomllib.loads(path.read_text()))
        return found


def handlers_in(data: dict) -> set[str]:
    found = set(data.get("crio", {}).get("runtime", {}).get("runtimes", {}))
    for plugin in data.get("plugins", {}).values():
        if isinstance(plugin, dict):
            found |= set(plugin.get("containerd", {}).get("runtimes", {}))
    return found


@pytest.fixture(params=DISTRIBUTIONS, ids=lambda d: d.name)
def node(request, tmp_path, payload_folder) -> Node:
    made = Node(tmp_path / "root", request.param, payload_folder)
    for name, content in request.param.files.items():
        path = made.host_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return made


def test_uninstalling_leaves_the_root_as_it_was_byte_for_byte(node):
    before = snapshot(node.root)
    node.install()
    assert {"kata-qemu", "kata-clh-runtime-rs"} <= node.handlers()
    assert (node.root / "opt/kata/versions.yaml").read_bytes() == VERSIONS
    uninstall(node.machine())
    assert snapshot(node.root) == before


def test_the_receipt_says_what_was_decided_about_the_runtime(node):
    receipt = node.install().receipt
    assert Receipt.from_dict(receipt.to_dict()) == receipt
    decided = receipt.decisions
    assert (decided["runtime"], decided["version"]) == (node.distribution.runtime.value, node.distribution.version)
    assert str(decided["output_file"]) in {edit.path for edit in receipt.edits}
    text = run_cli("status", "--root", node.root).ok()
    assert f"configures {decided['runtime']} {decided['version']} in {decided['output_file']}" in text


def test_a_second_install_writes_no_file_keeps_every_inode_and_plans_no_restart(node):
    node.install()
    before = snapshot(node.root, inodes=True)
    wanted = node.desired()
    machine = node.machine()
    plan = plan_install(machine, wanted)
    assert plan.changes_nothing, plan.to_dict()
    done = install(machine, wanted)
    assert done.plan.changes_nothing
    assert machine.services.calls == []
    assert snapshot(node.root, inodes=True) == before


def test_redeploying_with_less_leaves_nothing_of_more(node, tmp_path, payload_folder):
    full = {"SHIMS_X86_64": "qemu clh-runtime-rs dragonball", "DEBUG": "true"}
    node.install(**full)
    more = node.handlers()
    assert {"kata-dragonball", "kata-qemu-debug"} <= more
    node.install(SHIMS_X86_64="qemu")
    ours = {name for name in node.handlers() if name.startswith("kata-")}
    assert ours == {"kata-qemu"}
    current = node.root / "opt/kata/share/defaults/kata-containers"
    assert sorted(os.listdir(current / "runtimes")) == ["qemu"]
    assert not (current / "custom-runtimes").exists()
    # What a sandbox may still need stays: containerd remembers the path of its shim.
    assert (node.root / "opt/kata/runtime-rs/bin/containerd-shim-kata-v2").is_file()


def test_an_administrators_edits_survive_upgrade_and_uninstall(node):
    if node.distribution.name.endswith("absent") or not node.main_file.is_file():
        pytest.skip("this host has no configuration that an administrator could have edited")
    original = node.main_file.read_text()
    node.install()
    edited = node.main_file.read_text() + '\n[timeouts]\n"io.containerd.timeout.task.state" = "7s" # ours, keep\n'
    node.main_file.write_text(edited)
    node.install(SHIMS_X86_64="qemu", DEBUG="true")
    assert '"7s" # ours, keep' in node.main_file.read_text()
    uninstall(node.machine())
    after = node.main_file.read_text()
    assert '"7s" # ours, keep' in after
    assert not {name for name in handlers_in(tomllib.loads(after)) if name.startswith("kata-")}
    for line in original.splitlines():
        assert line in after


def test_two_suffixes_live_side_by_side_and_go_in_any_order(node):
    if node.distribution.version.startswith("containerd://1.") and node.distribution.runtime is Runtime.CONTAINERD:
        with pytest.raises(HostError, match="beside another"):
            node.install(MULTI_INSTALL_SUFFIX="dev")
        return
    if node.distribution.name == "microk8s-1.7":
        with pytest.raises(HostError, match="beside another"):
            node.install(MULTI_INSTALL_SUFFIX="dev")
        return
    for first in ("dev", None):
        before = snapshot(node.root)
        node.install()
        node.install(MULTI_INSTALL_SUFFIX="dev")
        assert {"kata-qemu", "kata-qemu-dev"} <= node.handlers()
        uninstall(node.machine("/opt/kata-dev" if first else "/opt/kata"))
        rest = {name for name in node.handlers() if name.startswith("kata-")}
        assert rest
        assert all(name.endswith("-dev") is (first is None) for name in rest)
        uninstall(node.machine("/opt/kata" if first else "/opt/kata-dev"))
        assert snapshot(node.root) == before


def test_nydus_is_installed_with_its_unit_and_gone_without_its_data(node):
    data = node.root / "var/lib/nydus-for-kata-tee"
    data.mkdir(parents=True)
    (data / "record").write_text("of containerd")
    before = snapshot(node.root)
    variables = {"EXPERIMENTAL_SETUP_SNAPSHOTTER": "nydus", "SNAPSHOTTER_HANDLER_MAPPING_X86_64": "qemu:nydus"}
    if node.distribution.runtime is Runtime.CRIO:
        variables.pop("SNAPSHOTTER_HANDLER_MAPPING_X86_64")
    if node.distribution.version.startswith("containerd://1.6"):
        with pytest.raises(BundleError):
            node.install(**variables)
        assert snapshot(node.root) == before
        return
    wanted = node.desired(**variables)
    machine = node.machine()
    install(machine, wanted)
    unit = node.root / "etc/systemd/system/nydus-for-kata-tee.service"
    if node.distribution.runtime is Runtime.CRIO:
        assert not unit.exists()
    else:
        assert f"WantedBy={node.distribution.runtime.unit}" in unit.read_text()
        folder = node.root / "opt/kata/nydus-for-kata-tee"
        assert (folder / "containerd-nydus-grpc").read_bytes() == NYDUS["containerd-nydus-grpc"]
        assert os.access(folder / "nydus-overlayfs", os.X_OK)
        assert 'root = "/var/lib/nydus-for-kata-tee"' in (folder / "config-guest-pulling.toml").read_text()
        verbs = [(call["verb"], call["unit"]) for call in machine.services.calls]
        assert ("daemon-reload", "") in verbs
        assert verbs.index(("enable", unit.name)) < verbs.index(("restart", unit.name))
    uninstall(node.machine())
    assert snapshot(node.root) == before


def test_nydus_without_its_programs_is_refused_before_anything_is_written(node, tmp_path):
    if node.distribution.runtime is Runtime.CRIO:
        pytest.skip("snapshotters are containerd's")
    environment = {
        "NODE_NAME": "n", "SHIMS_X86_64": "qemu", "EXPERIMENTAL_SETUP_SNAPSHOTTER": "nydus",
        "CONTAINER_RUNTIME_VERSION": node.distribution.version,
    }  # fmt: skip
    effective = from_environment(environment, "x86_64", MemoryHost({}), FACTS)
    with pytest.raises(HostError, match="containerd-nydus-grpc and nydus-overlayfs"):
        compose(open_source(node.source), Arch.X86_64, effective, FACTS, runtime=node.distribution.runtime)


def test_the_runtime_is_told_from_the_configuration_or_refused():
    def told(units, **variables):
        effective = from_environment({"NODE_NAME": "n", "SHIMS_X86_64": "qemu", **variables}, "x86_64", MemoryHost({}), FACTS)
        return runtime_of(effective.config, units)

    assert told(frozenset(), CONTAINER_RUNTIME_VERSION="containerd://2.1.9") is Runtime.CONTAINERD
    assert told(frozenset(), CONTAINER_RUNTIME_VERSION="cri-o://1.34.0") is Runtime.CRIO
    assert told(frozenset({"k3s.service"}), CONTAINER_RUNTIME_VERSION="containerd://2.1.9") is Runtime.K3S
    with pytest.raises(BundleError, match="version"):
        told(frozenset())
    with pytest.raises(BundleError, match="systemd"):
        told(None, CONTAINER_RUNTIME_VERSION="containerd://2.1.9")
    with pytest.raises(BundleError, match="k3s"):
        told(frozenset({"k3s.service"}), CONTAINER_RUNTIME_VERSION="containerd://2.1.9", K8S_DISTRIBUTION="k8s")
