"""Delta layers as artefacts: what their manifests say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.deltas import (
    attach_deltas,
    attached_deltas,
    delta_descriptor,
    delta_manifest,
    read_deltas,
    with_entry,
)
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.documents import Manifest
from kata_bundle.oci.layout import Layout

OLD, NEW = digest_bytes(b"old"), digest_bytes(b"new")
IMAGE = Descriptor(media_type=mediatypes.IMAGE_MANIFEST, digest=digest_bytes(b"image"), size_bytes=5)
DELTA = delta_descriptor("qemu", OLD, NEW, digest_bytes(b"delta"), 5)


def manifest(*deltas: Descriptor) -> Manifest:
    return Manifest.parse(delta_manifest(IMAGE, deltas), what="manifest")


def test_a_manifest_says_what_each_delta_is_for() -> None:
    made = manifest(DELTA)
    assert made.subject == IMAGE
    assert made.artifact_type == mediatypes.DELTA_ARTEFACT
    (found,) = read_deltas(made, what="manifest")
    assert (found.component, found.old, found.new, found.descriptor) == ("qemu", OLD, NEW, DELTA)


def test_a_manifest_of_another_kind_offers_none() -> None:
    assert read_deltas(replace(manifest(DELTA), artifact_type="application/x.sbom"), what="manifest") == ()
    assert read_deltas(replace(manifest(DELTA), artifact_type=None), what="manifest") == ()


@pytest.mark.parametrize("key", sorted(set(DELTA.annotations) - {mediatypes.ANNOTATION_TITLE}))
@pytest.mark.parametrize("value", [None, "../../etc", "sha256:short"])
def test_a_delta_that_does_not_say_what_it_is_for_is_refused(key: str, value: str | None) -> None:
    annotations = {k: v for k, v in DELTA.annotations.items() if k != key} | ({} if value is None else {key: value})
    with pytest.raises(IntegrityError):
        read_deltas(manifest(replace(DELTA, annotations=annotations)), what="manifest")


def test_deltas_are_attached_once_and_found_by_their_image(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "layout")
    layout.add_bytes(b"delta", DELTA.media_type)
    other = replace(IMAGE, digest=digest_bytes(b"other"))
    for image in (IMAGE, IMAGE, other):
        attach_deltas(layout, image, [DELTA])
    assert len(layout.index().manifests) == 2
    assert [delta.descriptor for delta in attached_deltas(layout, IMAGE.digest)] == [DELTA]
    assert len(attached_deltas(layout)) == 2
    assert attached_deltas(layout, digest_bytes(b"none")) == ()


def test_an_entry_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "layout")
    named = {mediatypes.ANNOTATION_REF_NAME: "r1"}
    with_entry(layout, replace(IMAGE, annotations=named))
    with_entry(layout, IMAGE)
    with_entry(layout, replace(IMAGE, digest=digest_bytes(b"later"), annotations=named))
    assert [entry.digest for entry in layout.index().manifests] == [IMAGE.digest, digest_bytes(b"later")]
