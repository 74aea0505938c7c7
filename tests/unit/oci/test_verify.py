from __future__ import annotations

import json
import os

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.oci import (
    BundleIndex,
    BundleLayer,
    Descriptor,
    Layout,
    Platform,
    mediatypes,
    open_bundle,
    verify_layout,
    write_bundle,
)
from kata_bundle.oci.documents import MAX_MANIFEST, image_index, image_manifest
from kata_bundle.oci.verify import MAX_DEPTH, Reason
from tests.unit.archive.layers import pack


def reasons(directory):
    return [problem.reason for problem in verify_layout(directory)]


def top(layout):
    return layout.index().manifests[0]


def file_of(sample, digest):
    return sample.directory / "blobs" / "sha256" / hex_part(digest)


def test_a_sound_bundle_has_no_problems(sample):
    assert verify_layout(sample.directory) == []


def test_what_is_no_layout_is_one_problem(tmp_path):
    (problem,) = verify_layout(tmp_path)
    assert problem.reason is Reason.LAYOUT
    assert problem.to_dict() == {"where": "index.json", "reason": "layout", "message": problem.message}
    assert str(problem).startswith("index.json: ")


@pytest.mark.parametrize("damage", ["flip", "short", "long", "gone", "link", "fifo"])
def test_each_damaged_blob_is_found_whatever_it_is(sample, damage):
    folder = sample.directory / "blobs" / "sha256"
    for name in sorted(os.listdir(folder)):
        path = folder / name
        content = path.read_bytes()
        path.unlink()
        match damage:
            case "flip":
                path.write_bytes(content[:-1] + bytes([content[-1] ^ 0x20]))
            case "short":
                path.write_bytes(content[:-1])
            case "long":
                path.write_bytes(content + b"\n")
            case "link":
                path.symlink_to("/dev/zero")
            case "fifo":
                os.mkfifo(path)
        found = verify_layout(sample.directory)
        assert [problem.reason for problem in found] == [Reason.BLOB], found
        assert name in found[0].where
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    assert verify_layout(sample.directory) == []


@pytest.mark.parametrize("change", [{}, {"digest": digest_bytes(b"other")}, {"offset": 1}])
def test_a_table_of_contents_that_is_not_the_layers_is_found(tmp_path, change):
    data, made = pack()
    (tmp_path / "layer").write_bytes(data)
    table = replace(made.table, **{key: value + made.table.offset if key == "offset" else value for key, value in change.items()})
    layer = BundleLayer(
        component="kernel",
        tree=made.tree,
        packed=made.packed,
        packed_size_bytes=table.packed_size_bytes,
        diff_id=made.diff_id,
        unpacked_size_bytes=made.unpacked_size_bytes,
        origin="deb",
        hermetic=True,
        table=table,
    )
    index = BundleIndex(arch=Arch.X86_64, shims={}, layers={"kernel": layer}, default_shim=None, default_shims=())
    if "offset" in change:
        with pytest.raises(IntegrityError):  # the index itself does not fit the blob
            write_bundle(tmp_path / "out", {Arch.X86_64: index}, lambda _: tmp_path / "layer", created=0)
        return
    write_bundle(tmp_path / "out", {Arch.X86_64: index}, lambda _: tmp_path / "layer", created=0)
    assert reasons(tmp_path / "out") == ([Reason.CONTENT] if change else [])


def test_all_problems_are_listed_at_once(sample):
    bundle = open_bundle(sample.directory)
    for arch in bundle.arches():
        bundle.layer_path(arch, "qemu").unlink()
    file_of(sample, bundle.manifest_descriptor(Arch.X86_64).digest).unlink()
    assert reasons(sample.directory) == [Reason.BLOB, Reason.BLOB]


def test_one_blob_under_two_sizes_is_a_problem_once(sample):
    layout = Layout.open(sample.directory)
    first, second = layout.read_index(top(layout)).manifests
    layer = open_bundle(sample.directory).layer_descriptor(Arch.S390X, "kernel")
    manifest = layout.manifest(first)
    lying = layout.add_bytes(
        image_manifest(manifest.config, [replace(layer, size_bytes=layer.size_bytes + 1), *manifest.layers[1:]]),
        mediatypes.IMAGE_MANIFEST,
    )
    layout.write_index([layout.add_bytes(image_index([replace(lying, platform=first.platform), second]), mediatypes.IMAGE_INDEX)])
    assert reasons(sample.directory) == [Reason.BLOB, Reason.CONTENT]


