"""From documents that passed every check to the catalog.

Knows: models, layers, catalog. Must not know: files, positions, findings. Called only when no finding is an error, so that
references resolve and required values are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import ComponentMap
from kata_bundle.manifest.catalog import (
    ArchDefaults,
    Catalog,
    ChartEnabled,
    Component,
    ComponentKind,
    DefaultClass,
    Family,
    OverheadSource,
    Release,
    RuntimeClass,
    RuntimeFamily,
    Shim,
    ShimConfig,
    ShimStatus,
    Tee,
)
from kata_bundle.manifest.layers import chart_values, component_outputs, component_values, config_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.manifest.models import (
        ArchDocument,
        ComponentMapDocument,
        ComponentsDocument,
        RuntimeClassesDocument,
        ShimsDocument,
    )

__all__ = ["Documents", "resolve_catalog"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Documents:
    """All manifests of one folder."""

    component_map: ComponentMapDocument
    shims: ShimsDocument
    components: ComponentsDocument
    runtime_classes: RuntimeClassesDocument
    arches: Mapping[Arch, ArchDocument]


def resolve_catalog(documents: Documents) -> Catalog:
    """Return the catalog of checked ``documents``."""
    shims = {name: _shim(documents, name) for name in documents.shims.shims}
    return Catalog(
        component_map=ComponentMap(
            {shim: {arch: tuple(names) for arch, names in row.items()} for shim, row in documents.component_map.shims.items()}
        ),
        shims=shims,
        families={
            RuntimeFamily(name): Family(
                name=RuntimeFamily(name),
                component=family.component,
                shim_binary=family.shim_binary,
                config_directory=family.config_directory,
                template_directory=family.template_directory,
            )
            for name, family in documents.shims.families.items()
        },
        components={name: _component(documents, name) for name in documents.components.components},
        runtime_classes={
            name: _runtime_class(documents.runtime_classes, shims[name]) for name in documents.runtime_classes.classes
        },
        arches={
            arch: ArchDefaults(
                arch=arch,
                default_shims=tuple(entry.default_shims),
                default_shim=entry.default_shim,
                left_out=dict(entry.left_out),
            )
            for arch, entry in sorted(documents.arches.items(), key=lambda item: list(Arch).index(item[0]))
        },
        default_class=DefaultClass(
            name=documents.runtime_classes.default_class.name,
            created_by_default=documents.runtime_classes.default_class.created_by_default,
        ),
        release=Release(
            bundles={RuntimeFamily(k): v for k, v in documents.components.release.bundles.items()},
            adds=tuple(documents.components.release.adds),
            size_limit_bytes=documents.components.release.size_limit_bytes,
            version=documents.components.release.version,
        ),
    )


def _shim(documents: Documents, name: str) -> Shim:
    document = documents.shims
    entry = document.shims[name]
    family = document.families[entry.family]
    hypervisor = document.hypervisors[entry.hypervisor]
    status = ShimStatus(entry.status)
    is_qemu = hypervisor.binary == "{emulator}"
    arches = _arches(documents.component_map.shims.get(name, ()))
    chart = chart_values(document, name).values if status is ShimStatus.ACTIVE else {}
    configured = status is not ShimStatus.ALIAS
    return Shim(
        name=name,
        family=RuntimeFamily(entry.family),
        hypervisor=entry.hypervisor,
        hypervisor_binary=None if is_qemu else hypervisor.binary,
        qemu_artifact=(entry.qemu_artifact or "qemu") if is_qemu else None,
        status=status,
        alias_of=entry.alias_of,
        tee=Tee(entry.tee) if entry.tee else None,
        gpu=entry.gpu,
        coco_dev=entry.coco_dev,
        shim_component=family.component,
        shim_binary=family.shim_binary,
        config_file=f"configuration-{name}.toml" if configured else None,
        config_directory=family.config_directory,
        config_template=f"{family.template_directory}/configuration-{name}.toml.in" if configured else None,
        arches=arches,
        configs={arch: _config(document, name, arch) for arch in _arches(entry.configured_on)},
        profiles=tuple(entry.profiles),
        snapshotter=chart.get("snapshotter"),
        force_guest_pull=chart.get("force_guest_pull"),
        crio_guest_pull=chart.get("crio_guest_pull"),
        chart_enabled=ChartEnabled(chart["enabled"]) if "enabled" in chart else None,
        chart_arches=(_arches(chart["arches"]) if "arches" in chart else arches) if chart else (),
        allowed_hypervisor_annotations=tuple(chart.get("allowed_hypervisor_annotations", ())),
    )


def _arches(names: Iterable[str]) -> tuple[Arch, ...]:
    return tuple(Arch(name) for name in names)


def _config(document: ShimsDocument, name: str, arch: Arch) -> ShimConfig:
    values = config_values(document, name, arch).values
    return ShimConfig(
        hypervisor_table=document.shims[name].hypervisor,
        **{key: _frozen(values.get(key)) for key in ShimConfig.__slots__ if key != "hypervisor_table"},
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _component(documents: Documents, name: str) -> Component:
    values = component_values(documents.components, name).values
    arches = _arches(values["arches"])
    removal = values.get("removal_job")
    removal_on = values.get("removal_job_on") or {}
    outputs = {arch: component_outputs(documents.shims, values, arch) for arch in arches}
    not_measured = values.get("not_measured_on") or ()

    def texts(key: str) -> tuple[str, ...]:
        return tuple(values.get(key) or ())

    return Component(
        name=name,
        kind=ComponentKind(values["kind"]),
        flag=values.get("flag"),
        optional=values.get("optional"),
        licence=values["licence"],
        method=values["method"],
        method_on={Arch(arch): method for arch, method in (values.get("method_on") or {}).items()},
        features_on={Arch(arch): tuple(names) for arch, names in (values.get("features_on") or {}).items()},
        is_guest_part=bool(values.get("guest")),
        arches=arches,
        job=values.get("job"),
        removal_jobs={arch: removal_on.get(arch.value, removal) for arch in arches} if removal else {},
        untrusted_variant=bool(values.get("untrusted_variant")),
        outputs={arch: paths for arch, paths in outputs.items() if paths},
        output_patterns=texts("outputs"),
        variant=values.get("variant"),
        measured_on=tuple(arch for arch in arches if arch.value not in not_measured) if values.get("measured") else (),
        releases={RuntimeFamily(family): _arches(on) for family, on in (values.get("release") or {}).items()},
        build_depends_on=texts("build_depends_on"),
        scripts=texts("scripts"),
        version_keys=texts("version_keys"),
        version_keys_absent=texts("version_keys_absent"),
        cache_key=texts("cache_key"),
        builder_key=texts("builder_key"),
        sidecars=texts("sidecars"),
        extra_cache_tag=values.get("extra_cache_tag"),
        input_integrity=values.get("input_integrity"),
        build_flags=values.get("build_flags"),
        notes=values.get("notes"),
    )


def _runtime_class(document: RuntimeClassesDocument, shim: Shim) -> RuntimeClass:
    entry = document.classes[shim.name]
    source = document.sources[entry.overhead.source]
    always = dict(document.node_selector) | dict(entry.node_selector)
    with_discovery: dict[str, str] = {}
    resources: dict[str, str] = {}
    if shim.tee is not None:
        tee = document.tees[shim.tee.value]
        (always if entry.tee_label == "always" else with_discovery)[tee.label] = "true"
        if tee.resource is not None:
            resources[tee.resource] = "1"
    name = f"{document.name_prefix}{shim.name}"
    return RuntimeClass(
        shim=shim.name,
        name=name,
        memory=entry.overhead.memory,
        cpu=entry.overhead.cpu,
        source=OverheadSource(source=source.source, date=source.date, method=source.method),
        node_selector=always,
        node_selector_with_discovery=with_discovery,
        resources_with_discovery=resources,
        arches=shim.chart_arches,
        rendered_by_default=shim.chart_enabled is ChartEnabled.FOLLOW_DISABLE_ALL,
        variants=tuple(f"{name}-{variant}" for variant in document.variants) if shim.is_active else (),
    )
