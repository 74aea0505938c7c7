"""A page per shim, and an index of them: what it is, what it needs where, how it is configured, its RuntimeClass.

Everything on a page is a fact of the catalog, so that a page cannot be out of date: the files are compared with what the catalog
gives. Must not know: where the pages are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.generate.markdown import code, markdown_table
from kata_bundle.generate.runtimeclasses import ClassOptions, runtime_classes
from kata_bundle.generate.yamltext import render_yaml
from kata_bundle.manifest.catalog import ChartEnabled, RuntimeFamily, ShimStatus, Tee
from kata_bundle.plan.why import settings_of_component

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog, Shim

__all__ = ["INDEX", "NOTE", "render_shim_docs"]

INDEX = "README.md"
"""Name of the page that lists the others."""

NOTE = "<!-- Written by `kata-bundle generate shim-docs`: change the manifests, not this page. -->\n"
"""How every page begins."""

_HYPERVISORS = {
    "qemu": "QEMU",
    "clh": "Cloud Hypervisor",
    "dragonball": "Dragonball, which is part of the shim",
    "firecracker": "Firecracker",
    "openvmm": "OpenVMM",
    "stratovirt": "StratoVirt",
    "remote": "another service, reached over the network",
}
_FAMILIES = {RuntimeFamily.GO: "Go", RuntimeFamily.RUST: "Rust"}
_TEES = {Tee.SNP: "AMD SEV-SNP", Tee.TDX: "Intel TDX", Tee.SE: "IBM Secure Execution"}
_ENABLED = {
    ChartEnabled.FOLLOW_DISABLE_ALL: "yes, unless all are disabled",
    ChartEnabled.ALWAYS: "yes",
    ChartEnabled.NEVER: "no",
}


def render_shim_docs(catalog: Catalog) -> dict[str, str]:
    """Return file name → text: one page a shim, and the index."""
    return {INDEX: _index(catalog), **{f"{name}.md": _page(catalog, shim) for name, shim in catalog.shims.items()}}


def _index(catalog: Catalog) -> str:
    rows = [
        (
            f"[{shim.name}]({shim.name}.md)",
            _HYPERVISORS.get(shim.hypervisor, shim.hypervisor).partition(",")[0],
            _FAMILIES[shim.family],
            _TEES[shim.tee] if shim.tee else "",
            ", ".join(shim.arches) or shim.status.value,
            ", ".join(arch for arch, entry in catalog.arches.items() if shim.name in entry.default_shims),
        )
        for shim in catalog.shims.values()
    ]
    table = markdown_table(("shim", "hypervisor", "runtime", "confidential", "architectures", "installed by default on"), rows)
    text = "What a user enables on a cluster. Words are explained in the [glossary](../glossary.md)."
    return f"{NOTE}\n# Shims\n\n{text}\n\n{table}\n"


def _page(catalog: Catalog, shim: Shim) -> str:
    parts = [NOTE, f"# {shim.name}\n", _summary(shim) + "\n", _facts(catalog, shim)]
    if shim.arches:
        parts += ["\n## Components\n", _components(catalog, shim)]
    if shim.configs:
        parts += ["\n## Configuration\n", _configuration(shim)]
    if shim.is_active and shim.name in catalog.runtime_classes:
        parts += ["\n## RuntimeClass\n", _runtime_class(catalog, shim)]
    if shim.arches:
        parts += ["\n## Look at it\n", _commands(catalog, shim)]
    return "\n".join(parts).rstrip("\n") + "\n"


def _summary(shim: Shim) -> str:
    if shim.status is ShimStatus.ALIAS:
        return f"Another name of [{shim.alias_of}]({shim.alias_of}.md) that installers accept. Nothing else exists for it."
    text = f"Guests run in {_HYPERVISORS.get(shim.hypervisor, shim.hypervisor)}, driven by the {_FAMILIES[shim.family]} runtime."
    if shim.tee:
        text += f" They are confidential: {_TEES[shim.tee]}."
    if shim.coco_dev:
        text += " For developing confidential containers on machines without the hardware for them; nothing is confidential."
    if shim.gpu:
        text += " Graphics processors are passed through to them."
    if shim.status is ShimStatus.UNFINISHED:
        text += " Not complete: no component is listed for it, and installers do not know it."
    return text


def _facts(catalog: Catalog, shim: Shim) -> str:
    rows: list[tuple[str, str]] = [("runtime", f"{code(shim.shim_binary)} from {code(shim.shim_component)}")]
    if shim.qemu_artifact:
        rows.append(("emulator from", code(shim.qemu_artifact)))
    elif shim.hypervisor_binary:
        rows.append(("hypervisor's program", code(shim.hypervisor_binary)))
    if shim.config_file:
        rows.append(("configuration", code(f"{shim.config_directory}/{shim.config_file}")))
    rows.append(("architectures", ", ".join(shim.arches) or "none"))
    defaults = [arch.value for arch, entry in catalog.arches.items() if shim.name in entry.default_shims]
    rows.append(("installed by default on", ", ".join(defaults) or "none"))
    for arch, entry in catalog.arches.items():
        if shim.name in entry.left_out:
            rows.append((f"not by default on {arch}", entry.left_out[shim.name]))
    standing = [arch.value for arch, entry in catalog.arches.items() if shim.name == entry.default_shim]
    if standing:
        rows.append(("the default shim on", ", ".join(standing)))
    if shim.chart_enabled is not None:
        rows.append(("enabled in a chart's values", _ENABLED[shim.chart_enabled]))
        rows.append(("offered by a chart on", ", ".join(shim.chart_arches) or "none"))
        rows.append(("snapshotter", code(shim.snapshotter) if shim.snapshotter else "the container runtime's own"))
        pulls = [*(["CRI-O"] if shim.crio_guest_pull else []), *(["containerd"] if shim.force_guest_pull else [])]
        rows.append(("images are pulled inside the guest with", ", ".join(pulls) or "none"))
    if shim.profiles:
        rows.append(("enabled by profiles", ", ".join(map(code, shim.profiles))))
    return markdown_table(("fact", "value"), rows)


def _components(catalog: Catalog, shim: Shim) -> str:
    used: dict[str, None] = {}
    for arch in shim.arches:
        used.update(dict.fromkeys(catalog.component_map.components(shim.name, arch) or ()))
    rows = []
    for name in used:
        component = catalog.components[name]
        on = [name in (catalog.component_map.components(shim.name, arch) or ()) for arch in shim.arches]
        keys = dict.fromkeys(s.key for arch in shim.arches for s in settings_of_component(shim, component, arch))
        purpose = "the shim itself" if name == shim.shim_component else ", ".join(map(code, keys))
        if not purpose and component.optional:
            purpose = f"optional: {component.optional}"
        rows.append((code(name), *("yes" if here else "" for here in on), purpose))
    return markdown_table(("component", *shim.arches, "what for: the settings that name it"), rows)


def _configuration(shim: Shim) -> str:
    arches = [arch for arch in shim.configs if arch in shim.arches] or list(shim.configs)
    values = {arch: shim.configs[arch].to_dict() for arch in arches}
    rows = []
    for key in values[arches[0]]:
        if key == "hypervisor_table":
            continue
        cells = [_value(values[arch][key]) for arch in arches]
        if any(cells):
            rows.append((code(key), *(cell or "not set" for cell in cells)))
    left_out = [arch.value for arch in shim.arches if arch not in shim.configs]
    note = f"\n\nNo configuration is made for {', '.join(left_out)}, though components are listed there." if left_out else ""
    table = code(f"[hypervisor.{shim.hypervisor}]")
    head = f"Table {table} and what else differs between shims; paths as built, before an install moves them.\n\n"
    return head + markdown_table(("setting", *(arch.value for arch in arches)), _merged(rows, len(arches))) + note


def _merged(rows: Sequence[tuple[str, ...]], count: int) -> Iterable[tuple[str, ...]]:
    """Write a value that all architectures share once."""
    for key, *cells in rows:
        same = count > 1 and all(cell == cells[0] for cell in cells)
        yield (key, cells[0], *("same" for _ in cells[1:])) if same else (key, *cells)


def _value(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(code(str(item)) for item in value)
        case _:
            return code(str(value))


def _runtime_class(catalog: Catalog, shim: Shim) -> str:
    found = catalog.runtime_classes[shim.name]
    (plain,) = runtime_classes(catalog, [shim], ClassOptions())
    source = found.source
    text = f"A pod asks for it with {code(f'runtimeClassName: {found.name}')}. "
    text += f"Overhead: {source.method} in {code(source.source)} ({source.date.isoformat()}).\n\n```yaml\n{render_yaml(plain)}```"
    extra: Mapping[str, str] = {**found.node_selector_with_discovery}
    if extra or found.resources_with_discovery:
        text += "\n\nWith node feature discovery"
        text += f" it also selects {_pairs(extra)}" if extra else ""
        text += " and" if extra and found.resources_with_discovery else ""
        text += f" it also requests {_pairs(found.resources_with_discovery)}" if found.resources_with_discovery else ""
        text += "."
    if found.variants:
        suffixed = code(f"{found.name}-S")
        text += f"\n\nVariants: {', '.join(map(code, found.variants))}. With an install suffix S the name is {suffixed}."
    return text


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(code(f"{key}: {value}") for key, value in values.items())


def _commands(catalog: Catalog, shim: Shim) -> str:
    arch: Arch = shim.arches[0]
    row = catalog.component_map.components(shim.name, arch) or (shim.shim_component,)
    lines = [
        f"kata-bundle plan --shim {shim.name} --arch {','.join(shim.arches)}",
        f"kata-bundle why {shim.name} {row[-1]} --arch {arch}",
        f"kata-bundle generate runtimeclasses --shim {shim.name}",
    ]
    return "```sh\n" + "\n".join(lines[: None if shim.is_active else 2]) + "\n```"
