"""Finished deltas put into an image layout: blobs first, the artefact that lists them last.

Must not know: which deltas are worth making.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.bundle.delta import make_delta
from kata_bundle.core.blobs import BLOB_MODE
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.oci.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.archive.deltaformat import DeltaRecipe, DeltaTable
    from kata_bundle.bundle.deltawork import SourceLayer, Workspace
    from kata_bundle.core.events import Progress
    from kata_bundle.oci.descriptor import Descriptor

__all__ = ["add_delta", "open_or_create"]


def open_or_create(directory: Path) -> Layout:
    """Return the layout in ``directory``, a new one when nothing is there; raises :class:`UsageError` for another folder."""
    if (directory / "oci-layout").exists():
        return Layout.open(directory)
    return Layout.create(directory)


def add_delta(
    layout: Layout,
    layer: SourceLayer,
    base: SourceLayer,
    workspace: Workspace,
    *,
    recipe: DeltaRecipe,
    mtime: int,
    jobs: int = 1,
    progress: Progress = NO_PROGRESS,
) -> tuple[Descriptor, DeltaTable]:
    """Make the delta from ``base`` to ``layer`` and put its blob into ``layout``; return its descriptor and table."""
    place = workspace.folder / f"delta-{layer.entry.packed[7:]}"
    try:
        with place.open("wb") as sink:
            descriptor, table = make_delta(layer, base, workspace, sink, recipe=recipe, mtime=mtime, jobs=jobs, progress=progress)
            sink.flush()
            os.fchmod(sink.fileno(), BLOB_MODE)
            os.fsync(sink.fileno())
        layout.add_blob(place, descriptor)
    finally:
        place.unlink(missing_ok=True)
    return descriptor, table
