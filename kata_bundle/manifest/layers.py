"""How layered settings combine: which table gives a value, later ones winning.

Knows: the models of shims.toml and components.toml. Must not know: other documents, positions. Every result says from which key
of the document it came, so that a finding about a combined value points at the line that set it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.models import (
        ChartLayer,
        ComponentsDocument,
        ConfigLayer,
        ShimEntry,
        ShimsDocument,
    )
    from kata_bundle.manifest.positions import KeyPath

__all__ = [
    "FILE_KEYS",
    "PREFIX",
    "Layered",
    "absolute",
    "chart_values",
    "component_outputs",
    "component_values",
    "config_values",
    "expand_names",
]

PREFIX = "/opt/kata"
"""Where components are installed unless an operator says otherwise; configuration files name paths below it."""

FILE_KEYS = (
    "hypervisor_path",
    "kernel",
    "image",
    "initrd",
    "installed_initrd",
    "firmware",
    "firmware_volume",
    "virtio_fs_daemon",
)


@dataclass(slots=True)
class Layered:
    """Combined values, and for each the key path that gave it."""

    values: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, KeyPath] = field(default_factory=dict)

    def put(self, key: str, value: Any, origin: KeyPath) -> None:
        """Set ``key``, replacing what an earlier layer said."""
        self.values[key] = value
        self.origin[key] = origin

    def lay(self, layer: Any, where: KeyPath, *, skip: tuple[str, ...] = ()) -> None:
        """Lay the keys that ``layer`` (a model) was given over the present ones."""
        for key in layer.model_fields_set:
            if key not in skip:
                self.put(key, getattr(layer, key), (*where, key))


def absolute(path: str) -> str:
    """Return a manifest path as configurations spell it: below the prefix unless it is on the host or a placeholder."""
    return path if path.startswith(("/", "@")) else f"{PREFIX}/{path}"


def _config_layers(document: ShimsDocument, name: str, shim: ShimEntry) -> Iterator[tuple[ConfigLayer, KeyPath]]:
    yield document.config, ("config",)
    family = document.families.get(shim.family)
    if family is not None:
        yield family.config, ("families", shim.family, "config")
    for group in shim.groups:
        entry = document.groups.get(group)
        if entry is not None:
            yield entry.config, ("groups", group, "config")
    yield shim.config, ("shims", name, "config")


def config_values(document: ShimsDocument, name: str, arch: Arch) -> Layered:
    """Return the configuration values of shim ``name`` on ``arch``, file paths absolute; unset keys are absent.

    The hypervisor's path follows from the hypervisor, the architecture and the QEMU artifact unless a layer gives it.
    """
    shim = document.shims[name]
    result = Layered()
    path = _hypervisor_path(document, shim, arch)
    if path is not None:
        result.put("hypervisor_path", path, ("shims", name, "qemu_artifact" if shim.qemu_artifact else "hypervisor"))
    for layer, where in _config_layers(document, name, shim):
        steps: list[tuple[Any, KeyPath]] = [(layer, where)]
        if arch.value in layer.on:
            steps.append((layer.on[arch.value], (*where, "on", arch.value)))
        for values, place in steps:
            result.lay(values, place, skip=("on", "unset"))
            for key in values.unset:
                result.values.pop(key, None)
                result.origin.pop(key, None)
    for key in FILE_KEYS:
        if key in result.values:
            result.values[key] = absolute(result.values[key])
    if "guest_extension_images" in result.values:
        result.values["guest_extension_images"] = [absolute(path) for path in result.values["guest_extension_images"]]
    return result


def _hypervisor_path(document: ShimsDocument, shim: ShimEntry, arch: Arch) -> str | None:
    hypervisor = document.hypervisors.get(shim.hypervisor)
    if hypervisor is None or hypervisor.binary is None or hypervisor.built_in:
        return None
    if hypervisor.binary != "{emulator}":
        return f"bin/{hypervisor.binary}"
    return f"bin/{arch.emulator}{(shim.qemu_artifact or 'qemu').removeprefix('qemu')}"


def chart_values(document: ShimsDocument, name: str) -> Layered:
    """Return the chart values of shim ``name``."""
    shim = document.shims[name]
    layers: list[tuple[ChartLayer, KeyPath]] = [(document.chart, ("chart",))]
    layers += [(document.groups[group].chart, ("groups", group, "chart")) for group in shim.groups if group in document.groups]
    layers.append((shim.chart, ("shims", name, "chart")))
    result = Layered()
    for layer, where in layers:
        result.lay(layer, where)
    return result


def component_values(document: ComponentsDocument, name: str) -> Layered:
    """Return the facts of component ``name``, ``{suffix}`` and ``{variant}`` and ``@lists`` expanded."""
    component = document.components[name]
    result = Layered()
    for group in component.groups:
        if group in document.groups:
            result.lay(document.groups[group], ("groups", group))
    result.lay(component, ("components", name), skip=("groups",))
    values = result.values
    for key in ("outputs", "paths"):
        values[key] = [_with_suffix(text, values) for text in values.get(key) or []]
    if values.get("cache_key"):
        values["cache_key"] = [*expand_names(document, values["cache_key"]), *document.cache.always]
    return result


def _with_suffix(text: str, values: dict[str, Any]) -> str:
    return text.replace("{suffix}", values.get("suffix") or "").replace("{variant}", values.get("variant") or "")


def expand_names(document: ComponentsDocument, items: list[str], depth: int = 0) -> list[str]:
    """Return ``items`` with every ``@name`` replaced by the list of that name; unknown names stay as they are.

    Lists may name lists, eight levels deep; what is deeper (or goes round) stays unexpanded and is found by its own rule.
    """
    result: list[str] = []
    for item in items:
        named = document.lists.get(item[1:]) if item.startswith("@") else None
        result += [item] if named is None or depth >= 8 else expand_names(document, named, depth + 1)
    return result


def component_outputs(shims: ShimsDocument, values: Mapping[str, Any], arch: Arch) -> tuple[str, ...]:
    """Return what configurations may name of a component with these layered ``values`` on ``arch``, below the prefix."""
    found = [path.replace("{emulator}", arch.emulator) for path in values["paths"]]
    found += (values.get("paths_on") or {}).get(arch.value, [])
    if values.get("measured") and values.get("variant") and arch.value not in (values.get("not_measured_on") or ()):
        found.append(f"share/kata-containers/root_hash_{values['variant']}.txt")
    family = values.get("configurations")
    if family:
        directory = shims.families[family].config_directory
        found += [
            f"{directory}/configuration-{name}.toml"
            for name, shim in sorted(shims.shims.items())
            if shim.family == family and arch.value in shim.configured_on
        ]
    return tuple(found)
