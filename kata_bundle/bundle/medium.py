"""What is on a medium: an image layout with named bundles, some of whose layers are there as deltas only.

Each bundle's documents are there unchanged, so its digest is what it was. A layer is there in full, or as the end of a chain of
deltas that starts at a full one. Must not know: how a medium came about, where its content goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kata_bundle.archive.deltaapply import load_table
from kata_bundle.bundle.deltawork import SourceLayer
from kata_bundle.core.errors import IntegrityError
from kata_bundle.oci import mediatypes
from kata_bundle.oci.deltas import DeltaRef, attached_deltas
from kata_bundle.oci.image import ImageConfig, check_image
from kata_bundle.oci.layout import Layout, root_entries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.bundleindex import BundleIndex, BundleLayer
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.documents import Manifest

__all__ = ["Image", "Medium", "Release"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One architecture of a release, all documents checked against each other."""

    descriptor: Descriptor
    manifest: Manifest
    index: BundleIndex

    def layer(self, entry: BundleLayer) -> Descriptor:
        """Return the descriptor of the full layer of ``entry``."""
        return next(layer for layer in self.manifest.layers if layer.digest == entry.packed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A named bundle on the medium; architectures that were left out are not in ``images``."""

    name: str
    descriptor: Descriptor
    images: Mapping[Arch, Image]


class Medium:
    """A medium in ``layout``. Reading raises :class:`IntegrityError` for documents that are wrong."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @classmethod
    def open(cls, directory: Path) -> Medium:
        """Return the medium in ``directory``; raises :class:`IntegrityError` when it is no image layout."""
        return cls(Layout.open(directory))

    @cached_property
    def releases(self) -> Mapping[str, Release]:
        """The bundles by name."""
        found = {}
        for entry in root_entries(self.layout.index()):
            name = entry.annotations.get(mediatypes.ANNOTATION_REF_NAME)
            if name is None or entry.artifact_type is not None:
                continue
            is_index = mediatypes.is_index(entry.media_type)
            if not is_index and self.layout.manifest(entry).artifact_type is not None:
                continue
            below = self.layout.read_index(entry).manifests if is_index else (entry,)
            images = [self._image(item) for item in below if self.layout.has(item.digest)]
            found[name] = Release(name=name, descriptor=entry, images={image.index.arch: image for image in images})
        return found

    @cached_property
    def known(self) -> frozenset[Digest]:
        """Packed digests of all layers of all releases: each can be had, in full or by packing its files again."""
        images = [image for release in self.releases.values() for image in release.images.values()]
        return frozenset(entry.packed for image in images for entry in image.index.ordered_layers)

    @cached_property
    def deltas(self) -> Mapping[Digest, tuple[DeltaRef, ...]]:
        """The deltas by the tree that they lead to."""
        found: dict[Digest, dict[Digest, DeltaRef]] = {}
        for delta in attached_deltas(self.layout):
            found.setdefault(delta.new, {}).setdefault(delta.descriptor.digest, delta)
        return {tree: tuple(deltas.values()) for tree, deltas in found.items()}

    @cached_property
    def full_layers(self) -> Mapping[Digest, SourceLayer]:
        """The layers that are there in full, by their tree."""
        found: dict[Digest, SourceLayer] = {}
        for release in self.releases.values():
            for arch, image in release.images.items():
                for entry in image.index.ordered_layers:
                    if entry.tree not in found and self.layout.has(entry.packed):
                        path = self.layout.blob_path(image.layer(entry))
                        found[entry.tree] = SourceLayer(arch=arch, entry=entry, path=path)
        return found

    def chain(self, tree: Digest) -> tuple[DeltaRef, ...] | None:
        """Return the fewest deltas that lead from a full layer to ``tree``, in their order; ``None`` when there is no way."""
        ways: dict[Digest, tuple[DeltaRef, ...]] = {tree: ()}
        pending = [tree]
        while pending:
            place = pending.pop(0)
            if place in self.full_layers:
                return ways[place]
            for delta in self.deltas.get(place, ()):
                if delta.old not in ways:
                    ways[delta.old] = (delta, *ways[place])
                    pending.append(delta.old)
        return None

    def problems(self) -> list[str]:
        """Return what keeps layers from being had: no way to them, and deltas that are not what they say. Reads tables only."""
        found = [
            f"{release.name}: {entry.component} ({arch}) is there neither in full nor by deltas"
            for release in self.releases.values()
            for arch, image in release.images.items()
            for entry in image.index.ordered_layers
            if not self.layout.has(entry.packed) and self.chain(entry.tree) is None
        ]
        for deltas in self.deltas.values():
            for delta in deltas:
                try:
                    path = self.layout.blob_path(delta.descriptor)
                    table = load_table(path, what=f"delta {delta.descriptor.digest}", expected_tree=delta.new)
                except IntegrityError as error:
                    found.append(str(error))
                    continue
                if table.old != delta.old:
                    found.append(f"delta {delta.descriptor.digest} starts from {table.old}, its artefact says {delta.old}")
        return found

    def _image(self, descriptor: Descriptor) -> Image:
        manifest = self.layout.manifest(descriptor)
        config = ImageConfig.parse(self.layout.config(manifest.config), what=f"config {manifest.config.digest}")
        check_image(manifest, config)
        if config.bundle is None:
            msg = f"image {descriptor.digest} is no kata bundle"
            raise IntegrityError(msg)
        return Image(descriptor=descriptor, manifest=manifest, index=config.bundle)
