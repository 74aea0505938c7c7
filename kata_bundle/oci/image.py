"""Bytes of the OCI documents that make a bundle: image config, manifest, index. Pure functions; equal input, equal bytes.

The config is an ordinary OCI image config (image-spec 1.1, "Image Configuration"), so that containerd unpacks the image and
Kubernetes mounts it as an image volume; the bundle index is one more member of it. Must not know: files, the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core import canonical, clock
from kata_bundle.core.componentmap import tarball_name
from kata_bundle.core.digest import digest_bytes, parse_digest
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import record
from kata_bundle.oci import mediatypes
from kata_bundle.oci.bundleindex import BundleIndex
from kata_bundle.oci.descriptor import Descriptor, Platform
from kata_bundle.oci.documents import image_index, image_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.oci.documents import Manifest

__all__ = [
    "ImageConfig",
    "ImageDocuments",
    "bundle_image",
    "bundle_index_document",
    "check_image",
    "image_config",
    "layer_descriptors",
]


@record
class ImageConfig:
    """What we read of an image config."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    bundle: BundleIndex | None
    """``None`` for an image that is no bundle of ours."""

    @classmethod
    def parse(cls, data: bytes, *, what: str) -> ImageConfig:
        """Return the config in ``data``; raise :class:`IntegrityError` naming ``what`` and the member that is wrong.

        Members we do not know are ignored as the specification asks; the bundle index is read strictly.
        """
        fields = Fields(canonical.loads(data, what=what), what)
        rootfs = fields.child("rootfs")
        if rootfs.text("type") != "layers":
            msg = f'{what}: rootfs.type is not "layers"'
            raise IntegrityError(msg)
        diff_ids = rootfs.value("diff_ids")
        if not isinstance(diff_ids, list):
            msg = f"{what}: rootfs.diff_ids is not an array"
            raise IntegrityError(msg)
        return cls(
            platform=Platform(os=fields.text("os"), architecture=fields.text("architecture")),
            diff_ids=tuple(parse_digest(item) for item in diff_ids),
            bundle=(
                None
                if fields.optional(mediatypes.BUNDLE_MEMBER) is None
                else BundleIndex.from_dict(fields.child(mediatypes.BUNDLE_MEMBER))
            ),
        )


@record
class ImageDocuments:
    """One architecture's image: the config's and the manifest's bytes, and the descriptor that an index holds of it."""

    config: bytes
    manifest: bytes
    descriptor: Descriptor


def image_config(index: BundleIndex, created: int) -> bytes:
    """Return the canonical bytes of the image config; ``created`` is the source date in seconds since 1970."""
    moment = clock.timestamp(created)
    layers = index.ordered_layers
    document: dict[str, JsonValue] = {
        "created": moment,
        "architecture": index.arch.go_name,
        "os": "linux",
        # Present though empty: some readers take a config without it for one of another kind.
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": moment, "created_by": f"kata-bundle: {layer.component}"} for layer in layers],
        mediatypes.BUNDLE_MEMBER: index.to_dict(),
    }
    return canonical.dumps(document)


def layer_descriptors(index: BundleIndex) -> tuple[Descriptor, ...]:
    """Return the manifest's layer descriptors, by component name."""
    return tuple(
        Descriptor(
            media_type=mediatypes.LAYER_ZSTD,
            digest=layer.packed,
            size_bytes=layer.packed_size_bytes,
            annotations={
                mediatypes.ANNOTATION_COMPONENT: layer.component,
                mediatypes.ANNOTATION_TITLE: tarball_name(layer.component),
            },
        )
        for layer in index.ordered_layers
    )


def bundle_image(index: BundleIndex, created: int) -> ImageDocuments:
    """Return the documents of one architecture's image."""
    config = image_config(index, created)
    config_descriptor = Descriptor(media_type=mediatypes.IMAGE_CONFIG, digest=digest_bytes(config), size_bytes=len(config))
    annotations = {mediatypes.ANNOTATION_CREATED: clock.timestamp(created)}
    manifest = image_manifest(config_descriptor, layer_descriptors(index), annotations=annotations)
    return ImageDocuments(
        config=config,
        manifest=manifest,
        descriptor=Descriptor(
            media_type=mediatypes.IMAGE_MANIFEST,
            digest=digest_bytes(manifest),
            size_bytes=len(manifest),
            platform=Platform.of(index.arch),
        ),
    )


def bundle_index_document(images: Mapping[Arch, ImageDocuments], created: int) -> bytes:
    """Return the canonical bytes of the OCI index over ``images``, by architecture name."""
    descriptors = [images[arch].descriptor for arch in sorted(images)]
    return image_index(descriptors, annotations={mediatypes.ANNOTATION_CREATED: clock.timestamp(created)})


def check_image(manifest: Manifest, config: ImageConfig) -> None:
    """Raise :class:`IntegrityError` unless manifest, config and bundle index (when there is one) say the same.

    One diff id per layer; in a bundle also: the config's platform is the index's architecture, and the layers are the index's
    layers by component name, equal in digest, size, diff id and media type.
    """
    what = f"config {manifest.config.digest}"
    if len(manifest.layers) != len(config.diff_ids):
        msg = f"{what}: {len(config.diff_ids)} diff ids for {len(manifest.layers)} layers"
        raise IntegrityError(msg)
    index = config.bundle
    if index is None:
        return
    if config.platform != Platform.of(index.arch):
        msg = f"{what} is for {config.platform}, its bundle index for {index.arch}"
        raise IntegrityError(msg)
    if len(index.layers) != len(manifest.layers):
        msg = f"{what}: the bundle index has {len(index.layers)} layers, the manifest {len(manifest.layers)}"
        raise IntegrityError(msg)
    for layer, found, diff_id in zip(index.ordered_layers, manifest.layers, config.diff_ids, strict=True):
        facts = (
            ("digest", layer.packed, found.digest),
            ("size", layer.packed_size_bytes, found.size_bytes),
            ("diff id", layer.diff_id, diff_id),
            ("media type", mediatypes.LAYER_ZSTD, found.media_type),
        )
        for name, expected, actual in facts:
            if expected != actual:
                msg = f'{what}: layer "{layer.component}" has {name} {actual}, the bundle index says {expected}'
                raise IntegrityError(msg)
