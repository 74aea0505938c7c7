from __future__ import annotations

import copy
import json

import pytest

from kata_bundle.archive.toc import TableRef
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
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


@pytest.mark.parametrize("version", [0, 3, 99])
def test_another_format_version_is_named_before_anything_else(index, version):
    with pytest.raises(IntegrityError, match=f"format version {version}") as caught:
        BundleIndex.from_dict({"version": version, "brave": "new"})
    assert (caught.value.hint is not None) == (version > 2)
    with pytest.raises(IntegrityError, match="format version"):
        replace(index, version=version)


TABLE = TableRef(digest=digest_bytes(b"table"), offset=100, size_bytes=50)


def with_table(index, **changes):
    kernel = replace(index.layers["kernel"], table=TABLE, packed_size_bytes=TABLE.packed_size_bytes, **changes)
    return replace(index, layers={**index.layers, "kernel": kernel})


def test_a_table_of_contents_survives_json(index):
    found = BundleIndex.from_dict(json.loads(json.dumps(with_table(index).to_dict())))
    assert found.layers["kernel"].table == TABLE
    assert found.layers["qemu"].table is None


def test_version_1_without_tables_is_read_and_stays_what_it_was(index):
    old = replace(index, version=1)
    document = json.loads(json.dumps(old.to_dict()))
    assert not any("table" in layer for layer in document["layers"].values())
    assert BundleIndex.from_dict(document) == old
    with pytest.raises(IntegrityError, match="knows no tables"):
        replace(with_table(index), version=1)


@pytest.mark.parametrize(
    "changed", [{"offset": 7}, {"size_bytes": 0}, {"size_bytes": 1 << 30}, {"digest": "x"}, {"extra": 1}, {"offset": 101}]
)
def test_a_table_that_cannot_be_there_is_refused(index, changed):
    document = with_table(index).to_dict()
    document["layers"]["kernel"]["table"].update(changed)
    with pytest.raises(IntegrityError, match="table"):
        BundleIndex.from_dict(document)


def test_parts_that_do_not_fit_cannot_be_built(index):
    kernel = index.layers["kernel"]
    with pytest.raises(IntegrityError, match="needs component 'kernel'"):
        replace(index, layers={})
    with pytest.raises(IntegrityError, match='the layer under "qemu" is of component "kernel"'):
        replace(index, layers={**index.layers, "qemu": kernel})
    with pytest.raises(IntegrityError, match="default shim"):
        replace(index, shims={"clh": index.shims["clh"]})
