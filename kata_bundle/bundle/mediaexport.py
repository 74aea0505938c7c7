"""Writing bundles to a medium: full layers copied, deltas made and tried, the documents last.

A run that was interrupted left no entry in ``index.json``; the next one finds the blobs that are whole, goes on in the middle of
one that is not, and takes costs and finished deltas from a small record beside the layout, which goes when all is done.
Must not know: why a layer goes on the medium the way it does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from kata_bundle.archive.layer import pack_layer
from kata_bundle.archive.packing import read_packing
from kata_bundle.bundle.deltastore import add_delta
from kata_bundle.bundle.mediacopy import copy_blob, has_blob
from kata_bundle.core import canonical
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.fields import Fields
from kata_bundle.core.fsops import one_writer, write_atomic
from kata_bundle.core.record import replace
from kata_bundle.core.tree import File
from kata_bundle.oci import mediatypes
from kata_bundle.oci.deltas import delta_descriptor, delta_manifest
from kata_bundle.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

    from kata_bundle.archive.deltaformat import DeltaRecipe
    from kata_bundle.bundle.deltawork import Workspace
    from kata_bundle.bundle.mediaplan import Input, MediaPlan, Placed
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.oci.layout import Layout

__all__ = ["Exported", "Record", "export_medium"]

_RECORD: Final = "kata-bundle-export.tmp-record"
"""Named as what interrupted writers leave, so that nobody takes it for a part of the layout."""
_WRITE: Final = "write the medium"
_OTHER_BYTES: Final = "packing it again gave other bytes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """How one layer went on the medium."""

    placed: Placed
    written_bytes: int
    is_delta: bool
    reason: str
    """Why it is there in full though a delta was planned, or as planned."""


class Record:
    """What an interrupted export has found out already, in a file of the medium's folder. A damaged one counts as none."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _RECORD
        self.estimates: dict[str, int] = {}
        self.deltas: dict[str, tuple[Digest, int]] = {}
        try:
            fields = Fields(canonical.loads(self._path.read_bytes(), what=_RECORD), _RECORD)
            costs = fields.child("estimates")
            self.estimates = {key: costs.integer(key) for key in costs.keys()}  # noqa: SIM118 - not a mapping
            self.deltas = {key: (one.digest("digest"), one.integer("size")) for key, one in fields.child("deltas").members()}
        except (OSError, IntegrityError):
            pass

    def save(self) -> None:
        """Write the record."""
        deltas = {key: {"digest": digest, "size": size} for key, (digest, size) in self.deltas.items()}
        write_atomic(self._path, canonical.dumps({"estimates": self.estimates, "deltas": deltas}))

    def remove(self) -> None:
        """Remove the record: everything is done."""
        self._path.unlink(missing_ok=True)


def export_medium(
    layout: Layout,
    inputs: Sequence[Input],
    plan: MediaPlan,
    workspace: Workspace,
    record: Record,
    *,
    recipe: DeltaRecipe,
    jobs: int = 1,
    progress: Progress = NO_PROGRESS,
) -> list[Exported]:
    """Carry out ``plan`` in ``layout`` and add the bundles ``inputs`` by their names; return how each layer went there.

    A layer whose packed bytes turn out not to be the same when they are made again goes there in full. Raises
    :class:`IntegrityError` for damaged bundles, ``OSError``.
    """
    done: list[Exported] = []
    deltas: dict[Digest, Descriptor] = {}
    progress.start(_WRITE, plan.expected_bytes)
    try:
        for item in plan.placed:
            made = None
            reason = item.reason
            if item.is_twin:
                is_same = _repeats(item, workspace, jobs=jobs, progress=progress)
                workspace.drop()
                if is_same:
                    done.append(Exported(placed=item, written_bytes=0, is_delta=True, reason=""))
                    continue
                reason = _OTHER_BYTES
            if item.base is not None:
                made = _delta(layout, item, workspace, record, recipe=recipe, jobs=jobs, progress=progress)
                reason = "" if made is not None else _OTHER_BYTES
            if made is not None:
                deltas[item.layer.entry.packed] = made
                done.append(Exported(placed=item, written_bytes=made.size_bytes, is_delta=True, reason=reason))
            else:
                full = _full(item)
                copy_blob(item.layer.path, layout, full, task=_WRITE, progress=progress)
                done.append(Exported(placed=item, written_bytes=full.size_bytes, is_delta=False, reason=reason))
    finally:
        progress.finish(_WRITE)
    _write_documents(layout, inputs, deltas)
    record.remove()
    return done


