"""Load a folder of manifests: read every document, validate it, check them against each other, resolve the catalog.

Knows: which documents a folder has. Must not know: what any rule says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import FILE_NAME as COMPONENT_MAP
from kata_bundle.core.diagnostics import Report
from kata_bundle.core.resources import shipped
from kata_bundle.manifest import ignores, models
from kata_bundle.manifest.context import Checked, Manifests
from kata_bundle.manifest.document import read_document
from kata_bundle.manifest.resolve import Documents, resolve_catalog
from kata_bundle.manifest.rules import run_rules
from kata_bundle.manifest.validation import validate

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["Loaded", "load_catalog", "load_manifests"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What a folder of manifests gave: the catalog unless there are errors, what was found, what was accepted."""

    catalog: Catalog | None
    report: Report
    accepted: Report
    documents: int


def load_catalog(folder: Path | None = None) -> tuple[Catalog | None, Report]:
    """Return the catalog of ``folder`` (default: the shipped manifests) and everything found wrong with it."""
    loaded = load_manifests(folder)
    return loaded.catalog, loaded.report


def load_manifests(folder: Path | None = None) -> Loaded:
    """Read, validate, check and resolve the manifests in ``folder`` (default: the shipped ones)."""
    root = shipped("manifests") if folder is None else folder
    shown = _shown(root)
    report = Report()

    def read(name: str, model: type[M]) -> Checked[M] | None:
        document = read_document(root / name, f"{shown}/{name}", report)
        valid = None if document is None else validate(document, model, report)
        return None if document is None or valid is None else Checked(document, valid)

    arch_files = _arch_files(root)
    arches = {a: read(f"arches/{a}.toml", models.ArchDocument) for a in Arch if f"{a}.toml" in arch_files}
    manifests = Manifests(
        folder=shown,
        arch_files=arch_files,
        arches={arch: entry for arch, entry in arches.items() if entry is not None},
        map_or_none=read(COMPONENT_MAP, models.ComponentMapDocument),
        shims_or_none=read("shims.toml", models.ShimsDocument),
        components_or_none=read("components.toml", models.ComponentsDocument),
        classes_or_none=read("runtimeclasses.toml", models.RuntimeClassesDocument),
    )
    accepting = read(ignores.FILE_NAME, models.IgnoresDocument) if (root / ignores.FILE_NAME).exists() else None
    complete = not report.errors
    run_rules(manifests, report)
    accepted = Report()
    if accepting is not None:
        accepted = ignores.apply_ignores(report, accepting, shown, complete=complete)
    return Loaded(
        catalog=None if report.errors else resolve_catalog(_documents(manifests)),
        report=report,
        accepted=accepted,
        documents=len(manifests.documents()) + (accepting is not None),
    )


def _documents(manifests: Manifests) -> Documents:
    return Documents(
        component_map=manifests.component_map.model,
        shims=manifests.shims.model,
        components=manifests.components.model,
        runtime_classes=manifests.runtime_classes.model,
        arches={arch: entry.model for arch, entry in manifests.arches.items()},
    )


def _arch_files(root: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(name for name in os.listdir(root / "arches") if not name.startswith(".")))
    except OSError:
        return ()


def _shown(root: Path) -> str:
    """Return ``root`` as findings name it: relative when it lies below the working directory."""
    path, here = Path(os.path.abspath(root)), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