def test_malformed_documents_are_found(sample):
    layout = Layout.open(sample.directory)
    good = layout.manifest(layout.read_index(top(layout)).manifests[0])
    config = layout.add_bytes(b"{}", mediatypes.IMAGE_CONFIG)
    layout.write_index(
        [
            layout.add_bytes(b"{", mediatypes.IMAGE_INDEX),
            layout.add_bytes(b"[]", mediatypes.IMAGE_MANIFEST),
            layout.add_bytes(image_manifest(config, good.layers), mediatypes.IMAGE_MANIFEST),
        ]
    )
    assert reasons(sample.directory) == [Reason.DOCUMENT] * 3


def test_documents_beyond_their_limit_are_not_read(sample):
    layout = Layout.open(sample.directory)
    layout.write_index([replace(top(layout), size_bytes=MAX_MANIFEST + 1)])
    assert reasons(sample.directory) == [Reason.DOCUMENT]


def test_media_types_that_have_no_place_are_found(sample):
    layout = Layout.open(sample.directory)
    data = layout.add_bytes(b"data", "application/x-other")
    config = layout.add_bytes(
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["' + data.digest.encode() + b'"]}}', "a/b"
    )
    manifest = layout.add_bytes(image_manifest(config, [data]), mediatypes.IMAGE_MANIFEST)
    layout.write_index([data, manifest])
    assert reasons(sample.directory) == [Reason.MEDIA_TYPE] * 3


def test_two_manifests_of_one_platform_and_a_wrong_platform_are_found(sample):
    layout = Layout.open(sample.directory)
    first, second = layout.read_index(top(layout)).manifests
    lying = replace(second, platform=Platform.of(Arch.AARCH64))
    layout.write_index([layout.add_bytes(image_index([first, first, lying]), mediatypes.IMAGE_INDEX)])
    assert reasons(sample.directory) == [Reason.PLATFORM, Reason.PLATFORM]


def test_nesting_ends(sample):
    layout = Layout.open(sample.directory)
    inner = replace(top(layout), annotations={})
    for nested in range(1, MAX_DEPTH + 3):
        layout.write_index([inner])
        assert (Reason.NESTING in reasons(sample.directory)) == (nested > MAX_DEPTH)
        inner = layout.add_bytes(image_index([inner]), mediatypes.IMAGE_INDEX)


def test_an_index_that_names_itself_is_refused_by_its_digest(sample):
    """A document cannot contain its own sha256, so a loop shows as a wrong digest and is never followed."""
    layout = Layout.open(sample.directory)
    name = digest_bytes(b"whatever")
    entry = Descriptor(media_type=mediatypes.IMAGE_INDEX, digest=name, size_bytes=0)
    for _ in range(3):  # the size stands in the document, so it takes a few rounds to be right
        entry = replace(entry, size_bytes=len(image_index([entry])))
    file_of(sample, name).write_bytes(image_index([entry]))
    layout.write_index([entry])
    assert reasons(sample.directory) == [Reason.BLOB]


def test_a_bundle_index_that_disagrees_with_its_manifest_is_found(sample):
    layout = Layout.open(sample.directory)
    first, second = layout.read_index(top(layout)).manifests
    manifest = layout.manifest(first)
    swapped = layout.add_bytes(image_manifest(manifest.config, manifest.layers[::-1]), mediatypes.IMAGE_MANIFEST)
    entry = replace(swapped, platform=first.platform)
    layout.write_index([layout.add_bytes(image_index([entry, second]), mediatypes.IMAGE_INDEX)])
    assert reasons(sample.directory) == [Reason.CONTENT]


def test_unreferenced_blobs_are_no_problem(sample):
    Layout.open(sample.directory).add_bytes(b"left over", mediatypes.LAYER_ZSTD)
    assert verify_layout(sample.directory) == []


def test_a_hostile_number_of_blobs_is_not_followed(sample, monkeypatch):
    monkeypatch.setattr("kata_bundle.oci.verify.MAX_BLOBS", 3)
    assert reasons(sample.directory) == [Reason.NESTING]


def test_json_is_what_a_reader_of_the_problem_list_gets(sample):
    file_of(sample, top(Layout.open(sample.directory)).digest).unlink()
    json.dumps([problem.to_dict() for problem in verify_layout(sample.directory)])
