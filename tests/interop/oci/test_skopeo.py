"""Our layouts in the hands of skopeo and a real registry: read, pushed and pulled with equal digests."""

from __future__ import annotations

import json
import os

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.oci import Layout, mediatypes, open_bundle, verify_layout

pytestmark = [pytest.mark.interop, pytest.mark.net]
PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


def blobs(directory):
    return sorted(os.listdir(directory / "blobs" / "sha256"))


def test_skopeo_sees_the_image_index_as_the_image(skopeo, sample):
    raw = skopeo("inspect", "--raw", f"oci:{sample.directory}")
    assert digest_bytes(raw) == sample.digest
    platforms = [entry["platform"] for entry in json.loads(raw)["manifests"]]
    assert platforms == [{"architecture": "s390x", "os": "linux"}, {"architecture": "amd64", "os": "linux"}]


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.S390X])
def test_skopeo_reads_each_architectures_config(skopeo, sample, arch):
    found = json.loads(skopeo("--override-arch", arch.go_name, "inspect", f"oci:{sample.directory}"))
    assert (found["Architecture"], found["Os"], found["Created"]) == (arch.go_name, "linux", "2020-01-01T00:00:00Z")
    assert found["Layers"] == [layer.packed for layer in sample.indexes[arch].ordered_layers]
    config = json.loads(skopeo("--override-arch", arch.go_name, "inspect", "--config", "--raw", f"oci:{sample.directory}"))
    assert config[mediatypes.BUNDLE_MEMBER] == json.loads(json.dumps(sample.indexes[arch].to_dict()))


def test_a_bundle_pushed_and_pulled_again_has_the_same_digest(skopeo, registry, sample, tmp_path):
    skopeo("copy", *PLAIN, "--all", f"oci:{sample.directory}", f"docker://{registry}/kata/payload:v1")
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry}/kata/payload:v1")
    assert digest_bytes(raw) == sample.digest

    skopeo("copy", *PLAIN, "--all", f"docker://{registry}/kata/payload@{sample.digest}", f"oci:{tmp_path / 'back'}:v1")
    bundle = open_bundle(tmp_path / "back")
    assert bundle.digest == sample.digest
    assert {arch: bundle.index(arch) for arch in bundle.arches()} == sample.indexes
    assert verify_layout(tmp_path / "back") == []
    assert blobs(tmp_path / "back") == blobs(sample.directory)


def test_one_architecture_pulled_alone_opens_as_a_bundle(skopeo, registry, sample, tmp_path):
    skopeo("copy", *PLAIN, "--all", f"oci:{sample.directory}", f"docker://{registry}/kata/one:v1")
    skopeo("--override-arch", "s390x", "copy", *PLAIN, f"docker://{registry}/kata/one:v1", f"oci:{tmp_path / 'one'}")
    bundle = open_bundle(tmp_path / "one")
    assert bundle.arches() == (Arch.S390X,)
    assert bundle.index(Arch.S390X) == sample.indexes[Arch.S390X]
    assert bundle.digest == open_bundle(sample.directory).manifest_descriptor(Arch.S390X).digest
    assert verify_layout(tmp_path / "one") == []


def test_a_second_bundle_in_one_layout_is_chosen_by_name(skopeo, sample, tmp_path):
    for name in ("v1", "v2"):
        skopeo("copy", "--all", f"oci:{sample.directory}", f"oci:{tmp_path / 'both'}:{name}")
    assert len(Layout.open(tmp_path / "both").index().manifests) == 2
    assert open_bundle(tmp_path / "both", ref="v2").digest == sample.digest


def test_an_archive_made_by_skopeo_unpacks_to_a_layout_that_opens(skopeo, sample, tmp_path):
    import tarfile

    skopeo("copy", "--all", f"oci:{sample.directory}", f"oci-archive:{tmp_path / 'bundle.tar'}:v1")
    with tarfile.open(tmp_path / "bundle.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert open_bundle(tmp_path / "unpacked").digest == sample.digest
