"""The closure of a selection: each component once, with the shims that need it.

Knows: the component map. Must not know: files, stores, archives, the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import UsageError
from kata_bundle.plan.selection import ALL, Cell, resolve_cells

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.selection import Selection

__all__ = ["Plan", "PlannedComponent", "Reason", "plan_closure", "why"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedComponent:
    """A component that a plan needs on one architecture, and the selected shims that list it (sorted)."""

    arch: Arch
    component: str
    needed_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The cells of a selection and the union of their components, architectures in the order asked for, components sorted."""

    cells: tuple[Cell, ...]
    components: tuple[PlannedComponent, ...]
    is_everything: bool
    """Whether all shims were asked for, instead of some by name."""

    @property
    def arches(self) -> tuple[Arch, ...]:
        """The architectures that have at least one cell."""
        return tuple(dict.fromkeys(cell.arch for cell in self.cells))

    def shims_on(self, arch: Arch) -> tuple[str, ...]:
        """Return the selected shims on ``arch``, sorted."""
        return tuple(cell.shim for cell in self.cells if cell.arch is arch)

    def components_on(self, arch: Arch) -> tuple[PlannedComponent, ...]:
        """Return the components needed on ``arch``, sorted by name."""
        return tuple(planned for planned in self.components if planned.arch is arch)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "arches": {
                arch.value: {
                    "shims": list(self.shims_on(arch)),
                    "components": {c.component: {"needed_by": list(c.needed_by)} for c in self.components_on(arch)},
                }
                for arch in self.arches
            }
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Whether a shim's cell lists a component, and which other shims on that architecture do."""

    arch: Arch
    shim: str
    component: str
    listed: bool
    also_needed_by: tuple[str, ...]
    siblings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "arch": self.arch.value,
            "shim": self.shim,
            "component": self.component,
            "needed": self.listed,
            "also_needed_by": list(self.also_needed_by),
            "components_of_shim": list(self.siblings),
        }


def plan_closure(catalog: Catalog, selection: Selection) -> Plan:
    """Return the plan of ``selection``; raise :class:`UsageError` as :func:`resolve_cells` does."""
    cells = resolve_cells(catalog, selection)
    components = [
        PlannedComponent(arch=arch, component=name, needed_by=needed_by)
        for arch in dict.fromkeys(cell.arch for cell in cells)
        for name, needed_by in catalog.component_map.select(
            (cell.shim for cell in cells if cell.arch is arch), arch
        ).needed_by.items()
    ]
    return Plan(cells=cells, components=tuple(components), is_everything=ALL in selection.shims)


def why(catalog: Catalog, shim: str, component: str, arches: tuple[Arch, ...]) -> tuple[Reason, ...]:
    """Return, per architecture on which ``shim`` has a cell, whether and beside whom it needs ``component``.

    Raises :class:`UsageError` for an unknown shim or component and for a shim without a cell on any of ``arches``.
    """
    component_map = catalog.component_map
    if shim not in component_map.shims:
        msg = f'unknown shim "{shim}"'
        raise UsageError(msg, hint=did_you_mean(shim, component_map.shims) or "kata-bundle list shims shows the known ones")
    if component not in catalog.components:
        msg = f'unknown component "{component}"'
        raise UsageError(
            msg, hint=did_you_mean(component, catalog.components) or "kata-bundle list components shows the known ones"
        )
    reasons = []
    for arch in arches:
        row = component_map.components(shim, arch)
        if row is None:
            continue
        users = sorted(s for s, on in component_map.shims.items() if s != shim and component in on.get(arch, ()))
        reasons.append(
            Reason(
                arch=arch,
                shim=shim,
                component=component,
                listed=component in row,
                also_needed_by=tuple(users),
                siblings=tuple(sorted(row)),
            )
        )
    if not reasons:
        msg = f'shim "{shim}" has no components on {", ".join(arches)}'
        raise UsageError(msg, hint=f'"{shim}" exists on {", ".join(component_map.shims[shim])}')
    return tuple(reasons)
