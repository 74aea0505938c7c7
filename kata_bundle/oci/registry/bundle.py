"""Bundles in registries: documents read and checked, no layer touched. The remote twin of :mod:`kata_bundle.oci.bundle`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import record
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import MAX_CONFIG, Index, Manifest
from kata_bundle.oci.image import ImageConfig, check_image
from kata_bundle.oci.opened import OpenedBundle
from kata_bundle.oci.registry.client import RemoteDocument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.bundleindex import BundleIndex
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.client import Repository
    from kata_bundle.oci.registry.reference import Reference

__all__ = ["RemoteBundle", "RemoteImage", "open_remote_bundle"]


@record
class RemoteImage:
    """One architecture's documents, checked against each other."""

    manifest: RemoteDocument
    config: RemoteDocument
    index: BundleIndex
    layers: Mapping[str, Descriptor]
    """Component → layer."""

    @property
    def descriptor(self) -> Descriptor:
        """Descriptor of the image manifest."""
        return self.manifest.descriptor


class RemoteBundle(OpenedBundle[RemoteImage]):
    """An opened bundle in a registry; all its documents are checked and consistent."""

    def __init__(self, repository: Repository, document: RemoteDocument, images: Mapping[Arch, RemoteImage]) -> None:
        super().__init__(str(repository.reference.at(document.descriptor.digest)), images)
        self.repository = repository
        self.document = document

    @property
    def descriptor(self) -> Descriptor:
        """Descriptor of the image index; of the image manifest where there is no index."""
        return self.document.descriptor

    @property
    def digest(self) -> Digest:
        """Digest of :attr:`descriptor`: what the name was resolved to."""
        return self.document.descriptor.digest

    @property
    def reference(self) -> Reference:
        """The reference, pinned to the digest that was found."""
        return self.repository.reference.at(self.digest)


def open_remote_bundle(repository: Repository, *, arches: Collection[Arch] | None = None) -> RemoteBundle:
    """Return the bundle that the repository's reference names.

    Documents of ``arches`` (default: all there are) are fetched and checked against each other; no layer is. Raises
    :class:`RegistryError`, and :class:`IntegrityError` for documents that are wrong, an image that is no bundle of ours, or one
    that has nothing for an architecture asked for.
    """
    document = repository.manifest()
    where = str(repository.reference.at(document.descriptor.digest))
    images: dict[Arch, RemoteImage] = {}
    for descriptor in _entries(document, where):
        if arches is not None and descriptor.platform is not None and descriptor.platform.arch not in arches:
            continue
        fetched = document if descriptor is document.descriptor else repository.manifest(descriptor.digest)
        image = _image(repository, fetched, descriptor, where)
        if image.index.arch in images:
            msg = f"{where}: two images for {image.index.arch}"
            raise IntegrityError(msg)
        images[image.index.arch] = image
    wanted = set(arches or ()) - set(images)
    if wanted or not images:
        what = ", ".join(sorted(wanted)) or "any architecture"
        msg = f"{where} holds no image for {what}"
        raise IntegrityError(msg)
    return RemoteBundle(repository, document, {arch: images[arch] for arch in sorted(images)})


def _entries(document: RemoteDocument, where: str) -> tuple[Descriptor, ...]:
    if mediatypes.is_index(document.descriptor.media_type):
        return Index.parse(document.data, what=f"index {where}").manifests
    if mediatypes.is_manifest(document.descriptor.media_type):
        return (document.descriptor,)
    docker = document.descriptor.media_type in {mediatypes.DOCKER_INDEX, mediatypes.DOCKER_MANIFEST}
    msg = f'{where} has media type "{document.descriptor.media_type}", expected an OCI image index'
    raise IntegrityError(msg, hint="it was converted to Docker's formats on its way" if docker else None)


def _image(repository: Repository, document: RemoteDocument, listed: Descriptor, where: str) -> RemoteImage:
    if not mediatypes.is_manifest(document.descriptor.media_type):
        msg = f'{where}: {listed.digest} has media type "{document.descriptor.media_type}", expected an image manifest'
        raise IntegrityError(msg)
    if document.descriptor.size_bytes != listed.size_bytes:
        msg = f"{where}: manifest {listed.digest} has {document.descriptor.size_bytes} bytes, expected {listed.size_bytes}"
        raise IntegrityError(msg)
    manifest = Manifest.parse(document.data, what=f"manifest {listed.digest}")
    if manifest.config.media_type != mediatypes.IMAGE_CONFIG:
        msg = f'{where}: config of media type "{manifest.config.media_type}": it is no image, so no kata bundle'
        raise IntegrityError(msg)
    data = repository.read_blob(manifest.config, MAX_CONFIG)
    config = ImageConfig.parse(data, what=f"config {manifest.config.digest}")
    if listed.platform is not None and listed.platform != config.platform:
        msg = f"manifest {listed.digest}: the index says {listed.platform}, its config {config.platform}"
        raise IntegrityError(msg)
    check_image(manifest, config)
    if config.bundle is None:
        msg = f'config {manifest.config.digest} has no member "{mediatypes.BUNDLE_MEMBER}": the image is no kata bundle'
        raise IntegrityError(msg)
    layers = dict(zip(sorted(config.bundle.layers), manifest.layers, strict=True))
    return RemoteImage(
        manifest=document, config=RemoteDocument(descriptor=manifest.config, data=data), index=config.bundle, layers=layers
    )
