"""A root directory with a plain containerd, a payload in the image's layout, and a fake API with the node in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kata_bundle.node import waiter
from tests.fixtures import deploy
from tests.fixtures.fake_kube import FakeKube
from tests.fixtures.images import SHIMS, write_image
from tests.fixtures.node import snapshot
from tests.fixtures.ports import free_port

NODE = "node1"
SHARED = "katacontainers.io/kata-runtime"
MARK = "kata-deploy.katacontainers.io/default"
DAEMONSETS = "/apis/apps/v1/namespaces/kube-system/daemonsets"


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> Path:
    """An installer image's folder, with every component cut short."""
    return write_image(tmp_path_factory.mktemp("image"))


@dataclass
class World:
    """Everything around one installer."""

    root: Path
    host: deploy.FakeHost
    kube: FakeKube
    image: Path
    port: int
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.getcwd(),
            "NODE_NAME": NODE,
            "SHIMS_X86_64": " ".join(SHIMS),
            "DEFAULT_SHIM_X86_64": "qemu",
            "HEALTH_PORT": str(self.port),
            "KUBECONFIG": str(self.root.parent / "kubeconfig"),
            "KATA_BUNDLE_PAYLOAD": str(self.image),
            "TEST_ROOT": str(self.root),
            **self.variables,
        }

    def start(self, action: str = "install") -> subprocess.Popen[str]:
        """Start the program in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.fixtures.deploy", action],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, action: str) -> tuple[int, str]:
        """Run an action to its end."""
        process = self.start(action)
        output, _ = process.communicate(timeout=240)
        return process.returncode, output

    def until_waiting(self, process: subprocess.Popen[str], seconds: float = 240) -> None:
        """Return when the installer has become the waiter."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process.poll() is not None:
                pytest.fail(f"ended with {process.returncode}: {process.communicate()[0]}")
            if waiter.ACTION.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0"):
                return
            time.sleep(0.01)
        process.kill()
        pytest.fail(f"the installer did not become the waiter: {process.communicate()[0]}")

    def install(self) -> subprocess.Popen[str]:
        """Install and return the process that waits."""
        process = self.start()
        self.until_waiting(process)
        return process

    def end(self, process: subprocess.Popen[str], *, code: int = 0) -> str:
        """Ask the process to end and return all it said."""
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == code, output
        return output

    def add_daemonset(self, name: str = "kata-deploy") -> None:
        self.kube.put(
            f"{DAEMONSETS}/{name}",
            {"metadata": {"name": name, "namespace": "kube-system"}, "spec": {"template": {"spec": {}}}},
        )

    def remove_daemonset(self, name: str = "kata-deploy") -> None:
        self.kube.objects.pop(f"{DAEMONSETS}/{name}")

    def labels(self) -> dict[str, str]:
        return dict(self.kube.labels(NODE))

    def files(self) -> dict[str, object]:
        """Return the whole root but for the stand-ins' state and the lock."""
        return {p: w for p, w in snapshot(self.root).items() if p.split("/")[0] not in {"fake", "run", "refuses", "mute"}}


@pytest.fixture
def world(tmp_path, image):
    root = tmp_path / "root"
    root.mkdir()
    host = deploy.make_root(root)
    with FakeKube() as kube:
        kube.add_node(
            NODE,
            {},
            nodeInfo={"containerRuntimeVersion": deploy.VERSION},
            conditions=[{"type": "Ready", "status": "True", "lastHeartbeatTime": "2100-01-01T00:00:00Z"}],
        )
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "kube-system"}}],
            "clusters": [{"name": "k", "cluster": {"server": kube.url}}],
            "users": [{"name": "u", "user": {}}],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        yield World(root, host, kube, image, free_port())
