"""Image indexes and image manifests as values (OCI image-spec 1.1, "Image Index" and "Image Manifest").

Foreign documents: members we do not know are ignored, as the specification asks; what we use is checked. Bytes of documents are
never made from these values again except for new ones, so nothing that others put in is lost. Must not know: files, the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core import canonical
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import field, record
from kata_bundle.oci import mediatypes
from kata_bundle.oci.descriptor import MEDIA_TYPE, Descriptor, read_annotations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kata_bundle.core.fields import JsonValue

__all__ = [
    "MAX_CONFIG",
    "MAX_ENTRIES",
    "MAX_MANIFEST",
    "Index",
    "Manifest",
    "image_index",
    "image_manifest",
]

MAX_MANIFEST = 4 << 20
"""Largest index or manifest read, in bytes: what registries take at most."""
MAX_CONFIG = 8 << 20
"""Largest image config read, in bytes."""
MAX_ENTRIES = 1024
"""Most descriptors that one index or manifest may hold."""


@record
class Index:
    """An image index, or a layout's ``index.json``."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None
    """What this index is attached to."""

    @classmethod
    def parse(cls, data: bytes, *, what: str) -> Index:
        """Return the index in ``data``; raise :class:`IntegrityError` naming ``what`` and the member that is wrong."""
        fields = _document(data, what, mediatypes.IMAGE_INDEX)
        for member in ("config", "layers"):
            if member in fields:
                msg = f'{what}: an index has no member "{member}"; it could be taken for a manifest'
                raise IntegrityError(msg)
        return cls(manifests=_descriptors(fields, "manifests"), annotations=read_annotations(fields), subject=_subject(fields))


@record
class Manifest:
    """An image manifest: one config, layers from the bottom up."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None
    """What this manifest is attached to: it is a referrer of that."""
    artifact_type: str | None = None
    """What kind of artefact it is, when it is no image."""

    @classmethod
    def parse(cls, data: bytes, *, what: str) -> Manifest:
        """Return the manifest in ``data``; raise :class:`IntegrityError` naming ``what`` and the member that is wrong."""
        fields = _document(data, what, mediatypes.IMAGE_MANIFEST)
        if "manifests" in fields:
            msg = f'{what}: a manifest has no member "manifests"; it could be taken for an index'
            raise IntegrityError(msg)
        return cls(
            config=Descriptor.from_dict(fields.child("config")),
            layers=_descriptors(fields, "layers"),
            annotations=read_annotations(fields),
            subject=_subject(fields),
            artifact_type=fields.optional_text("artifactType", MEDIA_TYPE),
        )


def image_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str | None = None,
) -> bytes:
    """Return the canonical bytes of an image manifest; with ``subject`` it is a referrer of that."""
    document: dict[str, JsonValue] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.IMAGE_MANIFEST,
        "config": config.to_dict(),
        "layers": [layer.to_dict() for layer in layers],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    if subject is not None:
        document["subject"] = subject.to_dict()
    if artifact_type is not None:
        document["artifactType"] = artifact_type
    return canonical.dumps(document)


def image_index(manifests: Sequence[Descriptor], *, annotations: Mapping[str, str] | None = None) -> bytes:
    """Return the canonical bytes of an image index; the caller decides the order of ``manifests``."""
    document: dict[str, JsonValue] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.IMAGE_INDEX,
        "manifests": [manifest.to_dict() for manifest in manifests],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return canonical.dumps(document)


def _document(data: bytes, what: str, media_type: str) -> Fields:
    fields = Fields(canonical.loads(data, what=what), what)
    if fields.integer("schemaVersion") != 2:
        msg = f"{what}: schemaVersion is not 2"
        raise IntegrityError(msg)
    # The member is optional by the specification; the descriptor that led here states the type too.
    stated = fields.optional_text("mediaType")
    if stated not in {None, media_type}:
        msg = f'{what}: mediaType is "{stated}", expected "{media_type}"'
        raise IntegrityError(msg)
    return fields


def _subject(fields: Fields) -> Descriptor | None:
    return Descriptor.from_dict(fields.child("subject")) if fields.optional("subject") is not None else None


def _descriptors(fields: Fields, key: str) -> tuple[Descriptor, ...]:
    found = tuple(Descriptor.from_dict(item) for item in fields.children(key))
    if len(found) > MAX_ENTRIES:
        msg = f"{fields.where}.{key}: {len(found)} descriptors, more than the {MAX_ENTRIES} allowed"
        raise IntegrityError(msg)
    return found
