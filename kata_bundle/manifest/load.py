"""Load a folder of manifests: read every document, validate it, check them against each other, resolve the catalog.

Knows: which documents a folder has. Must not know: what any rule says.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import FILE_NAME as COMPONENT_MAP
from kata_bundle.core.diagnostics import Report
from kata_bundle.core.resources import shipped
from kata_bundle.manifest import ignores
from kata_bundle.manifest.context import Checked, Manifests
from kata_bundle.manifest.document import read_document
from kata_bundle.manifest.rules import run_rules
from kata_bundle.manifest.validation import validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.rules.registry import Found

__all__ = ["Loaded", "load_catalog", "load_manifests"]


_NO_RULES = (".lock.toml", "toolchains.toml")
"""What lies beside build rules: pins, and what rules are carried out with."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a folder of manifests gave: the catalog unless there are errors, what was found, what was accepted."""

    manifests: Manifests
    report: Report
    accepted_findings: tuple[Found, ...]
    documents: int

    @cached_property
    def catalog(self) -> Catalog | None:
        """The catalog, ``None`` when there are errors."""
        if self.report.errors:
            return None
        from kata_bundle.manifest.resolve import Documents, resolve_catalog

        manifests = self.manifests
        return resolve_catalog(
            Documents(
                component_map=manifests.component_map.model,
                shims=manifests.shims.model,
                components=manifests.components.model,
                runtime_classes=manifests.runtime_classes.model,
                arches={arch: entry.model for arch, entry in manifests.arches.items()},
            )
        )

    @cached_property
    def accepted(self) -> Report:
        """What ignores.toml accepts, with places, which takes a while to find."""
        report = Report()
        report.extend(found.finding() for found in self.accepted_findings)
        return report


def load_catalog(folder: Path | None = None) -> tuple[Catalog | None, Report]:
    """Return the catalog of ``folder`` (default: the shipped manifests) and everything found wrong with it."""
    loaded = load_manifests(folder)
    return loaded.catalog, loaded.report


def load_manifests(
    folder: Path | None = None,
    *,
    build_rules: Path | None = None,
    weights: Mapping[tuple[str, Arch], int] | None = None,
) -> Loaded:
    """Read, validate, check and resolve the manifests in ``folder`` (default: the shipped ones).

    With ``build_rules``, a folder, the catalog is also checked against the build rules there; with ``weights``, the bytes of
    packed components, those against their budgets.
    """
    # Nothing made here is a circle; looking for some would take a fifth of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _load(folder, build_rules, weights)
    finally:
        if was_enabled:
            gc.enable()


def _load(folder: Path | None, build_rules: Path | None, weights: Mapping[tuple[str, Arch], int] | None) -> Loaded:
    root = shipped("manifests") if folder is None else folder
    shown = _shown(root)
    report = Report()

    def read(name: str, schema: str) -> Checked[Any] | None:
        document = read_document(root / name, f"{shown}/{name}", report)
        valid = None if document is None else validate(document, schema, report)
        return None if document is None or valid is None else Checked(document, valid)

    arch_files = _arch_files(root)
    arches = {a: read(f"arches/{a}.toml", "arch") for a in Arch if f"{a}.toml" in arch_files}
    manifests = Manifests(
        folder=shown,
        arch_files=arch_files,
        arches={arch: entry for arch, entry in arches.items() if entry is not None},
        map_or_none=read(COMPONENT_MAP, "shim-components"),
        shims_or_none=read("shims.toml", "shims"),
        components_or_none=read("components.toml", "components"),
        classes_or_none=read("runtimeclasses.toml", "runtimeclasses"),
        upstream_or_none=read("upstream.toml", "upstream"),
    )
    accepting = read(ignores.FILE_NAME, "ignores") if (root / ignores.FILE_NAME).exists() else None
    # After an unreadable document, what rules do not find says nothing.
    complete = not report.errors
    if build_rules is not None:
        manifests.build_rules_or_none = _build_rules(build_rules, report)
    manifests.weights_or_none = weights
    found, ran = run_rules(manifests)
    accepted: list[Found] = []
    if accepting is not None:
        ran = ran if complete else frozenset()
        found, accepted = ignores.apply_ignores(
            found, accepting, shown, report, ran=ran, known_documents=[document.path for document in manifests.documents()]
        )
    report.extend(item.finding() for item in found)
    return Loaded(
        manifests=manifests,
        report=report,
        accepted_findings=tuple(accepted),
        documents=len(manifests.documents()) + (accepting is not None),
    )


def _build_rules(folder: Path, report: Report) -> Mapping[str, Document]:
    shown = _shown(folder)
    names = sorted(name for name in os.listdir(folder) if name.endswith(".toml") and not name.endswith(_NO_RULES))
    found = {name.removesuffix(".toml"): read_document(folder / name, f"{shown}/{name}", report) for name in names}
    return {name: document for name, document in found.items() if document is not None}


def _arch_files(root: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(name for name in os.listdir(root / "arches") if not name.startswith(".")))
    except OSError:
        return ()


def _shown(root: Path) -> str:
    """Return ``root`` as findings name it: relative when it lies below the working directory."""
    path, here = Path(os.path.abspath(root)), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
