from __future__ import annotations

import json

import pytest

from kata_bundle.core.componentmap import ComponentMap, tarball_name
from kata_bundle.core.errors import IntegrityError

MAP = ComponentMap.parse(
    json.dumps(
        {
            "_comment": ["kept out of the data"],
            "shims": {"qemu": {"x86_64": ["shim-v2-go", "kernel"], "aarch64": ["kernel"]}, "clh": {"x86_64": ["kernel"]}},
        }
    )
)


def test_cells_and_rows():
    assert MAP.cells() == (("qemu", "x86_64"), ("qemu", "aarch64"), ("clh", "x86_64"))
    assert MAP.components("qemu", "x86_64") == ("shim-v2-go", "kernel")
    assert MAP.components("qemu", "s390x") is None
    assert MAP.components("nope", "x86_64") is None
    assert tarball_name("kernel") == "kata-static-kernel.tar.zst"


def test_selection_takes_each_component_once_and_says_who_needs_it():
    selected = MAP.select(["qemu", "clh", "qemu"], "x86_64")
    assert selected.components == ("kernel", "shim-v2-go")
    assert selected.needed_by == {"kernel": ("qemu", "clh"), "shim-v2-go": ("qemu",)}
    assert MAP.select(["clh", "nope", "qemu"], "aarch64").shims_without_row == ("clh", "nope")


def test_round_trip():
    assert ComponentMap.parse(json.dumps(MAP.to_dict())) == MAP


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("[]", 'key "shims"'),
        ("{}", 'key "shims"'),
        ('{"shims": []}', 'key "shims"'),
        ('{"shims": {"qemu": []}}', "shims.qemu"),
        ('{"shims": {"qemu": {"x86_64": "kernel"}}}', "shims.qemu.x86_64"),
        ('{"shims": {"qemu": {"x86_64": ["../../etc/passwd"]}}}', "component names"),
        ('{"shims": {"qemu": {"x86_64": ["a/b"]}}}', "component names"),
        ('{"shims": {"qemu": {"x86_64": [""]}}}', "component names"),
        ('{"shims": {"qemu": {"x86_64": [1]}}}', "component names"),
        ("not json", "not valid JSON"),
    ],
)
def test_a_wrong_map_is_refused_with_its_place(document, words):
    with pytest.raises(IntegrityError, match=words):
        ComponentMap.parse(document)
