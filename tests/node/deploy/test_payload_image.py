"""The payload image as it is: imported and mounted by a node's own containerd, started there with the mounts of its pod.

Everything that runs is the image's: interpreter, libraries, program, components, the nydus snapshotter. Only the API is a fake,
on this machine's loopback, so the process keeps this machine's network.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import RemoteError
from kata_bundle.node.cri_api.client import CriClient
from tests.fixtures.cli import CACHE
from tests.fixtures.fake_kube import FakeKube
from tests.fixtures.pod import MARK, NODE, SHARED
from tests.fixtures.ports import free_port
from tests.fixtures.throwaway_node import running_node, throwaway_tree  # noqa: F401 - fixtures

pytestmark = [pytest.mark.root, pytest.mark.node, pytest.mark.net, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
OWN = Arch.of_this_machine()
REFERENCE = "image.test/kata-deploy:latest"
CONFIG = """version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
DIRECTORIES = (
    "/etc/crio", "/etc/containerd", "/opt/kata", "/etc/systemd/system", "/run/systemd", "/run/containerd", "/boot",
)  # fmt: skip
"""What the pod mounts at the same place (installer specification §28), and the CRI socket's directory."""
ELSEWHERE = {"/run/lock": "/host-run-lock", "/usr/bin": "/host-usr/bin", "/usr/sbin": "/host-usr/sbin"}

SCRIPT = """set -e
M=/run/pod; mkdir -p $M; mount -t tmpfs tmpfs $M; mkdir $M/up $M/work $M/root
ctr image mount @REFERENCE@ /run/image >/dev/null
mount -t overlay overlay -o lowerdir=/run/image,upperdir=$M/up,workdir=$M/work $M/root
mount -t proc proc $M/root/proc; mount --rbind /dev $M/root/dev
@BINDS@
cp /etc/machine-id $M/root/host-machine-id; cp /etc/hosts $M/root/etc/hosts; cp /run/kubeconfig $M/root/etc/kubeconfig
exec chroot $M/root /usr/bin/kata-deploy "$@"
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """The image, as the archive that containerd imports."""
    folder = tmp_path_factory.mktemp("image")
    words = [
        "generate",
        "image",
        "--shim",
        "remote",
        "--arch",
        OWN.value,
        "--store",
        CACHE / "image-store",
        "-o",
        folder / "image",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "kata_bundle", *words, "-q"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode == RemoteError.exit_code:
        pytest.skip(f"the mirror or the package index cannot be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    # An image layout in a tar is what OCI tools call an archive; containerd wants a full name in it.
    index = json.loads((folder / "image/index.json").read_bytes())
    index["manifests"][0]["annotations"]["io.containerd.image.name"] = REFERENCE
    (folder / "image/index.json").write_text(json.dumps(index))
    subprocess.run(["tar", "-C", folder / "image", "-cf", folder / "image.tar", "."], check=True)
    return folder / "image.tar"


def test_the_image_starts_on_a_node_installs_serves_and_cleans_up(throwaway_tree, archive, tmp_path):  # noqa: F811
    if OWN is not Arch.X86_64:
        pytest.skip("the node's settings below are for x86_64")
    with running_node(throwaway_tree, tmp_path) as node, FakeKube() as kube:
        node.wait_for("containerd")
        node.write("/etc/containerd/config.toml", CONFIG)
        node.systemctl("restart", "containerd")
        node.wait_for("containerd")
        version = node.run("containerd", "--version").stdout.split()[2].lstrip("v")
        kube.add_node(
            NODE,
            {},
            nodeInfo={"containerRuntimeVersion": f"containerd://{version}"},
            conditions=[{"type": "Ready", "status": "True", "lastHeartbeatTime": "2100-01-01T00:00:00Z"}],
        )
        shutil.copyfile(archive, node.root / "var/lib/containerd/image.tar")
        assert REFERENCE in node.run("ctr", "image", "import", "/var/lib/containerd/image.tar", timeout_s=300).stdout
        for path in (*DIRECTORIES, "/run/image"):
            (node.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        node.write("/run/kubeconfig", json.dumps(kubeconfig(kube)))
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "NODE_NAME": NODE,
            "KUBECONFIG": "/etc/kubeconfig",
            "SHIMS_X86_64": "remote",
            "DEFAULT_SHIM_X86_64": "remote",
            "HEALTH_PORT": str(free_port()),
            "EXPERIMENTAL_SETUP_SNAPSHOTTER": "nydus",
            "SNAPSHOTTER_HANDLER_MAPPING_X86_64": "remote:nydus",
        }
        process = start(node.init, environment)
        try:
            said = until(process, "waiting for SIGTERM")
            assert kube.labels(NODE) == {SHARED: "true", MARK: "true"}, said
            status = CriClient(str(node.containerd_socket)).status()
            assert status.is_ready
            assert "kata-remote" in (status.handlers or ())
            node.wait_for("nydus-for-kata-tee")
            assert "io.containerd.snapshotter.v1" in node.run("ctr", "plugins", "ls").stdout
            assert "nydus-for-kata-tee" in node.run("ctr", "plugins", "ls").stdout
            assert (node.root / "opt/kata/bin/containerd-shim-kata-v2").exists()
            assert "shim-v2-go" in (node.root / "opt/kata/versions.yaml").read_text()
        finally:
            os.kill(waiting(process.pid), signal.SIGTERM)
            output, _ = process.communicate(timeout=120)
        assert "full" in output, output
        assert process.returncode == 0, output
        assert list((node.root / "opt/kata").iterdir()) == []
        assert kube.labels(NODE) == {}
        assert (node.root / "etc/containerd/config.toml").read_text() == CONFIG


def kubeconfig(kube: FakeKube) -> dict[str, object]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "kube-system"}}],
        "clusters": [{"name": "k", "cluster": {"server": kube.url}}],
        "users": [{"name": "u", "user": {}}],
    }


def start(init: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start the image's program in the node's namespaces but for the network."""
    binds = {**{path: path for path in DIRECTORIES}, **ELSEWHERE}
    lines = [f"mkdir -p $M/root{to}; mount --bind {path} $M/root{to}" for path, to in binds.items()]
    script = SCRIPT.replace("@BINDS@", "\n".join(lines)).replace("@REFERENCE@", REFERENCE)
    inside = ["nsenter", "-t", str(init), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--", "unshare", "--mount"]
    return subprocess.Popen(
        [*inside, "sh", "-c", script, "pod", "--log-level", "debug", "install"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def until(process: subprocess.Popen[str], words: str) -> str:
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if words in line:
            return "".join(said)
    pytest.fail(f"ended with {process.wait()}:\n{''.join(said)}")


def waiting(pid: int) -> int:
    """Return the process behind nsenter, which forks to enter a namespace of processes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid
