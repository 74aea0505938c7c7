from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.record import replace
from kata_bundle.oci import Layout, Platform, mediatypes, open_bundle, verify_layout, write_bundle
from kata_bundle.oci.documents import image_index
from tests.support.bundles import CREATED, EVERY_COMPONENT, sample_bundle


def snapshot(folder):
    return {os.path.relpath(p, folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_was_written_opens_with_the_same_content(sample):
    bundle = open_bundle(sample.directory)
    assert bundle.digest == sample.digest
    assert bundle.arches() == (Arch.S390X, Arch.X86_64)
    for arch, index in sample.indexes.items():
        assert bundle.index(arch) == index
        assert bundle.manifest_descriptor(arch).platform == Platform.of(arch)
        for component in EVERY_COMPONENT:
            layer = index.layers[component]
            assert bundle.layer_descriptor(arch, component).digest == layer.packed
            path = bundle.layer_path(arch, component)
            assert digest_bytes(path.read_bytes()) == layer.packed
            with bundle.open_layer(arch, component) as stream:
                assert stream.read() == path.read_bytes()


def test_index_json_holds_one_descriptor_of_an_index_named_latest(sample):
    (entry,) = Layout.open(sample.directory).index().manifests
    assert entry.media_type == mediatypes.IMAGE_INDEX
    assert entry.annotations == {"org.opencontainers.image.ref.name": "latest"}


def test_even_one_architecture_has_an_index(tmp_path):
    one = sample_bundle(tmp_path, arches=(Arch.AARCH64,))
    bundle = open_bundle(one.directory)
    assert mediatypes.is_index(bundle.descriptor.media_type)
    assert bundle.arches() == (Arch.AARCH64,)


def test_the_same_input_makes_the_same_files(sample, tmp_path):
    sample.write(tmp_path / "again")
    assert snapshot(tmp_path / "again") == snapshot(sample.directory)
    sample.write(sample.directory)
    assert snapshot(tmp_path / "again") == snapshot(sample.directory)


def test_layers_are_links_to_the_store(sample):
    layer = sample.indexes[Arch.X86_64].layers["kernel"]
    inside = open_bundle(sample.directory).layer_path(Arch.X86_64, "kernel")
    assert inside.stat().st_ino == sample.store.path(layer.packed).stat().st_ino


def test_on_another_file_system_layers_are_copies(sample, tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        sample.write(Path(folder) / "bundle")
        assert snapshot(Path(folder) / "bundle") == snapshot(sample.directory)
        assert open_bundle(Path(folder) / "bundle").layer_path(Arch.X86_64, "kernel").stat().st_nlink == 1


def test_a_new_bundle_replaces_an_older_one_and_its_blobs(sample, tmp_path):
    smaller = replace(sample, indexes={Arch.X86_64: sample.indexes[Arch.X86_64]})
    smaller.write(sample.directory)
    smaller.write(tmp_path / "fresh")
    assert snapshot(sample.directory) == snapshot(tmp_path / "fresh")
    assert open_bundle(sample.directory).arches() == (Arch.X86_64,)


@pytest.mark.parametrize("stop_at", range(14))
def test_an_interrupted_replacement_leaves_the_old_bundle_or_the_new(sample, tmp_path, monkeypatch, stop_at):
    old = open_bundle(sample.directory).digest
    real, count = os.rename, [0]

    def rename(*args, **kwargs):
        count[0] += 1
        if count[0] > stop_at:
            raise KeyboardInterrupt
        real(*args, **kwargs)

    monkeypatch.setattr(os, "rename", rename)
    finished = True
    try:
        new = write_bundle(sample.directory, sample.indexes, sample.store.path, created=CREATED + 1).digest
    except KeyboardInterrupt:
        finished = False
    monkeypatch.undo()
    assert verify_layout(sample.directory) == []
    assert open_bundle(sample.directory).digest == (new if finished else old)
    final = write_bundle(sample.directory, sample.indexes, sample.store.path, created=CREATED + 1).digest
    assert open_bundle(sample.directory).digest == final
    write_bundle(tmp_path / "fresh", sample.indexes, sample.store.path, created=CREATED + 1)
    assert snapshot(sample.directory) == snapshot(tmp_path / "fresh")


def test_nothing_is_written_for_no_architecture_or_a_wrong_one(sample, tmp_path):
    with pytest.raises(UsageError, match="at least one"):
        write_bundle(tmp_path / "n", {}, sample.store.path, created=0)
    with pytest.raises(IntegrityError, match="given for aarch64 is of x86_64"):
        write_bundle(tmp_path / "n", {Arch.AARCH64: sample.indexes[Arch.X86_64]}, sample.store.path, created=0)
    assert not (tmp_path / "n").exists()


def test_a_blob_that_the_store_lost_leaves_no_layout(sample, tmp_path):
    sample.store.path(sample.indexes[Arch.S390X].layers["qemu"].packed).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        sample.write(tmp_path / "n")
    with pytest.raises(IntegrityError, match="unfinished"):
        open_bundle(tmp_path / "n")


def test_a_corrupt_blob_of_the_store_does_not_get_into_a_bundle(sample, tmp_path):
    path = sample.store.path(sample.indexes[Arch.S390X].layers["qemu"].packed)
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(IntegrityError, match="digest"):
        write_bundle(tmp_path / "n", sample.indexes, sample.store.verified_path, created=0)


def test_asking_for_what_is_not_there_is_an_error_that_says_what_is(sample):
    bundle = open_bundle(sample.directory)
    with pytest.raises(IntegrityError, match="only for s390x, x86_64"):
        bundle.index(Arch.PPC64LE)
    with pytest.raises(IntegrityError, match='no component "ovmf"'):
        bundle.layer_path(Arch.X86_64, "ovmf")
    with pytest.raises(IntegrityError, match="no image for ppc64le"):
        open_bundle(sample.directory, arches=[Arch.PPC64LE])


def test_images_of_other_architectures_need_not_be_there(sample):
    other = open_bundle(sample.directory).manifest_descriptor(Arch.S390X)
    (sample.directory / "blobs" / "sha256" / hex_part(other.digest)).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        open_bundle(sample.directory)
    assert open_bundle(sample.directory, arches=[Arch.X86_64]).arches() == (Arch.X86_64,)


def test_a_layer_that_is_missing_or_short_is_found_on_opening(sample):
    path = open_bundle(sample.directory).layer_path(Arch.X86_64, "kernel")
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        open_bundle(sample.directory)
    path.write_bytes(content[:-1])
    with pytest.raises(IntegrityError, match="bytes, expected"):
        open_bundle(sample.directory)


def test_a_layout_of_one_manifest_without_an_index_opens(sample, tmp_path):
    descriptor = open_bundle(sample.directory).manifest_descriptor(Arch.S390X)
    Layout.open(sample.directory).write_index([replace(descriptor, platform=None)])
    bundle = open_bundle(sample.directory)
    assert bundle.arches() == (Arch.S390X,)
    assert bundle.digest == descriptor.digest


def test_among_several_images_one_must_be_chosen(sample):
    layout = Layout.open(sample.directory)
    (entry,) = layout.index().manifests
    layout.write_index([entry, replace(entry, annotations={mediatypes.ANNOTATION_REF_NAME: "v2"})])
    with pytest.raises(IntegrityError, match="2 images, expected one image") as caught:
        open_bundle(sample.directory)
    assert caught.value.hint == "images here: latest, v2"
    assert open_bundle(sample.directory, ref="v2").digest == sample.digest
    with pytest.raises(IntegrityError, match='one image named "v3"'):
        open_bundle(sample.directory, ref="v3")
    layout.write_index([])
    with pytest.raises(IntegrityError, match="holds 0 images"):
        open_bundle(sample.directory)


def rewrite_index(sample, entries):
    layout = Layout.open(sample.directory)
    top = layout.add_bytes(image_index(entries), mediatypes.IMAGE_INDEX)
    layout.write_index([top])


def entries_of(sample):
    layout = Layout.open(sample.directory)
    return list(layout.read_index(layout.index().manifests[0]).manifests)


def test_two_images_for_one_architecture_are_refused(sample):
    first, second = entries_of(sample)
    rewrite_index(sample, [first, replace(first, platform=None), second])
    with pytest.raises(IntegrityError, match="two images for s390x"):
        open_bundle(sample.directory)


def test_an_index_that_lies_about_a_platform_is_refused(sample):
    first, second = entries_of(sample)
    rewrite_index(sample, [replace(first, platform=Platform.of(Arch.AARCH64)), second])
    with pytest.raises(IntegrityError, match="linux/arm64, its config linux/s390x"):
        open_bundle(sample.directory)


def test_an_index_of_indexes_is_refused(sample):
    layout = Layout.open(sample.directory)
    rewrite_index(sample, [layout.index().manifests[0]])
    with pytest.raises(IntegrityError, match="has media type"):
        open_bundle(sample.directory)


def test_an_empty_index_is_refused(sample):
    rewrite_index(sample, [])
    with pytest.raises(IntegrityError, match="no image for any architecture"):
        open_bundle(sample.directory)


def test_an_image_that_is_no_bundle_is_refused(sample):
    layout = Layout.open(sample.directory)
    config = layout.add_bytes(
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}', mediatypes.IMAGE_CONFIG
    )
    manifest = {"schemaVersion": 2, "config": config.to_dict(), "layers": []}
    layout.write_index([layout.add_bytes(json.dumps(manifest).encode(), mediatypes.IMAGE_MANIFEST)])
    with pytest.raises(IntegrityError, match="no kata bundle"):
        open_bundle(sample.directory)


def test_bundles_of_a_read_only_copy_open(sample, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(sample.directory, copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert open_bundle(copy).digest == sample.digest


def test_a_descriptor_with_a_hostile_digest_never_becomes_a_path(sample):
    layout = Layout.open(sample.directory)
    document = json.loads((sample.directory / "index.json").read_bytes())
    for digest in ("sha256:../../../../etc/passwd", "sha256:" + "0" * 64 + "/..", "../x", "md5:00"):
        document["manifests"][0]["digest"] = digest
        (sample.directory / "index.json").write_text(json.dumps(document))
        with pytest.raises(IntegrityError, match="not a sha256 digest"):
            layout.index()
