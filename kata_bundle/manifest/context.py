"""What rules look at: the documents of one folder that could be read, with their models and places.

Knows: documents, models, layers. Must not know: any rule. A document that could not be read is :class:`Unavailable` to rules,
which then have nothing to say; what is wrong with it was reported when it was read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel

from kata_bundle.manifest.document import Document
from kata_bundle.manifest.layers import component_values, config_values
from kata_bundle.manifest.positions import Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.layers import Layered
    from kata_bundle.manifest.models import (
        ArchDocument,
        ComponentMapDocument,
        ComponentsDocument,
        RuntimeClassesDocument,
        ShimsDocument,
    )

__all__ = ["Checked", "Manifests", "Unavailable"]

M_co = TypeVar("M_co", bound=BaseModel, covariant=True)
T = TypeVar("T")


class Unavailable(Exception):  # noqa: N818 - not an error: a rule that needs what is not there says nothing
    """A rule asked for a document that could not be read."""


@dataclass(frozen=True, slots=True)
class Checked(Generic[M_co]):
    """A document and its model."""

    document: Document
    model: M_co


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

    def documents(self) -> tuple[Document, ...]:
        """Return every document that could be read."""
        found = (self.map_or_none, self.shims_or_none, self.components_or_none, self.classes_or_none)
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
