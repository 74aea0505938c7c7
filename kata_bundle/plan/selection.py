"""What a user asks for, and the cells it stands for.

Knows: the catalog. Must not know: where the words came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import UsageError

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["ALL", "DEFAULT", "Cell", "Selection", "resolve_cells"]

ALL = "all"
"""Stands for every shim that has a cell on the architecture."""
DEFAULT = "default"
"""Stands for the architecture's default shims that have a cell there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Shim names (or ``all`` / ``default``) and architectures as asked for, in that order, without repeats."""

    shims: tuple[str, ...]
    arches: tuple[Arch, ...]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Cell:
    """One (architecture, shim) pair of the component map."""

    arch: Arch
    shim: str


def resolve_cells(catalog: Catalog, selection: Selection) -> tuple[Cell, ...]:
    """Return the cells of ``selection``, architectures in order, shims sorted.

    A named shim may lack a cell on some of several architectures (it contributes nothing there) but not on all of them. Raises
    :class:`UsageError` naming every wrong word at once: unknown shims, shims without any cell in the selection, and a selection
    that is empty; an empty selection never means everything.
    """
    component_map = catalog.component_map
    problems: list[str] = []
    hints: list[str] = []
    cells: set[Cell] = set()
    if not selection.shims:
        problems.append("no shim selected")
        hints.append(f'name shims, or "{ALL}" or "{DEFAULT}"')
    for word in selection.shims:
        found = False
        for arch in selection.arches:
            for shim in _expand(catalog, word, arch):
                if component_map.components(shim, arch) is not None:
                    cells.add(Cell(arch=arch, shim=shim))
                    found = True
        if found:
            continue
        arches = ", ".join(selection.arches)
        if word in {ALL, DEFAULT} or word in component_map.shims:
            problems.append(f'shim "{word}" has no components on {arches}')
            known = ", ".join(component_map.shims.get(word, ()))
            if known:
                hints.append(f'"{word}" exists on {known}')
        else:
            problems.append(f'unknown shim "{word}"')
            hints.append(did_you_mean(word, component_map.shims) or "kata-bundle list shims shows the known ones")
    if problems:
        raise UsageError("; ".join(problems), hint="; ".join(dict.fromkeys(hints)) or None)
    order = {arch: i for i, arch in enumerate(selection.arches)}
    return tuple(sorted(cells, key=lambda cell: (order[cell.arch], cell.shim)))


def _expand(catalog: Catalog, word: str, arch: Arch) -> tuple[str, ...]:
    if word == ALL:
        return tuple(catalog.component_map.shims)
    if word == DEFAULT:
        return catalog.arches[arch].default_shims
    return (word,)
