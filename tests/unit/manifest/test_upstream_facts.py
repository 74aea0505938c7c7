"""Every fact of upstream's documents can be rebuilt from the catalog, where it is stated once."""

import json
from functools import cache
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.manifest import load_catalog
from kata_bundle.manifest.catalog import ChartEnabled, ComponentKind, RuntimeFamily, ShimStatus

UPSTREAM = Path(__file__).parents[2] / "fixtures" / "upstream"
GO, RUST = RuntimeFamily.GO, RuntimeFamily.RUST


@cache
def upstream(name):
    return json.loads((UPSTREAM / f"{name}.json").read_text())


@cache
def catalog():
    loaded, report = load_catalog()
    assert loaded is not None, [str(f) for f in report]
    return loaded


def names(arches):
    return [arch.value for arch in arches]


def shim_facts(shim):
    """Rebuild an entry of shims.json."""
    cat = catalog()
    alias = shim.status is ShimStatus.ALIAS
    active = shim.is_active
    defaults = cat.arches.values()
    return {
        "shim": shim.name,
        "hypervisor_table": None if alias else shim.hypervisor,
        "runtime_family": shim.family.value,
        "shim_component": shim.shim_component,
        "config_file": shim.config_file,
        "config_directory": shim.config_directory,
        "config_template": shim.config_template,
        "config_generated_on": sorted(shim.configs),
        "qemu_artifact": shim.qemu_artifact,
        "qemu_artifact_suffix": shim.qemu_artifact_suffix,
        "in_shim_components": shim.name in cat.component_map.shims,
        "arches_in_shim_components": sorted(shim.arches),
        "in_installer_list": shim.status is not ShimStatus.UNFINISHED,
        "in_values": active,
        "in_runtimeclass_overheads": shim.name in cat.runtime_classes,
        "arches_in_values": names(shim.chart_arches),
        "enabled_in_values": {
            ChartEnabled.FOLLOW_DISABLE_ALL: "follow-disableAll",
            ChartEnabled.ALWAYS: True,
            ChartEnabled.NEVER: False,
            None: None,
        }[shim.chart_enabled],
        "in_builtin_default_list_for": [d.arch.value for d in defaults if shim.name in d.default_shims],
        "values_default_for": [d.arch.value for d in defaults if shim.name == d.default_shim],
        "builtin_default_for": [d.arch.value for d in defaults if shim.name == d.default_shim],
        "snapshotter": shim.snapshotter,
        "force_guest_pull": shim.force_guest_pull,
        "crio_guest_pull": shim.crio_guest_pull,
        "tee_type": shim.tee.value if shim.tee else None,
        "coco_dev": shim.coco_dev,
        "gpu": shim.gpu,
        "allowed_hypervisor_annotations_in_values": list(shim.allowed_hypervisor_annotations) if active else None,
        "profiles": list(shim.profiles),
        "per_arch_config": {arch.value: config_facts(config) for arch, config in shim.configs.items()},
    }


def config_facts(config):
    facts = config.to_dict()
    initrd = facts.pop("installed_initrd")
    if initrd is not None:
        name = initrd.rpartition("/")[2]
        facts["install_time_rewrite"] = f"image is replaced by {name} when the shim tarball is built"
    return facts


@pytest.mark.parametrize("entry", upstream("shims")["shims"], ids=lambda e: e["shim"])
def test_every_fact_of_a_shim_is_rebuilt(entry):
    assert shim_facts(catalog().shims[entry["shim"]]) == entry


def test_the_catalog_has_no_other_shims():
    assert set(catalog().shims) == {entry["shim"] for entry in upstream("shims")["shims"]}
    assert sum(len(shim.configs) for shim in catalog().shims.values()) == 80


def test_defaults_and_lists_of_the_installer_are_rebuilt():
    facts, cat = upstream("shims"), catalog()
    assert {a.value: list(d.default_shims) for a, d in cat.arches.items()} == facts["builtin_default_shims"]
    for key in ("builtin_default_shim", "values_default_shim"):
        assert {a.value: d.default_shim for a, d in cat.arches.items()} == facts[key]
    known = [s for s in cat.shims.values() if s.status is not ShimStatus.UNFINISHED]
    assert sorted(s.name for s in known) == sorted(facts["installer_all_shims"])
    assert sorted(s.name for s in known if s.family is RUST) == sorted(facts["installer_rust_shims"])
    exceptions = {s.name: s.qemu_artifact for s in known if s.qemu_artifact not in {None, "qemu"}}
    assert exceptions == facts["qemu_artifact_exceptions"]
    assert {a.go_name: a.value for a in Arch} == facts["arch_names"]["values"]


def class_facts(klass):
    shim = catalog().shims[klass.shim]
    from_values = dict(klass.node_selector)
    del from_values["katacontainers.io/kata-runtime"]
    return {
        "shim": klass.shim,
        "name": klass.name,
        "handler": klass.name,
        "overhead": {"memory": klass.memory, "cpu": klass.cpu},
        "node_selector_always": {"katacontainers.io/kata-runtime": "true"},
        "node_selector_from_values": from_values,
        "node_selector_when_nfd": dict(klass.node_selector_with_discovery),
        "overhead_extended_resources_when_nfd_rules": dict(klass.resources_with_discovery),
        "arches": names(klass.arches),
        "rendered_by_default": klass.rendered_by_default,
        "listed_in_values": shim.is_active,
        "variants": list(klass.variants),
        "source": klass.source.source.removeprefix("kata-containers: "),
    }


