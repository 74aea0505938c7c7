from __future__ import annotations

import json

import pytest

from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.oci import mediatypes
from kata_bundle.oci.descriptor import Descriptor, Platform
from kata_bundle.oci.documents import MAX_ENTRIES, Index, Manifest, image_index, image_manifest

DIGEST = digest_bytes(b"x")
GOOD = {"mediaType": mediatypes.IMAGE_MANIFEST, "digest": DIGEST, "size": 1}


def test_a_descriptor_survives_its_json_form():
    descriptor = Descriptor(
        media_type=mediatypes.LAYER_ZSTD, digest=DIGEST, size_bytes=7, platform=Platform.of(Arch.PPC64LE), annotations={"a": "b"}
    )
    assert Descriptor.from_dict(descriptor.to_dict()) == descriptor


def test_a_referrer_names_its_subject_and_its_kind():
    subject = Descriptor(media_type=mediatypes.IMAGE_MANIFEST, digest=DIGEST, size_bytes=1)
    config = Descriptor(media_type="application/vnd.oci.empty.v1+json", digest=digest_bytes(b"{}"), size_bytes=2)
    data = image_manifest(config, [], subject=subject, artifact_type="application/x.delta")
    found = Manifest.parse(data, what="m")
    assert (found.subject, found.artifact_type) == (subject, "application/x.delta")
    listed = Descriptor(
        media_type=mediatypes.IMAGE_MANIFEST, digest=digest_bytes(data), size_bytes=len(data), artifact_type="application/x.delta"
    )
    assert Index.parse(image_index([listed]), what="i").manifests == (listed,)


def test_unknown_members_of_foreign_descriptors_are_ignored():
    found = Descriptor.from_dict({**GOOD, "data": "", "urls": [], "platform": None, "annotations": None})
    assert found == Descriptor(media_type=mediatypes.IMAGE_MANIFEST, digest=DIGEST, size_bytes=1)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "sha256:../../../etc/shadow"},
        {"digest": "sha512:" + "0" * 128},
        {"digest": "sha256:" + "0" * 63 + "/"},
        {"size": -1},
        {"size": "1"},
        {"mediaType": "nonsense"},
        {"mediaType": None},
        {"annotations": {"a": 1}},
        {"platform": "linux/amd64"},
        {"platform": {"os": "linux"}},
    ],
)
def test_what_we_use_of_a_descriptor_is_checked(change):
    with pytest.raises(IntegrityError):
        Descriptor.from_dict({**GOOD, **change})


def test_platforms_are_gos_names_and_lead_back():
    assert [str(Platform.of(arch)) for arch in Arch] == ["linux/amd64", "linux/arm64", "linux/s390x", "linux/ppc64le"]
    assert [Platform.of(arch).arch for arch in Arch] == list(Arch)
    for os_name, architecture in (("linux", "x86_64"), ("windows", "amd64"), ("unknown", "unknown")):
        with pytest.raises(IntegrityError, match="is none of linux/amd64"):
            _ = Platform(os=os_name, architecture=architecture).arch


def test_documents_are_canonical_and_read_back():
    layer = Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=DIGEST, size_bytes=1)
    config = Descriptor(media_type=mediatypes.IMAGE_CONFIG, digest=DIGEST, size_bytes=2)
    data = image_manifest(config, [layer], annotations={"a": "b"})
    assert data == canonical.dumps(json.loads(data))
    assert Manifest.parse(data, what="m") == Manifest(config=config, layers=(layer,), annotations={"a": "b"})
    entry = Descriptor(media_type=mediatypes.IMAGE_MANIFEST, digest=DIGEST, size_bytes=3, platform=Platform.of(Arch.S390X))
    assert Index.parse(image_index([entry]), what="i") == Index(manifests=(entry,))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}',
        b'{"schemaVersion":1,"manifests":[]}',
        b'{"schemaVersion":2}',
        b'{"schemaVersion":2,"manifests":{}}',
        b'{"schemaVersion":2,"manifests":[1]}',
        b'{"schemaVersion":2,"manifests":[],"mediaType":"application/vnd.oci.image.manifest.v1+json"}',
        b'{"schemaVersion":2,"manifests":[],"layers":[]}',
        b'{"schemaVersion":2,"manifests":[],"config":{}}',
    ],
)
def test_a_malformed_index_is_refused(document):
    with pytest.raises(IntegrityError):
        Index.parse(document, what="i")


@pytest.mark.parametrize(
    "document",
    [
        {"config": GOOD, "layers": [], "manifests": []},
        {"config": GOOD},
        {"layers": []},
        {"config": GOOD, "layers": [], "mediaType": mediatypes.IMAGE_INDEX},
        {"config": GOOD, "layers": [], "annotations": {"a": 1}},
    ],
)
def test_a_malformed_manifest_is_refused(document):
    with pytest.raises(IntegrityError):
        Manifest.parse(json.dumps({"schemaVersion": 2, **document}).encode(), what="m")


def test_the_number_of_entries_is_bounded():
    document = {"schemaVersion": 2, "manifests": [GOOD] * (MAX_ENTRIES + 1)}
    with pytest.raises(IntegrityError, match="more than"):
        Index.parse(json.dumps(document).encode(), what="i")
