"""The closure of a selection: each component once, with the shims that need it.

Knows: the component map. Must not know: files, stores, archives, the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.plan.selection import ALL, Cell, resolve_cells

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.selection import Selection

__all__ = ["Plan", "PlannedComponent", "plan_closure"]


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
