"""``kata-bundle list``: shims, components, architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, json_option, manifests_option, pass_app

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle list shims
  kata-bundle list components --json
  kata-bundle list arches"""
)
@click.argument("what", type=click.Choice(["shims", "components", "arches"]))
@manifests_option
@json_option
@pass_app
def command(app: App, what: str) -> None:
    """List shims, components or architectures with their main facts."""
    from kata_bundle.cli.render import table_text

    headers, rows = {"shims": _shims, "components": _components, "arches": _arches}[what](app.catalog())
    document = [dict(zip(headers, row, strict=True)) for row in rows]
    app.emit(document, lambda: table_text(headers, [[_cell(value) for value in row] for row in rows]))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value is None else str(value)


def _shims(catalog: Catalog) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    return ("shim", "hypervisor", "family", "tee", "arches", "status"), [
        (s.name, s.hypervisor, s.family.value, s.tee.value if s.tee else None, [*s.arches], s.status.value)
        for s in catalog.shims.values()
    ]


def _components(catalog: Catalog) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    users: dict[str, set[str]] = {}
    for shim, arch in catalog.component_map.cells():
        for name in catalog.component_map.components(shim, arch) or ():
            users.setdefault(name, set()).add(shim)
    return ("component", "kind", "method", "licence", "arches", "shims"), [
        (c.name, c.kind.value, c.method, c.licence, [*c.arches], len(users.get(c.name, ()))) for c in catalog.components.values()
    ]


def _arches(catalog: Catalog) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    return ("arch", "go", "debian", "cells", "default shim", "default shims"), [
        (
            arch.value,
            arch.go_name,
            arch.debian_name,
            sum(row == arch.value for _, row in catalog.component_map.cells()),
            defaults.default_shim,
            len(defaults.default_shims),
        )
        for arch, defaults in catalog.arches.items()
    ]
