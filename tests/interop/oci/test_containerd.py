"""The image is an ordinary one: containerd imports it, unpacks its layers by their diff ids, and mounts the result."""

from __future__ import annotations

import os
import platform
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from tests.support.debian import running_server, unpacked_package

pytestmark = [pytest.mark.interop, pytest.mark.net, pytest.mark.root]

CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
]
[grpc]
address = "{folder}/c.sock"
[ttrpc]
address = "{folder}/t.sock"
"""


@dataclass
class Containerd:
    ctr: Path
    address: str

    def __call__(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            [self.ctr, "-a", self.address, *arguments], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def containerd(packages, tmp_path_factory):
    if os.geteuid():
        pytest.skip("containerd needs root to unpack and mount")
    program = unpacked_package(packages, "containerd", "containerd")
    folder = tmp_path_factory.mktemp("c")
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    with running_server([program, "-c", folder / "config.toml"], folder / "log", rb"successfully booted"):
        yield Containerd(program.with_name("ctr"), f"{folder}/c.sock")


def test_containerd_imports_unpacks_and_mounts_the_image(containerd, sample, tmp_path):
    machine = platform.machine()
    if machine not in {arch.value for arch in sample.indexes}:
        pytest.skip(f"the sample has no image for {machine}")
    with tarfile.open(tmp_path / "bundle.tar", "w") as archive:
        archive.add(sample.directory, ".")
    # Unpacking compares every layer with its diff id.
    out = containerd("images", "import", "--base-name", "kata/bundle", "--snapshotter", "native", tmp_path / "bundle.tar")
    assert "done" in out
    listed = containerd("images", "ls")
    assert sample.digest in listed
    assert "linux/amd64,linux/s390x" in listed

    mounted = tmp_path / "m"
    mounted.mkdir()
    containerd("images", "mount", "--snapshotter", "native", "kata/bundle:latest", mounted)
    try:
        found = {path.relative_to(mounted).as_posix(): path.read_bytes() for path in mounted.rglob("*") if path.is_file()}
    finally:
        containerd("images", "unmount", mounted)
    arch = Arch(machine)
    assert found == {
        f"opt/kata/bin/{component}": f"{component} for {arch}\n".encode() * 50 for component in sample.indexes[arch].layers
    }
