from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.oci import BundleIndex, BundleLayer
from tests.support.bundles import bundle_index, sample_bundle


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return bundle_index(sample_bundle(tmp_path_factory.mktemp("b")).store, Arch.S390X)


def test_it_survives_json(index):
    assert BundleIndex.from_dict(json.loads(json.dumps(index.to_dict()))) == index


def test_a_foreign_layer_has_no_recipe_no_action_and_no_rule(index):
    layer = BundleLayer(
        component="kernel",
        tree=digest_bytes(b"t"),
        packed=digest_bytes(b"p"),
        packed_size_bytes=1,
        diff_id=digest_bytes(b"d"),
        unpacked_size_bytes=2,
        origin="foreign",
        hermetic=False,
    )
    assert layer.to_dict()["recipe"] is None
    assert BundleLayer.from_dict("kernel", layer.to_dict()) == layer


def test_layers_are_ordered_by_component(index):
    shuffled = replace(index, layers=dict(reversed(list(index.layers.items()))))
    assert [layer.component for layer in shuffled.ordered_layers] == ["cloud-hypervisor", "kernel", "qemu", "shim-v2-go"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), "1"),
        (("version",), True),
        (("arch",), "amd64"),
        (("arch",), "riscv64"),
        (("prefix",), "/opt/kata"),
        (("prefix",), "opt/../etc"),
        (("prefix",), "opt//kata"),
        (("prefix",), ""),
        (("default_shim",), "absent"),
        (("default_shim",), 3),
        (("default_shims",), ["qemu", "qemu"]),
        (("default_shims",), ["absent"]),
        (("shims",), []),
        (("shims", "qemu"), ["absent"]),
        (("shims", "qemu"), "kernel"),
        (("shims", "../up"), []),
        (("layers", "kernel"), None),
        (("layers", "kernel", "tree"), "sha256:zz"),
        (("layers", "kernel", "packed_size_bytes"), -1),
        (("layers", "kernel", "packed_size_bytes"), 1.5),
        (("layers", "kernel", "hermetic"), "yes"),
        (("layers", "kernel", "origin"), ""),
        (("layers", "kernel", "origin"), "a b"),
        (("layers", "kernel", "recipe"), [1]),
        (("layers", "kernel", "surprise"), 1),
        (("layers", "a/b"), {}),
        (("runtime_classes",), {}),
        (("runtime_classes",), ["x"]),
        (("surprise",), 1),
    ],
)
def test_a_wrong_value_is_refused(index, path, value):
    document = copy.deepcopy(index.to_dict())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(IntegrityError):
        BundleIndex.from_dict(document)


def test_every_member_is_required(index):
    for member in index.to_dict().keys() - {"default_shim"}:
        document = index.to_dict()
        del document[member]
        with pytest.raises(IntegrityError, match=member):
            BundleIndex.from_dict(document)


@pytest.mark.parametrize("version", [0, 2, 99])
def test_another_format_version_is_named_before_anything_else(index, version):
    with pytest.raises(IntegrityError, match=f"format version {version}") as caught:
        BundleIndex.from_dict({"version": version, "brave": "new"})
    assert (caught.value.hint is not None) == (version > 1)
    with pytest.raises(IntegrityError, match="format version"):
        replace(index, version=version)


def test_parts_that_do_not_fit_cannot_be_built(index):
    kernel = index.layers["kernel"]
    with pytest.raises(IntegrityError, match="needs component 'kernel'"):
        replace(index, layers={})
    with pytest.raises(IntegrityError, match='the layer under "qemu" is of component "kernel"'):
        replace(index, layers={**index.layers, "qemu": kernel})
    with pytest.raises(IntegrityError, match="default shim"):
        replace(index, shims={"clh": index.shims["clh"]})
