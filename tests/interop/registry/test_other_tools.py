"""What we push is what skopeo, crane and oras find and copy, digest for digest; and crane's registry is spoken to as well."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.oci import Descriptor, Layout, mediatypes, open_bundle, verify_layout
from kata_bundle.oci.documents import image_manifest
from kata_bundle.oci.registry import open_remote_bundle
from kata_bundle.oci.registry.pull import pull_bundle
from kata_bundle.oci.registry.transfer import copy_between, copy_from_layout, copy_to_layout
from tests.interop.oci.test_containerd import CONFIG
from tests.interop.registry.conftest import run
from tests.support.debian import running_server, unpacked_package

pytestmark = [pytest.mark.interop, pytest.mark.net]
KIND = "application/vnd.example.note"


def attach(repository, subject: Descriptor) -> Descriptor:
    """Attach a small artefact."""
    note, empty = b"a note", b"{}"
    layer = Descriptor(media_type="text/plain", digest=digest_bytes(note), size_bytes=len(note))
    config = Descriptor(media_type=mediatypes.EMPTY, digest=digest_bytes(empty), size_bytes=len(empty))
    repository.upload(layer, lambda: io.BytesIO(note))
    repository.upload(config, lambda: io.BytesIO(empty))
    data = image_manifest(config, [layer], subject=subject, artifact_type=KIND)
    return repository.put_manifest(data, mediatypes.IMAGE_MANIFEST)


@pytest.fixture(scope="module")
def pushed(registry, sample):
    from kata_bundle.oci.registry import RegistryClient, RegistrySettings, parse_reference

    with RegistryClient(RegistrySettings(environment={}, hosts_folders=())) as client:
        repository = client.repository(parse_reference(f"{registry.address}/tools/ours:v1"))
        copy_from_layout(Layout.open(sample.directory), repository, tags=("v1",))
        attached = attach(repository, repository.resolve())
    return f"{registry.address}/tools/ours:v1", attached


def test_skopeo_reads_and_copies_what_we_pushed(registry, pushed, skopeo, sample, tmp_path):
    name, _ = pushed
    assert digest_bytes(skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}")) == sample.digest
    skopeo("copy", "--src-tls-verify=false", "--all", f"docker://{name}", f"oci:{tmp_path / 'out'}:v1")
    assert verify_layout(tmp_path / "out") == []
    assert open_bundle(tmp_path / "out").digest == sample.digest


def test_we_pull_what_skopeo_pushed(registry, skopeo, sample, repository, tmp_path):
    name = f"{registry.address}/tools/skopeo"
    skopeo("copy", "--dest-tls-verify=false", "--all", f"oci:{sample.directory}", f"docker://{name}:v1")
    bundle = open_remote_bundle(repository(registry.address, "tools/skopeo:v1"))
    pull_bundle(bundle, tmp_path / "out", is_whole=True)
    assert open_bundle(tmp_path / "out").digest == bundle.digest == sample.digest


def test_crane_reads_and_copies_what_we_pushed(registry, pushed, crane, sample, tmp_path, repository):
    name, _ = pushed
    environment = {"HOME": str(tmp_path)}
    assert run(crane, "digest", "--insecure", name, **environment).decode().strip() == sample.digest
    manifest = json.loads(run(crane, "manifest", "--insecure", "--platform", "linux/s390x", name, **environment))
    assert len(manifest["layers"]) == len(sample.indexes[Arch.S390X].layers)
    copied = f"{registry.address}/tools/crane:v1"
    run(crane, "copy", "--insecure", name, copied, **environment)
    pull_bundle(open_remote_bundle(repository(registry.address, "tools/crane:v1")), tmp_path / "out", is_whole=True)
    assert open_bundle(tmp_path / "out").digest == sample.digest


def test_oras_copies_what_we_pushed_with_what_is_attached(registry, pushed, oras, sample, tmp_path, repository):
    name, attached = pushed
    environment = {"HOME": str(tmp_path)}
    found = json.loads(run(oras, "discover", "--plain-http", "--format", "json", name, **environment))
    listed = found.get("referrers") or found.get("manifests")
    assert [entry["digest"] for entry in listed] == [attached.digest]

    run(oras, "cp", "-r", "--from-plain-http", "--to-plain-http", name, f"{registry.address}/tools/oras:v1", **environment)
    copy = repository(registry.address, "tools/oras:v1")
    assert [d.digest for d in copy.referrers(sample.digest, KIND)] == [attached.digest]

    run(oras, "cp", "-r", "--from-plain-http", "--to-oci-layout", name, f"{tmp_path / 'out'}:v1", **environment)
    assert open_bundle(tmp_path / "out").digest == sample.digest, "its index.json names more than the bundle"
    again = repository(registry.address, "tools/again:v1")
    done = copy_from_layout(Layout.open(tmp_path / "out"), again, tags=("v1",), referrers=True)
    assert done.referrers == (attached.digest,)


def test_oras_reads_what_is_attached_in_our_layouts(registry, pushed, oras, sample, tmp_path, repository):
    copy_to_layout(repository(registry.address, "tools/ours:v1"), tmp_path / "out", referrers=True)
    found = json.loads(run(oras, "discover", "--oci-layout", "--format", "json", f"{tmp_path / 'out'}:v1", HOME=str(tmp_path)))
    listed = found.get("referrers") or found.get("manifests")
    assert [entry["digest"] for entry in listed] == [pushed[1].digest]


def test_crane_registry_takes_and_gives_bundles(crane_registry, registry, pushed, repository, sample, tmp_path):
    there = repository(crane_registry, "kata/x:v1")
    done = copy_from_layout(Layout.open(sample.directory), there, tags=("v1", "v2"))
    assert done.digest == sample.digest
    assert there.tags() == ("v1", "v2")
    data = b"x" * (3 << 20)
    big = Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=digest_bytes(data), size_bytes=len(data))
    assert there.upload(big, lambda: io.BytesIO(data)), "a blob that is sent in a request of its own"
    pull_bundle(open_remote_bundle(there), tmp_path / "out", is_whole=True)
    assert open_bundle(tmp_path / "out").digest == sample.digest
    source = there.client.repository(repository(registry.address, "tools/ours:v1").reference)
    target = there.client.repository(repository(crane_registry, "kata/copy:v1").reference)
    assert len(copy_between(source, target, tags=("v1",), referrers=True).referrers) == 1
    assert [d.artifact_type for d in target.referrers(sample.digest)] == [KIND]


@pytest.mark.root
def test_containerd_pulls_and_unpacks_what_we_pushed(request, pushed, sample, tmp_path):
    if os.geteuid():
        pytest.skip("containerd needs root to unpack")
    machine = Arch.of_this_machine()
    if machine not in sample.indexes:
        pytest.skip(f"the sample has no image for {machine}")
    program = unpacked_package(Path(request.config.cache.mkdir("debian-packages")), "containerd", "containerd")
    (tmp_path / "config.toml").write_text(CONFIG.format(folder=tmp_path))
    with running_server([program, "-c", tmp_path / "config.toml"], tmp_path / "log", rb"successfully booted"):
        ctr = (program.with_name("ctr"), "-a", tmp_path / "c.sock")
        # Unpacking compares every layer with its diff id.
        run(*ctr, "images", "pull", "--plain-http", "--snapshotter", "native", pushed[0])
        assert sample.digest in run(*ctr, "images", "ls").decode()
        (tmp_path / "m").mkdir()
        run(*ctr, "images", "mount", "--snapshotter", "native", pushed[0], tmp_path / "m")
        try:
            found = {path.name for path in (tmp_path / "m/opt/kata/bin").iterdir()}
        finally:
            run(*ctr, "images", "unmount", tmp_path / "m")
    assert found == set(sample.indexes[machine].layers)
