"""Chart values and their schema: what is refused before anything is rendered."""

from __future__ import annotations

import copy

import jsonschema
import pytest
import yaml

from kata_bundle.generate.chartschema import chart_schema, render_chart_schema
from kata_bundle.generate.chartvalues import chart_values, render_chart_values


def test_the_values_pass_their_schema_and_the_schema_is_one(catalog):
    schema = chart_schema(catalog)
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(yaml.safe_load(render_chart_values(catalog)))
    assert yaml.safe_load(render_chart_schema(catalog)) == schema


def test_only_complete_shims_are_offered(catalog):
    shims = chart_values(catalog)["shims"]
    assert {"firecracker", "stratovirt"}.isdisjoint(shims)
    assert shims["remote"]["enabled"] is False
    assert shims["qemu"]["enabled"] is None
    assert shims["fc"]["containerd"] == {"snapshotter": "devmapper"}
    assert shims["qemu-nvidia-gpu"]["runtimeClass"] == {"nodeSelector": {"nvidia.com/cc.ready.state": "false"}}
    assert "runtimeClass" not in shims["qemu"]
    assert shims["qemu-snp"]["crio"] == {"guestPull": True}


@pytest.fixture(scope="module")
def check(catalog):
    return jsonschema.Draft7Validator(chart_schema(catalog)).validate


def changed(catalog, path, value):
    values = copy.deepcopy(chart_values(catalog))
    *parents, last = path.split("/")
    place = values
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("shims/qemuu", {"enabled": True}),
        ("shims/firecracker", {"enabled": True}),
        ("shims/qemu", None),
        ("shims/qemu/enabeld", True),
        ("shims/qemu/enabled", "true"),
        ("shims/qemu/supportedArches", ["x86_64"]),
        ("shims/clh/supportedArches", ["s390x"]),
        ("shims/qemu/supportedArches", ["amd64", "amd64"]),
        ("shims/qemu/supportedArches", "amd64"),
        ("shims/qemu/allowedHypervisorAnnotations", ["a b"]),
        ("shims/qemu/containerd/snapshoter", "nydus"),
        ("shims/qemu/runtimeClass", {"nodeSelector": {"katacontainers.io/kata-runtime": "false"}}),
        ("shims/qemu/runtimeClass", {"nodeSelector": {"a": True}}),
        ("shims/qemu/runtimeClass", {"overhead": {"memory": "160 Mi"}}),
        ("shims/qemu/runtimeClass", {"overhead": {"memory": "-1Mi"}}),
        ("shims/qemu/runtimeClass", {"overhead": {"memory": "160MB"}}),
        ("shims/disableAll", None),
        ("defaultShim/amd64", "qemu-se"),
        ("defaultShim/amd64", "qemuu"),
        ("defaultShim/x86_64", "qemu"),
        ("runtimeClasses/defaultName", "Kata"),
        ("runtimeClasses/createDefaults", True),
    ],
)
def test_a_mistake_is_refused(catalog, check, path, value):
    with pytest.raises(jsonschema.ValidationError):
        check(changed(catalog, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("shims/qemu/enabled", False),
        ("shims/qemu/supportedArches", []),
        ("shims/clh/supportedArches", ["arm64"]),
        ("shims/qemu/dropIn", "[hypervisor.qemu]\n"),
        ("shims/qemu/runtimeClass", {"overhead": {"memory": "1.5Gi", "cpu": 2}, "overheadEnabled": False, "nodeSelector": None}),
        ("shims/qemu/runtimeClass", None),
        ("shims/qemu/agent", {"httpsProxy": "http://proxy:3128"}),
        ("defaultShim/amd64", ""),
        ("defaultShim/s390x", "qemu-se"),
        ("snapshotter", {"setup": ["nydus"]}),
        ("runtimeClasses/defaultName", "my.kata"),
    ],
)
def test_what_an_operator_may_choose_passes(catalog, check, path, value):
    check(changed(catalog, path, value))
