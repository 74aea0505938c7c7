"""Manifests: read with positions, validated, checked against each other, resolved into one catalog.

Knows: the documents in ``manifests/``. Must not know: build rules, stores, nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.core.diagnostics import Report
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["load_catalog"]


def load_catalog(folder: Path | None = None) -> tuple[Catalog | None, Report]:
    """Return the catalog of ``folder`` (default: the shipped manifests) and everything found wrong with it.

    All findings are reported at once; there is a catalog exactly when none of them is an error.
    """
    from kata_bundle.manifest.load import load_catalog as load

    return load(folder)
