"""``kata-bundle show``: every fact of a shim or component, or what a bundle holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, json_option, manifests_option, pass_app
from kata_bundle.core.arch import Arch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.oci.bundle import Bundle

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle show qemu-snp
  kata-bundle show rootfs-image --json
  kata-bundle show qemu --kind component
  kata-bundle show out/"""
)
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["shim", "component", "bundle"]),
    help="Where a name stands for several: show only this one.",
)
@manifests_option
@json_option
@pass_app
def command(app: App, name: str, kind: str | None) -> None:
    """Show all facts of the shim or component NAME, both where both have that name; else what the bundle in folder NAME holds.

    Of a bundle its documents are checked; `kata-bundle install` checks every byte of its layers.
    """
    from pathlib import Path

    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import UsageError

    if kind == "bundle" or (kind is None and "/" in name):
        _show_bundle(app, name)
        return
    catalog = app.catalog()
    found: dict[str, dict[str, Any]] = {}
    if name in catalog.shims and kind != "component":
        found["shim"] = _shim(catalog, name)
    if name in catalog.components and kind != "shim":
        found["component"] = _component(catalog, name)
    if not found and kind is None and Path(name).is_dir():
        _show_bundle(app, name)
        return
    if not found:
        known = {*(catalog.shims if kind != "component" else ()), *(catalog.components if kind != "shim" else ())}
        message = f'"{name}" is no {kind or "shim and no component"}'
        raise UsageError(message, hint=did_you_mean(name, known) or "kata-bundle list shows the known names")
    app.emit(found, lambda: "\n\n".join(_text(f"{what} {name}", facts) for what, facts in found.items()))


def _show_bundle(app: App, folder: str) -> None:
    from pathlib import Path

    from kata_bundle.oci.bundle import open_bundle

    bundle = open_bundle(Path(folder))
    arches = {arch.value: bundle.index(arch).to_dict() for arch in bundle.arches()}
    app.emit({"bundle": {"digest": bundle.digest, "arches": arches}}, lambda: _bundle_text(bundle, folder))


def _bundle_text(bundle: Bundle, folder: str) -> str:
    from kata_bundle.cli.render import layers_table
    from kata_bundle.core.relpath import printable

    lines = [f"bundle {bundle.digest} in {printable(folder)}"]
    rows = []
    for arch in bundle.arches():
        index = bundle.index(arch)
        enabled = ", ".join(index.default_shims) or "none"
        shims, default = ", ".join(sorted(index.shims)), index.default_shim or "none"
        lines.append(f"{arch}: {shims}; enabled by default: {enabled}; default shim: {default}")
        users = {name: [shim for shim, names in sorted(index.shims.items()) if name in names] for name in index.layers}
        rows += [(layer, arch, users[layer.component]) for layer in index.ordered_layers]
    return "\n".join([*lines, "", layers_table(rows)])


def _shim(catalog: Catalog, name: str) -> dict[str, Any]:
    facts = catalog.shims[name].to_dict()
    del facts["name"]
    rows = catalog.component_map.shims.get(name, {})
    runtime_class = catalog.runtime_classes.get(name)
    facts["components"] = {arch: list(names) for arch, names in rows.items()}
    facts["default_on"] = [arch.value for arch, entry in catalog.arches.items() if name in entry.default_shims]
    facts["runtime_class"] = runtime_class.to_dict() if runtime_class else None
    return facts


def _component(catalog: Catalog, name: str) -> dict[str, Any]:
    component = catalog.components[name]
    facts = component.to_dict()
    del facts["name"]
    facts["tarball"] = component.tarball
    shims: dict[str, list[str]] = {}
    for shim, arch in catalog.component_map.cells():
        if name in (catalog.component_map.components(shim, arch) or ()):
            shims.setdefault(arch, []).append(shim)
    facts["shims"] = shims
    return facts


def _text(title: str, facts: Mapping[str, Any]) -> str:
    return "\n".join([title, *_lines(_same_everywhere(facts), "  ")])


_VERBATIM = frozenset(Arch)


def _same_everywhere(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``facts`` for people: what is equal on every architecture once, what is absent not at all."""
    result: dict[str, Any] = {}
    for key, value in facts.items():
        if value in (None, [], {}, ""):
            continue
        if key == "configs":
            result["configuration"] = _configuration(value)
        elif isinstance(value, dict):
            inner = _same_everywhere(value)
            first = next(iter(inner.values()), None)
            if len(inner) > 1 and _VERBATIM.issuperset(inner) and all(item == first for item in inner.values()):
                result[f"{key} on {', '.join(inner)}"] = first
            elif inner:
                result[key] = inner
        else:
            result[key] = value
    return result


def _configuration(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key in next(iter(configs.values())):
        values = {arch: config[key] for arch, config in configs.items()}
        distinct = list(values.values())
        if all(value == distinct[0] for value in distinct):
            if distinct[0] not in (None, []):
                result[key] = distinct[0]
        else:
            result[key] = {arch: "-" if value is None else value for arch, value in values.items()}
    return result


def _lines(facts: Mapping[str, Any], indent: str) -> Iterable[str]:
    width = max((len(key) for key, value in facts.items() if not isinstance(value, dict)), default=0)
    for key, value in facts.items():
        label = key if key in _VERBATIM else key.replace("_", " ")
        if isinstance(value, dict):
            yield f"{indent}{label}"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{label:<{width}}  {', '.join(map(str, value))}"
        else:
            shown = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            yield f"{indent}{label:<{width}}  {shown}"
