"""Media types and annotation keys that our images use (OCI image-spec 1.1, "OCI Image Media Types" and "Annotations").

The only place where the project's own names inside OCI documents are spelled.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ANNOTATION_COMPONENT",
    "ANNOTATION_CREATED",
    "ANNOTATION_DELTA_IMAGE",
    "ANNOTATION_DELTA_NEW",
    "ANNOTATION_DELTA_OLD",
    "ANNOTATION_PARTIAL",
    "ANNOTATION_REF_NAME",
    "ANNOTATION_TITLE",
    "BUNDLE_MEMBER",
    "DELTA_ARTEFACT",
    "DELTA_LAYER",
    "DOCKER_INDEX",
    "DOCKER_MANIFEST",
    "EMPTY",
    "IMAGE_CONFIG",
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "LAYER_TAR",
    "LAYER_ZSTD",
    "is_index",
    "is_manifest",
]

IMAGE_INDEX: Final = "application/vnd.oci.image.index.v1+json"
IMAGE_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TAR: Final = "application/vnd.oci.image.layer.v1.tar"
"""A layer that is not compressed: one that holds archives, as those of an installer image do."""
LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
"""The config of an artefact that has none: the two bytes ``{}``."""

DELTA_LAYER: Final = "application/vnd.katacontainers.delta.v1"
"""A delta layer (docs/reference/delta-format.md)."""
DELTA_ARTEFACT: Final = "application/vnd.katacontainers.deltas.v1"
"""Artefact type of a manifest that holds delta layers."""

DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
"""Docker's twins of the first two: known, so that an error can say that an image was converted on its way."""

ANNOTATION_REF_NAME: Final = "org.opencontainers.image.ref.name"
ANNOTATION_CREATED: Final = "org.opencontainers.image.created"
ANNOTATION_TITLE: Final = "org.opencontainers.image.title"
"""On a layer: the file name that artifact clients give it when they pull."""
ANNOTATION_COMPONENT: Final = "io.katacontainers.component"
"""On a layer: the component it holds. For people and generic tools; ours read the bundle index."""
ANNOTATION_PARTIAL: Final = "io.katacontainers.partial"
"""On an entry of a layout's ``index.json``, with value ``true``: some of what it leads to was left out on purpose."""

ANNOTATION_DELTA_OLD: Final = "io.katacontainers.delta.old"
"""On a delta layer: the tree that it starts from."""
ANNOTATION_DELTA_NEW: Final = "io.katacontainers.delta.new"
"""On a delta layer: the tree that it leads to."""
ANNOTATION_DELTA_IMAGE: Final = "io.katacontainers.delta.image"
"""On a manifest of delta layers without a subject: the image that they are for."""

BUNDLE_MEMBER: Final = "io.katacontainers.bundle"
"""The extra member of the image config that holds the bundle index. Image-spec: readers ignore members they do not know."""


def is_index(media_type: str) -> bool:
    """Return whether ``media_type`` is OCI's image index."""
    return media_type == IMAGE_INDEX


def is_manifest(media_type: str) -> bool:
    """Return whether ``media_type`` is OCI's image manifest."""
    return media_type == IMAGE_MANIFEST
