"""``kata-deploy`` as a pod runs it, on a throwaway node with real systemd and containerd: in, again, failed, out."""

from __future__ import annotations

import random
import socket
import threading
import time

import pytest

from tests.fixtures.fake_kube import FakeKube
from tests.fixtures.node import snapshot
from tests.fixtures.pod import MARK, NODE, SHARED, Pod
from tests.fixtures.ports import free_port
from tests.fixtures.throwaway_node import running_node, throwaway_tree  # noqa: F401 - fixtures
from tests.unit.node_deploy.conftest import image  # noqa: F401 - fixture

pytestmark = [pytest.mark.root, pytest.mark.node, pytest.mark.slow]

CONFIG = """version = 2

# the platform team's
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
HANDLERS = ("kata-clh-runtime-rs", "kata-qemu")
REFUSES = "[Service]\nExecStartPre=/bin/sh -c '! grep -q kata-qemu /etc/containerd/config.toml'\n"


@pytest.fixture
def pod(throwaway_tree, image, tmp_path):  # noqa: F811
    with running_node(throwaway_tree, tmp_path) as node, FakeKube() as kube:
        node.wait_for("containerd")
        node.write("/etc/containerd/config.toml", CONFIG)
        node.systemctl("restart", "containerd")
        version = node.run("containerd", "--version").stdout.split()[2]
        kube.add_node(
            NODE,
            {},
            nodeInfo={"containerRuntimeVersion": f"containerd://{version.lstrip('v')}"},
            conditions=[{"type": "Ready", "status": "True", "lastHeartbeatTime": "2100-01-01T00:00:00Z"}],
        )
        made = Pod(node, kube, image, tmp_path, free_port())
        made.prepare()
        try:
            yield made
        finally:
            made.close()


def files(pod: Pod) -> dict[str, object]:
    """Return what an install could touch of the node's disk."""
    found: dict[str, object] = {}
    for place in ("etc", "opt"):
        found |= {f"{place}/{path}": what for path, what in snapshot(pod.node.root / place).items()}
    return found


def test_a_node_is_installed_served_left_alone_and_cleaned(pod: Pod):
    before = files(pod)
    pod.add_daemonset()
    process = pod.install()
    assert pod.handlers() == HANDLERS
    assert pod.labels() == {SHARED: "true", MARK: "true"}
    assert (pod.node.root / "opt/kata/bin/containerd-shim-kata-v2").exists()
    done, started = files(pod), pod.starts()
    # The pod restarts: nothing at all happens, and the next start finds everything as it shall be.
    assert "skip" in pod.end(process)
    assert files(pod) == done
    process = pod.install()
    assert files(pod) == done
    assert pod.starts() == started, "nothing changed, so containerd goes on running"
    pod.remove_daemonset()
    output = pod.end(process)
    assert "full" in output
    assert files(pod) == before
    assert pod.handlers() == ()
    assert pod.labels() == {}


def test_a_gate_that_fails_brings_the_old_configuration_back(pod: Pod):
    pod.node.write("/etc/systemd/system/containerd.service.d/refuses.conf", REFUSES)
    pod.node.systemctl("daemon-reload")
    before = files(pod)
    code, output = pod.run("install")
    assert code == 10, output
    assert "was taken back" in output
    assert files(pod) == before
    pod.node.wait_for("containerd")
    assert pod.handlers() == ()
    assert pod.labels() == {SHARED: "false", MARK: "false"}


def get(port: int, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while data := client.recv(4096):
            answer += data
    return answer.decode().split("\r\n")[0]


def test_no_probe_fails_through_a_whole_install_and_the_hand_over(pod: Pod):
    seen: list[str] = []
    stop = threading.Event()

    def probe() -> None:
        while not stop.is_set():
            try:
                seen.append(get(pod.port, "/healthz"))
            except OSError as error:
                if seen:
                    seen.append(repr(error))
            time.sleep(0.05)

    thread = threading.Thread(target=probe)
    thread.start()
    process = pod.install()
    time.sleep(1)
    stop.set()
    thread.join()
    pod.end(process)
    assert len(seen) > 100
    assert set(seen) == {"HTTP/1.1 200 OK"}


@pytest.mark.parametrize("seed", range(3))
def test_sigterm_at_a_random_moment_leaves_nothing_behind(pod: Pod, seed):
    before = files(pod)
    process = pod.start()
    for _ in range(random.Random(seed).randint(20, 50)):
        if "waiting for SIGTERM" in process.stdout.readline():
            break
    output = pod.end(process)
    assert "cleanup:" not in output
    assert files(pod) == before, output
    pod.node.wait_for("containerd")
    assert pod.handlers() == ()
    assert pod.labels() == {}
