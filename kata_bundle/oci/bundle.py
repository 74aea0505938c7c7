"""A bundle in an image layout: written from blobs that exist, and opened with every cross-reference checked.

The layout's ``index.json`` holds one descriptor, of the image index over all architectures, named ``latest``: that index is the
artefact that is pushed, and its digest is the bundle's. Must not know: stores (blobs come by path), how layers are made or read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.fsops import one_writer
from kata_bundle.core.record import record, replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.image import ImageConfig, bundle_image, bundle_index_document, check_image, layer_descriptors
from kata_bundle.oci.layout import Layout
from kata_bundle.oci.opened import OpenedBundle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.bundleindex import BundleIndex
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.documents import Manifest
    from kata_bundle.oci.image import ImageDocuments

__all__ = ["REF_NAME", "Bundle", "open_bundle", "write_bundle"]

REF_NAME: Final = "latest"


def write_bundle(
    directory: Path, indexes: Mapping[Arch, BundleIndex], source: Callable[[Digest], Path], *, created: int
) -> Descriptor:
    """Write the bundle of ``indexes`` as an image layout in ``directory``; return the descriptor of its image index.

    ``source`` gives the path of a packed layer's finished, checked file by its digest; it is linked where the file system
    allows. ``created`` is the source date in seconds since 1970. The same input makes the same files. An older bundle in
    ``directory`` stays whole until the new one is, then its own blobs are removed; another process that writes there is waited
    for. Raises :class:`UsageError` when the folder holds something else, :class:`IntegrityError` when a blob is missing or has
    another size.
    """
    if not indexes:
        msg = "a bundle needs at least one architecture"
        raise UsageError(msg)
    for arch, index in indexes.items():
        if index.arch is not arch:
            msg = f"the bundle index given for {arch} is of {index.arch}"
            raise IntegrityError(msg)
    images = {arch: bundle_image(indexes[arch], created) for arch in sorted(indexes)}
    layout = Layout.create(directory)
    with one_writer(directory):
        return _write(layout, indexes, images, source, created=created)


def _write(
    layout: Layout,
    indexes: Mapping[Arch, BundleIndex],
    images: Mapping[Arch, ImageDocuments],
    source: Callable[[Digest], Path],
    *,
    created: int,
) -> Descriptor:
    keep: set[Digest] = set()
    for arch, image in images.items():
        for layer in layer_descriptors(indexes[arch]):
            if layer.digest not in keep:
                layout.add_blob(source(layer.digest), layer)
                keep.add(layer.digest)
        keep.add(layout.add_bytes(image.config, mediatypes.IMAGE_CONFIG).digest)
        keep.add(layout.add_bytes(image.manifest, mediatypes.IMAGE_MANIFEST).digest)
    top = layout.add_bytes(bundle_index_document(images, created), mediatypes.IMAGE_INDEX)
    layout.write_index([replace(top, annotations={mediatypes.ANNOTATION_REF_NAME: REF_NAME})])
    layout.prune({*keep, top.digest})
    return top


def open_bundle(directory: Path, *, ref: str | None = None, arches: Collection[Arch] | None = None) -> Bundle:
    """Return the bundle in the image layout ``directory``.

    All documents are read and checked against each other, and every layer's file for presence and size; content of layers is
    checked by whoever reads them. ``ref`` chooses among several images by their name annotation. With ``arches``, images of
    other architectures need not be there. In a partial layout, as ``pull`` makes it, neither need be what was left out: the
    bundle then has the shims whose layers are all there. A layout that a generic tool made of one architecture alone, without an
    index, opens too. Raises :class:`IntegrityError` for everything that is wrong.
    """
    layout = Layout.open(directory)
    top = layout.choose(ref)
    is_partial = top.annotations.get(mediatypes.ANNOTATION_PARTIAL) == "true"
    entries = layout.read_index(top).manifests if mediatypes.is_index(top.media_type) else (top,)
    images: dict[Arch, _Image] = {}
    for descriptor in entries:
        if arches is not None and descriptor.platform is not None and descriptor.platform.arch not in arches:
            continue
        if is_partial and not layout.has(descriptor.digest):
            continue
        image = _open_image(layout, descriptor, is_partial=is_partial)
        if image.index.arch in images:
            msg = f"{directory}: two images for {image.index.arch}"
            raise IntegrityError(msg)
        images[image.index.arch] = image
    wanted = set(arches or ()) - set(images)
    if wanted or not images:
        what = ", ".join(sorted(wanted)) or "any architecture"
        msg = f"{directory} holds no image for {what}"
        raise IntegrityError(msg)
    return Bundle(layout, top, {arch: images[arch] for arch in sorted(images)})


@record
class _Image:
    descriptor: Descriptor
    manifest: Manifest
    index: BundleIndex
    layers: Mapping[str, Descriptor]


class Bundle(OpenedBundle[_Image]):
    """An opened bundle; all its documents are checked and consistent."""

    def __init__(self, layout: Layout, top: Descriptor, images: Mapping[Arch, _Image]) -> None:
        super().__init__("the bundle", images)
        self.layout = layout
        self.descriptor = top

    @property
    def digest(self) -> Digest:
        """Digest of the image index; of the image manifest for a layout of one architecture without an index."""
        return self.descriptor.digest

    def layer_path(self, arch: Arch, component: str) -> Path:
        """Return the path of a component's packed layer, checked for presence, kind and size but not content."""
        return self.layout.blob_path(self.layer_descriptor(arch, component))

    def open_layer(self, arch: Arch, component: str) -> BinaryIO:
        """Return a stream over a component's packed layer that checks its digest before it hands out the last bytes."""
        return self.layout.open_blob(self.layer_descriptor(arch, component))


def _open_image(layout: Layout, descriptor: Descriptor, *, is_partial: bool) -> _Image:
    manifest = layout.manifest(descriptor)
    config = ImageConfig.parse(layout.config(manifest.config), what=f"config {manifest.config.digest}")
    if descriptor.platform is not None and descriptor.platform != config.platform:
        msg = f"manifest {descriptor.digest}: the index says {descriptor.platform}, its config {config.platform}"
        raise IntegrityError(msg)
    check_image(manifest, config)
    if config.bundle is None:
        msg = f'config {manifest.config.digest} has no member "{mediatypes.BUNDLE_MEMBER}": the image is no kata bundle'
        raise IntegrityError(msg)
    layers = dict(zip(sorted(config.bundle.layers), manifest.layers, strict=True))
    index = config.bundle
    if is_partial:
        layers = {component: layer for component, layer in layers.items() if layout.has(layer.digest)}
        index = index.only(layers)
    for layer in layers.values():
        layout.blob_path(layer)
    return _Image(descriptor=descriptor, manifest=manifest, index=index, layers=layers)
