"""The payload image from the real distribution and the real package index: what it holds, that it repeats, that it runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import RemoteError
from kata_bundle.node.compose import Extras
from kata_bundle.node.hostedit import HostDirectory
from kata_bundle.node.snapshotters.nydus import BINARIES
from kata_bundle.oci import verify_layout
from tests.fixtures.cli import CACHE

pytestmark = [pytest.mark.net, pytest.mark.slow]

OWN = Arch.of_this_machine()
ROOT = Path(__file__).parents[3]


@dataclass
class Image:
    folder: Path
    printed: dict

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def read(self, digest: str) -> dict:
        return json.loads(self.blob(digest).read_bytes())

    @property
    def manifest(self) -> dict:
        top = self.read(json.loads((self.folder / "index.json").read_bytes())["manifests"][0]["digest"])
        assert [m["platform"]["architecture"] for m in top["manifests"]] == [OWN.go_name]
        return self.read(top["manifests"][0]["digest"])

    def names(self) -> list[str]:
        return [layer["name"] for layer in self.printed["layers"]]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes images with a copy of the program, so that nothing changes it between two runs."""
    copy = tmp_path_factory.mktemp("program")
    for name in ("kata_bundle", "manifests", "schemas", "buildrules"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.lock", copy)
    return partial(make_image, copy)


def make_image(program: Path, folder: Path, *more: str) -> Image:
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
        folder,
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "kata_bundle", *words, *more], capture_output=True, text=True, check=False, timeout=900,
        cwd=program, env={**os.environ, "PYTHONPATH": str(program)},
    )  # fmt: skip
    if done.returncode == RemoteError.exit_code:
        pytest.skip(f"the mirror or the package index cannot be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return Image(folder, json.loads(done.stdout))


@pytest.fixture(scope="module")
def image(make, tmp_path_factory):
    return make(tmp_path_factory.mktemp("image") / "out")


@pytest.fixture(scope="module")
def root(image, tmp_path_factory):
    """The image's files, unpacked with tar as a container engine does."""
    folder = tmp_path_factory.mktemp("root")
    for layer in image.manifest["layers"]:
        path = image.blob(layer["digest"])
        if layer["mediaType"].endswith("+zstd"):
            content = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
        else:
            content = path.read_bytes()
        subprocess.run(["tar", "-x", "--no-same-owner", "-C", folder], input=content, check=True)
    return folder


def test_layers_are_base_installer_map_and_one_per_component(image):
    assert image.names() == ["base", "installer", "nydus-snapshotter", "component-map", "shim-v2-go", "versions"]
    assert verify_layout(image.folder) == []
    assert 0 < image.printed["start_s"] < 5
    assert [layer["packed_size_bytes"] for layer in image.printed["layers"]] == [e["size"] for e in image.manifest["layers"]]
    for path in (image.folder / "blobs/sha256").iterdir():
        assert digest_bytes(path.read_bytes()) == f"sha256:{path.name}"


def test_components_lie_where_the_installer_reads_them(root):
    artifacts = root / "opt/kata-artifacts"
    assert json.loads((artifacts / "shim-components.json").read_bytes())["shims"] == {"remote": {OWN.value: ["shim-v2-go"]}}
    assert [path.name for path in (artifacts / "tarballs").iterdir()] == ["kata-static-shim-v2-go.tar.zst"]
    assert list(yaml.safe_load((artifacts / "versions.yaml").read_text())["components"]) == ["shim-v2-go"]
    assert Extras.read(HostDirectory(str(artifacts)), "").nydus.keys() == set(BINARIES)


def test_the_same_inputs_give_the_same_bytes_and_pulling_images_share_the_layers(image, make, tmp_path):
    again = make(tmp_path / "again")
    assert again.printed["digest"] == image.printed["digest"]
    pulling = make(tmp_path / "pull", "--pull")
    assert pulling.names() == ["base", "installer", "nydus-snapshotter", "versions"]
    assert [e["digest"] for e in pulling.manifest["layers"][:3]] == [e["digest"] for e in image.manifest["layers"][:3]]


def test_every_module_is_compiled_for_where_it_is(root):
    missing = [
        path.relative_to(root).as_posix()
        for path in (root / "usr/lib/python3/dist-packages/kata_bundle").rglob("*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    ]
    assert missing == []
    (waiter,) = (root / "usr/lib/python3/dist-packages/kata_bundle/node/__pycache__").glob("waiter.*.pyc")
    assert b"/usr/lib/python3/dist-packages/kata_bundle/node/waiter.py" in waiter.read_bytes()
    assert os.fsencode(root) not in waiter.read_bytes()


def chroot(root: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["chroot", root, *command], capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", **environment},
    )  # fmt: skip


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_the_commands_start_in_the_image(root):
    done = chroot(root, "/usr/bin/kata-deploy", "--help")
    assert done.returncode == 0, done.stderr
    assert "install-stage-artifacts" in done.stdout
    assert chroot(root, "/usr/bin/kata-bundle", "node", "dispatch", "--help").returncode == 0
    everything = "import ssl, jeepney, grpclib.client, google.protobuf, urllib3, zstandard, pydantic, yaml, jsonschema, rich"
    done = chroot(root, "/usr/bin/python3", "-I", "-c", f"{everything}; from kata_bundle.node.cri_api import api_pb2")
    assert done.returncode == 0, done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_the_image_installs_the_components_it_has(root):
    (root / "tmp/node").mkdir()
    done = chroot(
        root,
        "/usr/bin/kata-bundle",
        "install",
        "/opt/kata-artifacts",
        "--root",
        "/tmp/node",
        "--shim",
        "remote",
        "--payload-only",
    )
    assert done.returncode == 0, done.stderr
    assert (root / "tmp/node/opt/kata/bin/containerd-shim-kata-v2").exists()
