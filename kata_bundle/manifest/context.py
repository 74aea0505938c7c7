"""What rules look at: the documents of one folder that could be read, with their models and places.

Knows: documents, models, layers. Must not know: any rule. A document that could not be read is :class:`Unavailable` to rules,
which then have nothing to say; what is wrong with it was reported when it was read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.document import Document
from kata_bundle.manifest.layers import chart_values, component_outputs, component_values, config_values
from kata_bundle.manifest.positions import Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from kata_bundle.manifest.layers import Layered
    from kata_bundle.manifest.models import (
        ArchDocument,
        ComponentMapDocument,
        ComponentsDocument,
        RuntimeClassesDocument,
        ShimsDocument,
        UpstreamDocument,
    )

__all__ = ["Cell", "Checked", "Manifests", "Outputs", "Unavailable"]

M_co = TypeVar("M_co", bound="BaseModel", covariant=True)
T = TypeVar("T")


class Unavailable(Exception):  # noqa: N818 - not an error: a rule that needs what is not there says nothing
    """A rule asked for a document that could not be read."""


@dataclass(frozen=True, slots=True)
class Checked(Generic[M_co]):
    """A document and its model."""

    document: Document
    model: M_co


@dataclass(frozen=True, slots=True)
class Cell:
    """A row of the component map for an active shim."""

    shim: str
    arch: Arch
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What configurations may name of a component, below the prefix: files, and folders with their closing slash."""

    files: frozenset[str]
    folders: tuple[str, ...]

    def provide(self, path: str) -> bool:
        """Return whether ``path`` is one of them or lies in one of them."""
        return path in self.files or (bool(self.folders) and f"{path}/".startswith(self.folders))


@dataclass(kw_only=True, slots=True)
class Manifests:
    """All documents of a folder. ``folder`` is its name in findings, ``arches`` has the readable architecture documents."""

    folder: str
    arches: Mapping[Arch, Checked[ArchDocument]]
    arch_files: tuple[str, ...]
    """File names in ``arches/``."""
    map_or_none: Checked[ComponentMapDocument] | None
    shims_or_none: Checked[ShimsDocument] | None
    components_or_none: Checked[ComponentsDocument] | None
    classes_or_none: Checked[RuntimeClassesDocument] | None
    upstream_or_none: Checked[UpstreamDocument] | None
    build_rules_or_none: Mapping[str, Document] | None = None
    """By component; ``None`` when nobody asked for them."""
    weights_or_none: Mapping[tuple[str, Arch], int] | None = None
    """Bytes of packed components; ``None`` when nobody weighed any."""
    _cells: tuple[Cell, ...] | None = None
    _outputs: dict[tuple[str, Arch], Outputs] = field(default_factory=dict)
    _charts: dict[str, Layered] = field(default_factory=dict)
    _configs: dict[tuple[str, Arch], Layered] = field(default_factory=dict)
    _facts: dict[str, Layered] = field(default_factory=dict)

    @property
    def component_map(self) -> Checked[ComponentMapDocument]:
        """shim-components.json."""
        return _available(self.map_or_none)

    @property
    def shims(self) -> Checked[ShimsDocument]:
        """shims.toml."""
        return _available(self.shims_or_none)

    @property
    def components(self) -> Checked[ComponentsDocument]:
        """components.toml."""
        return _available(self.components_or_none)

    @property
    def runtime_classes(self) -> Checked[RuntimeClassesDocument]:
        """runtimeclasses.toml."""
        return _available(self.classes_or_none)

    @property
    def upstream(self) -> Checked[UpstreamDocument]:
        """upstream.toml."""
        return _available(self.upstream_or_none)

    @property
    def build_rules(self) -> Mapping[str, Document]:
        """The documents of build rules that could be read, by component."""
        return _available(self.build_rules_or_none)

    @property
    def weights(self) -> Mapping[tuple[str, Arch], int]:
        """Bytes of packed components, by component and architecture."""
        return _available(self.weights_or_none)

    def cells(self) -> tuple[Cell, ...]:
        """Return the rows of active shims, in the documents' order; components that do not exist are left out."""
        if self._cells is None:
            shims, components = self.shims.model.shims, self.components.model.components
            self._cells = tuple(
                Cell(name, Arch(arch), tuple(c for c in names if c in components))
                for name, row in self.component_map.model.shims.items()
                if name in shims and shims[name].status == "active" and self._has_bases(name)
                for arch, names in row.items()
            )
        return self._cells

    def _has_bases(self, shim: str) -> bool:
        entry = self.shims.model.shims[shim]
        return entry.family in self.shims.model.families and entry.hypervisor in self.shims.model.hypervisors

    def outputs(self, component: str, arch: Arch) -> Outputs:
        """Return what configurations may name of a component on an architecture; nothing where it is not built."""
        found = self._outputs.get((component, arch))
        if found is None:
            values = self.facts(component).values
            family = values.get("configurations")
            paths: tuple[str, ...] = ()
            if arch in (values.get("arches") or ()) and (family is None or family in self.shims.model.families):
                paths = component_outputs(self.shims.model, values, arch)
            folders = tuple(path for path in paths if path.endswith("/"))
            found = self._outputs[component, arch] = Outputs(frozenset(paths) - frozenset(folders), folders)
        return found

    def chart(self, shim: str) -> Layered:
        """Return the combined chart values of a shim, with their origins."""
        found = self._charts.get(shim)
        if found is None:
            found = self._charts[shim] = chart_values(self.shims.model, shim)
        return found

    def documents(self) -> tuple[Document, ...]:
        """Return every document that could be read."""
        found = (self.map_or_none, self.shims_or_none, self.components_or_none, self.classes_or_none, self.upstream_or_none)
        return (
            *(entry.document for entry in found if entry is not None),
            *(entry.document for entry in self.arches.values()),
        )

    def missing(self, name: str) -> Document:
        """Return a stand-in for the document ``name`` of this folder, to which a finding about its absence can point."""
        return Document(f"{self.folder}/{name}", "", None, Places())

    def config(self, shim: str, arch: Arch) -> Layered:
        """Return the combined configuration values of a shim on an architecture, with their origins."""
        found = self._configs.get((shim, arch))
        if found is None:
            found = self._configs[shim, arch] = config_values(self.shims.model, shim, arch)
        return found

    def facts(self, component: str) -> Layered:
        """Return the combined facts of a component, with their origins."""
        found = self._facts.get(component)
        if found is None:
            found = self._facts[component] = component_values(self.components.model, component)
        return found


def _available(found: T | None) -> T:
    if found is None:
        raise Unavailable
    return found
