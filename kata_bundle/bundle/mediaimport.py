"""Bundles made again from a medium, with the digests that they had.

A layer that is on the medium in full is copied. Another one's files are made by its chain of deltas and packed by the recipe that
its bundle states; the packed bytes must have the digest that they had. That takes the same version of libzstd, which is looked at
before anything is made. Must not know: how the medium came about.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from kata_bundle.archive.deltaapply import load_table, restore_files
from kata_bundle.archive.layer import pack_layer
from kata_bundle.archive.packing import read_packing, why_unrepeatable
from kata_bundle.bundle.delta import manifest_mtime
from kata_bundle.bundle.mediacopy import copy_blob, has_blob
from kata_bundle.core.blobs import BLOB_MODE
from kata_bundle.core.digest import Digest, hex_part
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.fsops import one_writer
from kata_bundle.core.record import replace
from kata_bundle.core.tree import File, Tree
from kata_bundle.oci import mediatypes
from kata_bundle.oci.bundle import REF_NAME

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kata_bundle.bundle.deltawork import Workspace
    from kata_bundle.bundle.medium import Image, Medium, Release
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.events import Progress
    from kata_bundle.oci.bundleindex import BundleLayer
    from kata_bundle.oci.deltas import DeltaRef
    from kata_bundle.oci.layout import Layout

__all__ = ["ImportedLayer", "Rebuilder", "Wanted", "import_release", "wanted_layers"]

_TASK: Final = "import"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A layer to import and how it is had."""

    arch: Arch
    entry: BundleLayer
    is_full: bool
    """It is on the medium as it was packed."""
    chain: tuple[DeltaRef, ...]
    """What leads to its tree otherwise; nothing where another layer that is there in full has its files."""
    mtime: int
    """The time of its files, in seconds since 1970, as its image says."""
    read_bytes: int
    """What is read from the medium for it: the layer, or the deltas of its chain."""

    @property
    def what(self) -> str:
        """What it is called in messages."""
        return f"{self.entry.component} ({self.arch})"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedLayer:
    """A layer that is now where it was imported to."""

    wanted: Wanted
    was_there: bool


def wanted_layers(
    medium: Medium, release: Release, *, arches: Collection[Arch] | None = None, shims: Collection[str] = ()
) -> list[Wanted]:
    """Return the layers of ``release`` to import: all, or of these architectures and shims.

    Raises :class:`UsageError` for an architecture or shim that it does not have, :class:`IntegrityError` for a layer that the
    medium gives in no way, or that cannot be packed to the same bytes here.
    """
    for arch in arches or ():
        if arch not in release.images:
            msg = f'"{release.name}" has nothing for {arch} on this medium'
            raise UsageError(msg, hint=f"there is {', '.join(release.images) or 'nothing'}")
    chosen = {arch: image for arch, image in release.images.items() if arches is None or arch in arches}
    known = {shim for image in chosen.values() for shim in image.index.shims}
    for shim in shims:
        if shim not in known:
            msg = f'"{release.name}" has no shim "{shim}"'
            raise UsageError(msg, hint=f"shims there: {', '.join(sorted(known))}")
    found = []
    for arch, image in chosen.items():
        names = _components(image, shims)
        found += [_wanted(medium, arch, image, entry) for entry in image.index.ordered_layers if entry.component in names]
    return found


def import_release(
    medium: Medium,
    release: Release,
    layout: Layout,
    wanted: Collection[Wanted],
    workspace: Workspace,
    *,
    jobs: int = 1,
    progress: Progress = NO_PROGRESS,
) -> list[ImportedLayer]:
    """Make ``layout`` hold the layers ``wanted`` of ``release`` under its digest; the index is written last.

    Layers that are there already are kept after a check; where not all of the release was wanted, the entry is marked as partial.
    Raises :class:`IntegrityError` when something on the medium is damaged, ``OSError``.
    """
    rebuild = Rebuilder(medium, workspace, jobs=jobs, progress=progress)
    done = []
    for item in wanted:
        entry = item.entry
        task = f"{_TASK} {item.what}"
        progress.start(task, entry.packed_size_bytes)
        try:
            if item.is_full:
                image = release.images[item.arch]
                descriptor = image.layer(entry)
                copied = copy_blob(medium.layout.blob_path(descriptor), layout, descriptor, task=task, progress=progress)
                done.append(ImportedLayer(wanted=item, was_there=not copied))
                continue
            was_there = has_blob(layout, entry.packed, entry.packed_size_bytes, task=task, progress=progress)
            if not was_there:
                place = layout.directory / "blobs" / "sha256" / hex_part(entry.packed)
                part = place.with_name(f"{place.name}.tmp-{os.getpid()}")
                try:
                    with part.open("wb") as sink:
                        rebuild.layer(item, cast("BinaryIO", sink))
                        sink.flush()
                        os.fchmod(sink.fileno(), BLOB_MODE)
                        os.fsync(sink.fileno())
                    os.rename(part, place)
                finally:
                    part.unlink(missing_ok=True)
            done.append(ImportedLayer(wanted=item, was_there=was_there))
        finally:
            progress.finish(task)
    _write_documents(medium, release, layout, wanted)
    return done


