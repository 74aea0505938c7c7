from __future__ import annotations

import json

import pytest

from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import Manifest
from kata_bundle.oci.image import ImageConfig, bundle_image, bundle_index_document, check_image, image_config
from tests.support.bundles import CREATED, bundle_index, sample_bundle


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return bundle_index(sample_bundle(tmp_path_factory.mktemp("b")).store, Arch.X86_64)


def test_the_config_is_an_ordinary_image_config_with_one_member_more(index):
    config = json.loads(image_config(index, CREATED))
    layers = index.ordered_layers
    assert config.pop(mediatypes.BUNDLE_MEMBER) == json.loads(json.dumps(index.to_dict()))
    assert config == {
        "created": "2020-01-01T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": f"kata-bundle: {layer.component}"} for layer in layers],
    }


def test_the_manifest_names_layers_by_component_for_people_and_artifact_clients(index):
    manifest = Manifest.parse(bundle_image(index, CREATED).manifest, what="m")
    assert [layer.annotations[mediatypes.ANNOTATION_COMPONENT] for layer in manifest.layers] == sorted(index.layers)
    assert manifest.layers[1].annotations[mediatypes.ANNOTATION_TITLE] == "kata-static-kernel.tar.zst"
    assert {layer.media_type for layer in manifest.layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}


def test_equal_input_gives_equal_bytes_in_any_order(index):
    shuffled = replace(index, layers=dict(reversed(list(index.layers.items()))), shims=dict(reversed(list(index.shims.items()))))
    assert bundle_image(shuffled, CREATED) == bundle_image(index, CREATED)
    images = {arch: bundle_image(replace(index, arch=arch), CREATED) for arch in Arch}
    document = bundle_index_document(images, CREATED)
    assert document == bundle_index_document(dict(reversed(images.items())), CREATED)
    assert document == canonical.dumps(json.loads(document))


def test_the_source_date_is_the_only_date(index):
    assert bundle_image(index, CREATED) != bundle_image(index, CREATED + 1)
    assert json.loads(image_config(index, 0))["created"] == "1970-01-01T00:00:00Z"


def test_what_we_wrote_agrees_with_itself(index):
    image = bundle_image(index, CREATED)
    config = ImageConfig.parse(image.config, what="c")
    assert config.bundle == index
    check_image(Manifest.parse(image.manifest, what="m"), config)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("digest", "has digest"),
        ("size", "has size"),
        ("diff id", "has diff id"),
        ("media type", "has media type"),
        ("fewer layers", "the bundle index has 4 layers, the manifest 3"),
        ("fewer diff ids", "3 diff ids for 4 layers"),
        ("platform", "is for linux/amd64, its bundle index for aarch64"),
    ],
)
def test_a_manifest_and_a_config_that_disagree_are_refused(index, wrong, message):
    image = bundle_image(index, CREATED)
    manifest, config = Manifest.parse(image.manifest, what="m"), ImageConfig.parse(image.config, what="c")
    first, *rest = manifest.layers
    other = digest_bytes(b"other")
    match wrong:
        case "digest":
            manifest = replace(manifest, layers=(replace(first, digest=other), *rest))
        case "size":
            manifest = replace(manifest, layers=(replace(first, size_bytes=first.size_bytes + 1), *rest))
        case "diff id":
            config = replace(config, diff_ids=(other, *config.diff_ids[1:]))
        case "media type":
            manifest = replace(manifest, layers=(replace(first, media_type="application/x"), *rest))
        case "fewer layers":
            manifest, config = replace(manifest, layers=tuple(rest)), replace(config, diff_ids=config.diff_ids[1:])
        case "fewer diff ids":
            config = replace(config, diff_ids=config.diff_ids[1:])
        case "platform":
            config = replace(config, bundle=replace(index, arch=Arch.AARCH64))
    with pytest.raises(IntegrityError, match=message):
        check_image(manifest, config)


def test_a_config_that_is_no_bundle_is_read_too():
    data = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"author":"somebody"}'
    assert ImageConfig.parse(data, what="c").bundle is None


@pytest.mark.parametrize(
    "change",
    [
        {"rootfs": None},
        {"rootfs": {"type": "other", "diff_ids": []}},
        {"rootfs": {"type": "layers", "diff_ids": {}}},
        {"rootfs": {"type": "layers", "diff_ids": ["x"]}},
        {"os": 1},
        {"architecture": ""},
        {mediatypes.BUNDLE_MEMBER: []},
        {mediatypes.BUNDLE_MEMBER: {}},
    ],
)
def test_a_malformed_config_is_refused(index, change):
    document = {**json.loads(image_config(index, CREATED)), **change}
    with pytest.raises(IntegrityError):
        ImageConfig.parse(json.dumps(document).encode(), what="c")
