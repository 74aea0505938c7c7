"""What is generated equals upstream, or the difference stands in the table of docs/reference/generate.md; and the reverse."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

from kata_bundle.generate.chartschema import chart_schema
from kata_bundle.generate.chartvalues import render_chart_values
from kata_bundle.generate.defaultshims import default_shims, render_default_variables
from kata_bundle.generate.releaselists import release_lists, render_tarball_names
from kata_bundle.generate.runtimeclasses import ClassOptions, render_runtime_classes, select_shims
from kata_bundle.generate.shimcomponents import render_component_map

from .conftest import UPSTREAM

SHARED = "katacontainers.io/kata-runtime"
OWN = "kata-deploy.katacontainers.io/default"


def component_map_differences(catalog):
    """Compare texts, shim by shim."""

    def parts(text):
        shims = dict(re.findall(r'^    "([^"]+)": (\{\n.*?\n    \})', text, flags=re.MULTILINE | re.DOTALL))
        return {"_comment": text.partition('"shims"')[0], **shims}

    theirs, ours = parts((UPSTREAM / "shim-components.json").read_text()), parts(render_component_map(catalog.component_map))
    assert list(theirs) == list(ours)
    return {("shim-components", where) for where in theirs if theirs[where] != ours[where]}


def class_differences(catalog, facts):
    """Compare every class with and without discovery; a difference that all classes have is named once."""
    found, extra = set(), set()
    made = {}
    for discovery in (False, True):
        text = render_runtime_classes(catalog, select_shims(catalog, ("all",), ()), ClassOptions(discovery=discovery))
        made[discovery] = {doc["metadata"]["name"]: doc for doc in yaml.safe_load_all(text)}
    for entry in facts["classes"]:
        for discovery, documents in made.items():
            document = documents.get(entry["name"])
            if document is None:
                found.add(("runtimeclasses", entry["shim"]))
                continue
            selector = {**entry["node_selector_always"], **entry["node_selector_from_values"]}
            fixed = dict(entry["overhead"])
            if discovery:
                selector.update(entry["node_selector_when_nfd"])
                fixed.update(entry["overhead_extended_resources_when_nfd_rules"])
            if document["overhead"]["podFixed"] != fixed or document["handler"] != entry["handler"]:
                found.add(("runtimeclasses", entry["shim"]))
            ours = document["scheduling"]["nodeSelector"]
            if ours != selector:
                extra.add(json.dumps(sorted(set(ours.items()) ^ set(selector.items()))))
    assert set(made[True]) <= {entry["name"] for entry in facts["classes"]}
    assert extra <= {json.dumps([[OWN, "true"]])}
    return found | ({("runtimeclasses", "scheduling.nodeSelector")} if extra else set())


def values_differences(catalog, facts):
    ours, theirs = yaml.safe_load(render_chart_values(catalog)), facts["values"]
    found = set()
    for section in {*ours, *theirs}:
        if ours.get(section) != theirs.get(section) or list(ours[section]) != list(theirs[section]):
            found.add(("chart-values", section))
    for shim in ours["shims"]:
        if ours["shims"][shim] != theirs["shims"].get(shim):
            found.add(("chart-values", f"shims.{shim}"))
    return found


def test_every_difference_is_documented_with_a_reason_and_every_documented_one_exists(catalog, upstream, documented):
    found = component_map_differences(catalog)
    found |= class_differences(catalog, upstream("runtimeclasses"))
    found |= values_differences(catalog, upstream("chart-values"))
    assert found == documented


def test_a_component_map_written_over_upstreams_is_upstreams_to_the_byte(catalog):
    theirs = (UPSTREAM / "shim-components.json").read_text()
    assert render_component_map(catalog.component_map, theirs) == theirs


def test_default_lists_are_upstreams(catalog, upstream):
    facts = upstream("shims")
    assert {arch: entry["default_shims"] for arch, entry in default_shims(catalog).items()} == facts["builtin_default_shims"]
    assert {arch: entry["default_shim"] for arch, entry in default_shims(catalog).items()} == facts["builtin_default_shim"]


def test_default_variables_say_the_same(catalog, upstream):
    facts = upstream("shims")
    lines = dict(line.split("=", 1) for line in render_default_variables(catalog).splitlines())
    for arch, shims in facts["builtin_default_shims"].items():
        assert lines[f"SHIMS_{arch.upper()}"] == f'"{" ".join(shims)}"'
        assert lines[f"DEFAULT_SHIM_{arch.upper()}"] == f'"{facts["builtin_default_shim"][arch]}"'
    assert len(lines) == 8


def test_release_lists_are_upstreams_in_its_order(catalog, upstream):
    facts = upstream("release-inputs")
    assert release_lists(catalog) == facts["bundles"]
    for bundle, rows in facts["bundles"].items():
        for arch in catalog.arches:
            names = render_tarball_names(catalog, bundle, arch).splitlines()
            assert names == [f"kata-static-{name}.tar.zst" for name in rows[arch.value]]


def test_which_classes_are_rendered_by_default_is_upstreams(catalog, upstream):
    ours = {shim.name for shim in select_shims(catalog, (), ())}
    assert ours == {entry["shim"] for entry in upstream("runtimeclasses")["classes"] if entry["rendered_by_default"]}


def test_variants_are_named_as_upstream_names_them(catalog, upstream):
    text = render_runtime_classes(catalog, select_shims(catalog, ("all",), ()), ClassOptions(debug=True, devkit=True))
    names = {doc["metadata"]["name"] for doc in yaml.safe_load_all(text)}
    classes = [entry for entry in upstream("runtimeclasses")["classes"] if entry["listed_in_values"]]
    assert names == {name for entry in classes for name in (entry["name"], *entry["variants"])}


@pytest.mark.parametrize("profile", [None, "try-kata-tee", "try-kata-nvidia-cpu", "try-kata-nvidia-gpu"])
def test_upstreams_values_and_profiles_pass_the_schema(catalog, upstream, profile):
    facts = upstream("chart-values")
    values = facts["values"] if profile is None else facts["profiles"][f"{profile}.values.yaml"]
    jsonschema.Draft7Validator(chart_schema(catalog)).validate(values)


def test_profiles_enable_the_shims_that_the_catalog_says(catalog, upstream):
    for profile, values in upstream("chart-values")["profiles"].items():
        enabled = {name for name, shim in values["shims"].items() if name != "disableAll" and shim["enabled"]}
        assert enabled == {shim.name for shim in catalog.shims.values() if profile in shim.profiles}
        assert SHARED not in json.dumps(values)
