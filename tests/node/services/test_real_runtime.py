"""CRI and systemd together on a throwaway node with a real containerd: what "restarted" is worth, and what the CRI says."""

from __future__ import annotations

import json

import pytest

from kata_bundle.node.cri_api.client import CriClient
from kata_bundle.node.cri_api.values import CriError
from kata_bundle.node.hostservices import HostServices, NotServingError, confirm_cri
from kata_bundle.node.machine import Knowledge
from kata_bundle.node.systemd import UnitError, open_systemd
from tests.fixtures.cli import run_cli
from tests.fixtures.throwaway_node import Node, running_node, throwaway_tree  # noqa: F401 - fixtures

pytestmark = [pytest.mark.root, pytest.mark.node, pytest.mark.slow]

RUNC = """
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
KATA = """
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu]
runtime_type = "io.containerd.kata-qemu.v2"
runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"
"""


@pytest.fixture
def node(throwaway_tree, tmp_path):  # noqa: F811
    with running_node(throwaway_tree, tmp_path) as node:
        node.wait_for("containerd")
        yield node


def host(node: Node, *handlers: str, cri_within_s: float = 20) -> HostServices:
    return HostServices(
        systemd=open_systemd(str(node.root)),
        cri=CriClient(str(node.containerd_socket)),
        unit="containerd.service",
        handlers=handlers,
        cri_within_s=cri_within_s,
    )


def configure(node: Node, text: str) -> None:
    node.write("/etc/containerd/config.toml", "version = 2\n" + text)


def test_a_handler_is_served_after_a_restart_and_not_before(node):
    services = host(node, "kata-qemu")
    assert CriClient(str(node.containerd_socket)).version().runtime_name == "containerd"
    configure(node, RUNC + KATA)
    with pytest.raises(NotServingError, match="kata-qemu"):
        confirm_cri(services.cri, ("kata-qemu",), within_s=0)
    services.call({"verb": "daemon-reload"})
    services.call({"verb": "restart", "unit": "containerd"})
    services.confirm()
    assert "kata-qemu" in services.cri.status().handlers
    found = services.sandboxes()
    assert (found.knowledge, found.oldest) == (Knowledge.ANSWERED, None)


def test_an_active_unit_whose_cri_is_dead_is_no_success(node):
    # containerd 1.x: a default runtime that is not there fails the CRI plugin, and the unit is active all the same.
    configure(node, RUNC.replace('default_runtime_name = "runc"', 'default_runtime_name = "gone"') + KATA)
    services = host(node, "kata-qemu", cri_within_s=4)
    services.call({"verb": "restart", "unit": "containerd"})
    assert services.systemd.unit_state("containerd").is_active
    with pytest.raises(NotServingError):
        services.confirm()
    assert services.sandboxes().knowledge is Knowledge.UNREACHABLE
    configure(node, RUNC + KATA)
    services.call({"verb": "restart", "unit": "containerd"})
    services.confirm()


def test_a_configuration_that_does_not_load_fails_the_restart_and_comes_back_by_itself(node):
    configure(node, "not toml")
    services = host(node)
    with pytest.raises(UnitError, match=r"containerd\.service"):
        services.call({"verb": "restart", "unit": "containerd"})
    with pytest.raises(CriError):
        services.cri.status()
    configure(node, RUNC)
    node.wait_for("containerd")
    services.confirm()


def test_doctor_tells_what_the_host_has_and_lacks(node, tmp_path):
    spec = tmp_path / "node.json"
    spec.write_text(json.dumps({"version": 1, "shims": ["qemu", "qemu-runtime-rs"], "experimental_setup_snapshotter": ["erofs"]}))
    configure(node, RUNC)
    before = sorted(str(p) for p in (node.root / "etc").rglob("*"))
    done = run_cli("node", "doctor", "--spec", spec, "--root", node.root, "--json")
    assert done.code == 9, done.stderr
    document = json.loads(done.stdout)
    assert document["runtime"] == "containerd"
    assert document["version"].startswith("containerd://1.7")
    assert {problem["kind"] for problem in document["problems"]} >= {"containerd_too_old", "mkfs_erofs_missing"}
    assert all(problem["hint"] for problem in document["problems"])
    spec.write_text(json.dumps({"version": 1, "shims": ["qemu", "qemu-runtime-rs"]}))
    done = run_cli("node", "doctor", "--spec", spec, "--root", node.root)
    assert done.code == 0, done.stdout
    assert "no problems" in done.stdout
    assert sorted(str(p) for p in (node.root / "etc").rglob("*")) == before


def test_a_stopped_runtime_is_unreachable_not_empty(node):
    services = host(node)
    services.call({"verb": "stop", "unit": "containerd"})
    assert services.sandboxes().knowledge is Knowledge.UNREACHABLE
    services.call({"verb": "restart", "unit": "containerd"})
    services.confirm()
    assert services.sandboxes().none_runs
