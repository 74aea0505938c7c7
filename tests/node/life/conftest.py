"""A node of each containerd with a pod on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.containerds import Release, packaged
from tests.fixtures.disk import Disk, disk
from tests.fixtures.fake_kube import FakeKube
from tests.fixtures.images import SHIMS, write_image
from tests.fixtures.pod import NODE, Pod
from tests.fixtures.ports import free_port
from tests.fixtures.throwaway_node import Node, running_node, throwaway_tree

__all__ = ["throwaway_tree"]

QUICK = "tests.fixtures.quick_deploy"

CONFIG_2 = """version = 2

# the platform team's
[plugins."io.containerd.grpc.v1.cri"]
max_container_log_line_size = 16000
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
CONFIG_3 = """version = 3

# the platform team's
[plugins."io.containerd.cri.v1.runtime"]
max_container_log_line_size = 16000
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


@dataclass(frozen=True)
class Images:
    """Two releases of the installer's image; the second has one shim more."""

    first: Path
    second: Path


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Images:
    folder = tmp_path_factory.mktemp("images")
    return Images(write_image(folder / "1"), write_image(folder / "2", (*SHIMS, "clh"), release="2"))


@dataclass
class Life:
    """A node with its pod, and its disk before anything of ours was there."""

    node: Node
    pod: Pod
    kube: FakeKube
    release: Release
    before: Disk

    @property
    def schema(self) -> int:
        return 3 if self.release.minor >= (2, 0) else 2


def add_node(kube: FakeKube, version: str) -> None:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2100-01-01T00:00:00Z"}
    kube.add_node(NODE, {}, nodeInfo={"containerRuntimeVersion": version}, conditions=[ready])


@pytest.fixture
def life(request, throwaway_tree, images, tmp_path) -> Iterator[Life]:
    """``@pytest.mark.parametrize("life", [suite], indirect=True)``: a node with that suite's containerd."""
    release = packaged(request.param)
    with running_node(throwaway_tree, tmp_path) as node, FakeKube() as kube:
        node.use_containerd(release.folder, release.version)
        node.write("/etc/containerd/config.toml", CONFIG_3 if release.minor >= (2, 0) else CONFIG_2)
        node.restart("containerd")
        node.wait_for("containerd")
        add_node(kube, release.string)
        pod = Pod(node, kube, images.first, tmp_path, free_port(), module=QUICK)
        pod.prepare()
        try:
            yield Life(node, pod, kube, release, disk(node))
        finally:
            pod.close()
