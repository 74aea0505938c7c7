"""shim-components.json: upstream's form, and what is there is kept."""

from __future__ import annotations

import json

import pytest

from kata_bundle.core.componentmap import ComponentMap
from kata_bundle.core.errors import IntegrityError
from kata_bundle.generate.shimcomponents import render_component_map

MAP = ComponentMap({"qemu": {"x86_64": ("shim", "kernel"), "aarch64": ("shim",)}, "fc": {"x86_64": ("shim",)}, "none": {}})


def test_lists_are_aligned_within_a_shim():
    lines = render_component_map(MAP).splitlines()
    assert '      "x86_64":  ["shim", "kernel"],' in lines
    assert '      "aarch64": ["shim"]' in lines
    assert '      "x86_64": ["shim"]' in lines
    assert ComponentMap.parse(render_component_map(MAP)) == MAP


def test_an_existing_text_is_kept_where_it_is_right_whatever_its_layout():
    text = (
        '{"z": [1,2],\n\n "shims":{ "qemu" : {"x86_64":["shim","kernel"],   "aarch64":["shim"]},'
        '\t"fc":{"x86_64":["shim"]}, "none":{}},"end":{}}'
    )
    assert render_component_map(MAP, text) == text


def test_only_the_shims_that_differ_are_written_anew():
    old = render_component_map(MAP)
    changed = ComponentMap({**MAP.shims, "fc": {"x86_64": ("shim", "firecracker")}})
    before, after = old.splitlines(), render_component_map(changed, old).splitlines()
    assert len(before) == len(after)
    assert [line for line in after if line not in before] == ['      "x86_64": ["shim", "firecracker"]']


def test_shims_come_and_go_and_everything_else_stays():
    old = render_component_map(MAP).replace('"_comment"', '"_note"')
    shims = dict(MAP.shims)
    del shims["fc"]
    new = ComponentMap({"clh": {"x86_64": ("shim",)}, **shims})
    text = render_component_map(new, old)
    assert list(json.loads(text)["shims"]) == ["clh", "qemu", "none"]
    assert '"_note"' in text
    assert ComponentMap.parse(text) == new


def test_an_order_that_differs_is_a_difference():
    old = render_component_map(MAP)
    swapped = ComponentMap({**MAP.shims, "qemu": {"aarch64": ("shim",), "x86_64": ("shim", "kernel")}})
    assert list(json.loads(render_component_map(swapped, old))["shims"]["qemu"]) == ["aarch64", "x86_64"]
    moved = ComponentMap({**MAP.shims, "qemu": {"x86_64": ("kernel", "shim"), "aarch64": ("shim",)}})
    assert json.loads(render_component_map(moved, old))["shims"]["qemu"]["x86_64"] == ["kernel", "shim"]


def test_an_empty_map_and_an_empty_existing_one():
    assert ComponentMap.parse(render_component_map(ComponentMap({}))) == ComponentMap({})
    assert ComponentMap.parse(render_component_map(MAP, '{"shims": {}}')) == MAP
    assert ComponentMap.parse(render_component_map(ComponentMap({}), render_component_map(MAP))) == ComponentMap({})


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"shims": []}', '{"shims": {}, "shims": {}}', '{"shims": {"a": {', "[" * 100_000]
)
def test_an_existing_text_that_is_no_map_is_refused(text):
    with pytest.raises(IntegrityError):
        render_component_map(MAP, text)