@pytest.mark.parametrize("entry", upstream("runtimeclasses")["classes"], ids=lambda e: e["shim"])
def test_every_fact_of_a_runtime_class_is_rebuilt(entry):
    assert class_facts(catalog().runtime_classes[entry["shim"]]) == entry


def test_there_are_no_other_runtime_classes_and_the_default_class_is_rebuilt():
    facts = upstream("runtimeclasses")
    assert set(catalog().runtime_classes) == {entry["shim"] for entry in facts["classes"]}
    default = facts["rules"]["default_class"]
    assert (catalog().default_class.name, catalog().default_class.created_by_default) == (
        default["name"],
        default["created_by_default"],
    )


def component_facts(component):
    cat = catalog()
    shims = {}
    for shim, arch in cat.component_map.cells():
        if component.name in cat.component_map.components(shim, arch):
            shims.setdefault(arch, []).append(shim)
    facts = {
        "component": component.name,
        "tarball": component.tarball,
        "make_target": f"{component.name}-tarball",
        "kind": "shipped" if component.kind is ComponentKind.FLAG else component.kind.value,
        "method": method_text(component),
        "outputs": list(component.output_patterns) + root_hash_pattern(component),
        "versions_yaml_keys": list(component.version_keys),
        "versions_yaml_keys_absent": list(component.version_keys_absent),
        "script_folders": list(component.scripts),
        "cache_key_parts": list(component.cache_key),
        "builder_image_key": list(component.builder_key) or None,
        "build_depends_on": list(component.build_depends_on),
        "cache_sidecars": list(component.sidecars),
        "input_integrity": component.input_integrity,
        "notes": component.notes,
        "workflow_job_by_arch": {arch.value: component.job for arch in component.arches},
        "stable_paths_by_arch": {arch.value: sorted(paths) for arch, paths in component.outputs.items()},
        "shims_by_arch": {arch: sorted(found) for arch, found in shims.items()},
        "in_bundles": {cat.release.bundles[family]: names(component.releases.get(family, ())) for family in (RUST, GO)},
    }
    if component.extra_cache_tag:
        facts["extra_cache_tag"] = component.extra_cache_tag
    if component.build_flags:
        facts["build_flags"] = component.build_flags
    if component.is_guest_part:
        facts["root"] = "guest"
    if component.name.startswith("rootfs-") and not component.name.endswith(("coco-extension", "devkit-extension")):
        facts["measured_rootfs"] = measured_text(component)
    return facts


def method_text(component):
    if not component.method_on:
        return component.method
    [(arch, method)] = component.method_on.items()
    return f"{method} on {arch} (features {','.join(component.features_on[arch])}), {component.method} elsewhere"


def root_hash_pattern(component):
    if component.variant is None:
        return []
    rare = component.name.endswith(("coco-extension", "devkit-extension"))
    return [f"share/kata-containers/root_hash_{component.variant}.txt" + (" (not on s390x)" if rare else "")]


def measured_text(component):
    if not component.measured_on:
        return False
    return True if set(component.measured_on) == set(component.arches) else "all but s390x"


@pytest.mark.parametrize("entry", upstream("component-outputs")["components"], ids=lambda e: e["component"])
def test_every_fact_of_a_component_is_rebuilt(entry):
    expected = dict(entry)
    expected["stable_paths_by_arch"] = {arch: sorted(paths) for arch, paths in entry["stable_paths_by_arch"].items()}
    expected["shims_by_arch"] = {arch: sorted(found) for arch, found in entry["shims_by_arch"].items()}
    assert component_facts(catalog().components[entry["component"]]) == expected


def test_the_catalog_has_no_other_components():
    facts = upstream("component-outputs")
    assert set(catalog().components) == {entry["component"] for entry in facts["components"]}
    assert list(catalog().release.adds) == facts["merged_bundles_add"]
    measured = {c.variant for c in catalog().components.values() if c.variant}
    assert measured == set(facts["measured_rootfs_variants"])


def test_release_bundles_and_their_limit_are_rebuilt():
    facts, cat = upstream("release-inputs"), catalog()
    assert {bundle: family.value for family, bundle in cat.release.bundles.items()} == facts["bundle_families"]
    assert cat.release.size_limit_bytes == facts["size_limit_bytes"]
    for family, bundle in cat.release.bundles.items():
        for arch in Arch:
            found = [c for c in cat.components.values() if arch in c.releases.get(family, ())]
            expected = facts["bundles"][bundle][arch.value]
            assert [c.name for c in sorted(found, key=lambda c: c.tarball)] == expected


def test_build_matrices_are_rebuilt():
    for arch in Arch:
        matrix = {}
        for component in catalog().components.values():
            if arch in component.arches and component.job:
                name = f"fake-{component.name}" if component.untrusted_variant else component.name
                matrix.setdefault(component.job, set()).add(name)
            if arch in component.removal_jobs:
                removed = [s.removeprefix("kata-static-").removesuffix(".tar.zst") for s in component.sidecars]
                matrix.setdefault(component.removal_jobs[arch], set()).update(removed or [component.name])
        expected = upstream("release-inputs")["workflow_matrices"][arch.value]
        assert matrix == {job: set(assets) for job, assets in expected.items()}


def test_the_component_map_is_upstreams():
    assert catalog().component_map.to_dict()["shims"] == upstream("shim-components")["shims"]
    assert len(catalog().component_map.cells()) == 43