def _delta(
    layout: Layout,
    item: Placed,
    workspace: Workspace,
    record: Record,
    *,
    recipe: DeltaRecipe,
    jobs: int,
    progress: Progress,
) -> Descriptor | None:
    """Return the delta of a layer, made or found whole; ``None`` when the layer cannot be packed to the same bytes again."""
    if item.base is None:
        return None
    old, new = item.base.entry.tree, item.layer.entry.tree
    key = f"{old} {new} {recipe.level} {item.layer.entry.packed}"
    if key in record.deltas:
        digest, size = record.deltas[key]
        if has_blob(layout, digest, size, task=_WRITE, progress=progress):
            return delta_descriptor(item.layer.component, old, new, digest, size)
    try:
        if not _repeats(item, workspace, jobs=jobs, progress=progress):
            return None
        descriptor, _ = add_delta(
            layout, item.layer, item.base, workspace, recipe=recipe, mtime=item.mtime, jobs=jobs, progress=progress
        )
    finally:
        workspace.drop()
    progress.advance(_WRITE, descriptor.size_bytes)
    record.deltas[key] = descriptor.digest, descriptor.size_bytes
    record.save()
    return descriptor


def _repeats(item: Placed, workspace: Workspace, *, jobs: int, progress: Progress) -> bool:
    """Return whether packing the layer's files again gives its packed bytes."""
    layer = item.layer
    tree = workspace.tree(layer)
    workspace.unpack(layer, {entry.digest for entry in tree.entries.values() if isinstance(entry, File)})

    def open_file(digest: Digest) -> BinaryIO:
        path = workspace.path(digest)
        if path is None:
            msg = f"{layer.what}: the content {digest} is missing"
            raise IntegrityError(msg)
        return cast("BinaryIO", open(path, "rb"))

    with open(os.devnull, "wb") as nowhere:
        made = pack_layer(
            tree,
            open_file,
            nowhere,
            recipe=read_packing(layer.entry.recipe or {})[0],
            mtime=item.mtime,
            what=layer.what,
            threads=jobs,
            progress=progress,
        )
    return made.packed == layer.entry.packed


def _full(item: Placed) -> Descriptor:
    entry = item.layer.entry
    return Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=entry.packed, size_bytes=entry.packed_size_bytes)


def _write_documents(layout: Layout, inputs: Sequence[Input], deltas: dict[Digest, Descriptor]) -> None:
    """Add the documents of each bundle, and for each image the artefact that lists what its layers are had from."""
    with one_writer(layout.directory):
        try:
            entries = list(layout.index().manifests)
        except IntegrityError:
            if (layout.directory / "index.json").exists():
                raise
            entries = []
        layout.add_bytes(b"{}", mediatypes.EMPTY)
        for each in inputs:
            source = each.bundle.layout
            top = each.bundle.descriptor
            if mediatypes.is_index(top.media_type):
                layout.add_bytes(source.read(top, 4 << 20), top.media_type)
            is_partial = False
            for arch in each.bundle.arches():
                if each.arches is not None and arch not in each.arches:
                    is_partial = True
                    continue
                image = each.bundle.manifest_descriptor(arch)
                manifest = source.manifest(image)
                layout.add_bytes(source.read(image, 4 << 20), image.media_type)
                layout.add_bytes(source.config(manifest.config), manifest.config.media_type)
                missing = [layer for layer in manifest.layers if not layout.has(layer.digest)]
                is_partial = is_partial or bool(missing)
                attached = [deltas[layer.digest] for layer in missing if layer.digest in deltas]
                if attached:
                    there = [layer for layer in manifest.layers if layout.has(layer.digest)]
                    data = delta_manifest(image, attached, there, is_whole=False)
                    found = replace(layout.add_bytes(data, mediatypes.IMAGE_MANIFEST), artifact_type=mediatypes.DELTA_ARTEFACT)
                    entries = [*(entry for entry in entries if entry.digest != found.digest), found]
            annotations = {mediatypes.ANNOTATION_REF_NAME: each.name}
            if is_partial:
                annotations[mediatypes.ANNOTATION_PARTIAL] = "true"
            named = replace(top, annotations=annotations)
            entries = [e for e in entries if e.annotations.get(mediatypes.ANNOTATION_REF_NAME) != each.name]
            entries.append(named)
        layout.write_index(entries)
