"""What a user can select in a tree: pairs of shim and architecture, whichever list states them.

Knows: that the component map states cells since 2026, the chart's table of shims before, and only the generated configurations
before that. Must not know: rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.catalog import RuntimeFamily
    from kata_bundle.manifest.upstream.facts import Cell, Configuration, UpstreamTree

__all__ = ["Selectable", "arch_of", "configuration_of", "selectable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selectable:
    """A shim on an architecture. ``cell`` is its row in the component map, where the tree has one."""

    shim: str
    arch: Arch
    span: Span
    cell: Cell | None

    def components(self, tree: UpstreamTree) -> frozenset[str]:
        """Return what is there when this is installed: the cell's components; without a map everything that is built."""
        return tree.built_on(self.arch) if self.cell is None else frozenset(self.cell.names())


def arch_of(name: str) -> Arch | None:
    """Return the architecture that ``name`` is in any vocabulary, ``None`` when it is none of ours."""
    try:
        return Arch.parse(name)
    except UsageError:
        return None


def selectable(tree: UpstreamTree) -> Iterator[Selectable]:
    """Yield what can be selected, each once."""
    if tree.cells is not None:
        for cell in tree.cells.values():
            arch = arch_of(cell.arch)
            if arch is not None:
                yield Selectable(shim=cell.shim, arch=arch, span=cell.span, cell=cell)
        return
    if tree.chart is not None and tree.chart.shims:
        for shim in tree.chart.shims.values():
            for item in shim.arches or ():
                arch = arch_of(item.name)
                if arch is not None:
                    yield Selectable(shim=shim.name, arch=arch, span=item.span, cell=None)
        return
    seen: set[str] = set()
    for listing in tree.shim_lists:
        for item in listing.items:
            if item.name not in seen:
                seen.add(item.name)
                for arch in _likely(tree, item.name):
                    yield Selectable(shim=item.name, arch=arch, span=item.span, cell=None)


def _likely(tree: UpstreamTree, shim: str) -> tuple[Arch, ...]:
    """Return where ``shim`` is meant to run in a tree that says it nowhere: makefiles generate most configurations everywhere."""
    if shim == "qemu":
        return tuple(arch for arch in Arch if tree.built_on(arch))
    words = shim.split("-")
    if "se" in words:
        return (Arch.S390X,)
    return (Arch.AARCH64,) if "cca" in words else (Arch.X86_64,)


def configuration_of(tree: UpstreamTree, shim: str, arch: Arch, family: RuntimeFamily | None = None) -> Configuration | None:
    """Return the configuration that ``shim`` uses on ``arch``, ``None`` when none is installed for it."""
    family = tree.family(shim) if family is None else family
    build = None if family is None else tree.runtimes.get(family)
    return None if build is None else build.configurations.get((f"configuration-{shim}.toml", arch))