class Rebuilder:
    """Makes the files of layers from a medium, and packs them."""

    def __init__(self, medium: Medium, workspace: Workspace, *, jobs: int, progress: Progress) -> None:
        self._medium = medium
        self._workspace = workspace
        self._jobs = jobs
        self._progress = progress

    def layer(self, item: Wanted, sink: BinaryIO) -> None:
        """Write the packed bytes of ``item`` to ``sink``; raises :class:`IntegrityError` when they are not what they were."""
        entry = item.entry
        tree, mtimes = self._tree(item)
        self._provide(entry.tree, _contents(tree))
        for mtime in mtimes:
            sink.seek(0)
            with suppress(OSError):  # a device, which takes everything and keeps nothing
                sink.truncate()
            made = pack_layer(
                tree,
                self._open,
                sink,
                recipe=read_packing(entry.recipe or {})[0],
                mtime=mtime,
                what=item.what,
                threads=self._jobs,
                progress=self._progress,
            )
            if made.packed == entry.packed:
                return
        msg = f"{item.what} was packed to {made.packed}, it was {entry.packed}"
        raise IntegrityError(msg, hint="its files are right, but packing them gives other bytes: compare the program's version")

    def _tree(self, item: Wanted) -> tuple[Tree, tuple[int, ...]]:
        """Return the tree, and the times that the files may have had, the likeliest first."""
        if not item.chain:
            return self._workspace.tree(self._medium.full_layers[item.entry.tree]), (item.mtime,)
        delta = item.chain[-1]
        table = load_table(self._path(delta), what=self._what(delta), expected_tree=item.entry.tree)
        return table.tree, tuple(dict.fromkeys((item.mtime, table.mtime)))

    def _provide(self, tree: Digest, contents: Collection[Digest]) -> None:
        """Make those of ``contents`` that the tree has available in the workspace."""
        missing = {digest for digest in contents if self._workspace.path(digest) is None}
        if not missing:
            return
        chain = self._medium.chain(tree)
        if chain is None:
            msg = f"the medium has no way to the tree {tree}"
            raise IntegrityError(msg)
        if not chain:
            self._workspace.unpack(self._medium.full_layers[tree], missing)
            return
        delta = chain[-1]
        table = load_table(self._path(delta), what=self._what(delta), expected_tree=tree)
        self._provide(delta.old, table.needed())
        if missing & set(table.changed):
            folder = self._workspace.folder / f"made-{hex_part(tree)}"
            folder.mkdir()
            try:
                made = restore_files(
                    self._path(delta),
                    self._workspace.path,
                    folder,
                    what=self._what(delta),
                    expected_tree=tree,
                    jobs=self._jobs,
                    progress=self._progress,
                )
                for digest, path in made.files.items():
                    os.rename(path, self._workspace.folder / hex_part(digest))
            finally:
                with suppress(OSError):
                    folder.rmdir()

    def _path(self, delta: DeltaRef) -> Path:
        return self._medium.layout.blob_path(delta.descriptor)

    @staticmethod
    def _what(delta: DeltaRef) -> str:
        return f"delta of {delta.component} ({delta.descriptor.digest[:19]})"

    def _open(self, digest: Digest) -> BinaryIO:
        path = self._workspace.path(digest)
        if path is None:
            msg = f"the content {digest} is on the medium in no way"
            raise IntegrityError(msg)
        return cast("BinaryIO", open(path, "rb"))


def _components(image: Image, shims: Collection[str]) -> set[str]:
    rows = image.index.shims
    return set(image.index.layers) if not shims else {name for shim in shims for name in rows.get(shim, ())}


def _wanted(medium: Medium, arch: Arch, image: Image, entry: BundleLayer) -> Wanted:
    mtime = manifest_mtime(image.manifest)
    if medium.layout.has(entry.packed):
        return Wanted(arch=arch, entry=entry, is_full=True, chain=(), mtime=mtime, read_bytes=entry.packed_size_bytes)
    chain = medium.chain(entry.tree)
    what = f"{entry.component} ({arch})"
    if chain is None:
        msg = f"{what} is on the medium neither in full nor by deltas"
        raise IntegrityError(msg)
    # What came out is compared, so a layer whose record is too old to be sure of is tried.
    reason = why_unrepeatable(entry.recipe, is_old_tried=True)
    if reason is not None:
        msg = f"{what} cannot be packed to the bytes that it had: {reason}"
        hint = "import with the version of this program, and the zstandard release, that it was packed with"
        raise IntegrityError(msg, hint=hint)
    size = sum(delta.descriptor.size_bytes for delta in chain) or medium.full_layers[entry.tree].entry.packed_size_bytes
    return Wanted(arch=arch, entry=entry, is_full=False, chain=chain, mtime=mtime, read_bytes=size)


def _contents(tree: Tree) -> set[Digest]:
    return {entry.digest for entry in tree.entries.values() if isinstance(entry, File)}


def _write_documents(medium: Medium, release: Release, layout: Layout, wanted: Collection[Wanted]) -> None:
    source, top = medium.layout, release.descriptor
    arches = {item.arch for item in wanted}
    is_partial = False
    if mediatypes.is_index(top.media_type):
        layout.add_bytes(source.read(top, 4 << 20), top.media_type)
        is_partial = len(source.read_index(top).manifests) > len(arches)
    for arch in arches:
        image = release.images[arch]
        layout.add_bytes(source.read(image.descriptor, 4 << 20), image.descriptor.media_type)
        layout.add_bytes(source.config(image.manifest.config), image.manifest.config.media_type)
        is_partial = is_partial or any(not layout.has(layer.digest) for layer in image.manifest.layers)
    annotations = {mediatypes.ANNOTATION_REF_NAME: REF_NAME} | ({mediatypes.ANNOTATION_PARTIAL: "true"} if is_partial else {})
    with one_writer(layout.directory):
        layout.write_index([replace(top, annotations=annotations)])
