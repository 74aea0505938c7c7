"""What a repository holds, for people and programs that look: tags, platforms, shims, sizes, what is attached.

Reads documents only. Must not know: how it is shown.
"""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.parallel import map_ordered
from kata_bundle.core.record import record, replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import MAX_CONFIG, Index, Manifest
from kata_bundle.oci.image import ImageConfig
from kata_bundle.oci.registry.errors import RegistryError
from kata_bundle.oci.registry.referrers import is_fallback_tag

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.client import RemoteDocument, Repository

__all__ = ["Kind", "Listed", "PlatformEntry", "describe", "list_tags", "other_tags"]


class Kind(StrEnum):
    """What stands behind a name."""

    BUNDLE = "bundle"
    IMAGE = "image"
    ARTIFACT = "artifact"
    UNREADABLE = "unreadable"


@record
class PlatformEntry:
    """One image of a name."""

    platform: str
    digest: Digest
    shims: tuple[str, ...]
    layers: int
    size_bytes: int
    """Of config and layers."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "platform": self.platform,
            "digest": self.digest,
            "shims": list(self.shims),
            "layers": self.layers,
            "size_bytes": self.size_bytes,
        }


@record
class Listed:
    """What one name stands for."""

    name: str
    """The tag, or the digest."""
    digest: Digest
    kind: Kind
    platforms: tuple[PlatformEntry, ...]
    size_bytes: int
    """Of all blobs, each counted once."""
    referrers: tuple[Descriptor, ...] | None = None
    """``None``: not looked for."""
    problem: str | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "digest": self.digest,
            "kind": self.kind.value,
            "platforms": [platform.to_dict() for platform in self.platforms],
            "size_bytes": self.size_bytes,
            "referrers": None if self.referrers is None else [referrer.to_dict() for referrer in self.referrers],
            "problem": self.problem,
        }


def list_tags(repository: Repository, *, referrers: bool = False, jobs: int = 4) -> tuple[Listed, ...]:
    """Return what every tag stands for, by tag; tags that only list referrers are left out.

    What is behind one tag and cannot be read is listed as such, with the reason. Raises :class:`RegistryError` for the list.
    """
    tags = [tag for tag in repository.tags() if not is_fallback_tag(tag)]
    reader = _Reader(repository, referrers=referrers)
    close = repository.client.close
    digests = map_ordered(repository.resolve, tags, jobs=jobs, on_interrupt=close)
    distinct = {descriptor.digest: tag for tag, descriptor in zip(tags, digests, strict=True)}
    found = map_ordered(reader.read, list(distinct), jobs=jobs, on_interrupt=close)
    by_digest = dict(zip(distinct, found, strict=True))
    return tuple(replace(by_digest[descriptor.digest], name=tag) for tag, descriptor in zip(tags, digests, strict=True))


def describe(repository: Repository) -> Listed:
    """Return what the repository's reference stands for, with what is attached. Raises what reading raises."""
    document = repository.manifest()
    reader = _Reader(repository, referrers=True)
    return replace(reader.describe(document), name=repository.reference.tag or document.descriptor.digest)


def other_tags(repository: Repository, digest: Digest, *, jobs: int = 4) -> tuple[str, ...]:
    """Return the tags that stand for ``digest``."""
    tags = [tag for tag in repository.tags() if not is_fallback_tag(tag)]
    found = map_ordered(lambda tag: repository.resolve(tag).digest, tags, jobs=jobs, on_interrupt=repository.client.close)
    return tuple(tag for tag, at in zip(tags, found, strict=True) if at == digest)


class _Reader:
    """Reads images, each once: bundles of several releases share them."""

    def __init__(self, repository: Repository, *, referrers: bool) -> None:
        self._repository = repository
        self._referrers = referrers
        self._lock = threading.Lock()
        self._images: dict[Digest, tuple[PlatformEntry, Kind, tuple[Descriptor, ...]]] = {}

    def read(self, digest: Digest) -> Listed:
        try:
            return self.describe(self._repository.manifest(digest))
        except (RegistryError, IntegrityError) as error:
            return Listed(name=digest, digest=digest, kind=Kind.UNREADABLE, platforms=(), size_bytes=0, problem=str(error))

    def describe(self, document: RemoteDocument) -> Listed:
        root = document.descriptor
        entries = [document]
        if mediatypes.is_index(root.media_type):
            listed = Index.parse(document.data, what=f"index {root.digest}").manifests
            entries = [self._repository.manifest(e.digest) for e in listed if mediatypes.is_manifest(e.media_type)]
        images = [self._image(entry) for entry in entries]
        kinds = {kind for _, kind, _ in images}
        attached: list[Descriptor] | None = None
        if self._referrers:
            subjects = {root.digest, *(entry.descriptor.digest for entry in entries)}
            attached = [referrer for subject in sorted(subjects) for referrer in self._repository.referrers(subject)]
        return Listed(
            name=root.digest,
            digest=root.digest,
            kind=next((kind for kind in Kind if kind in kinds), Kind.ARTIFACT),
            platforms=tuple(entry for entry, _, _ in images),
            size_bytes=sum({blob.digest: blob.size_bytes for _, _, blobs in images for blob in blobs}.values()),
            referrers=None if attached is None else tuple(attached),
        )

    def _image(self, document: RemoteDocument) -> tuple[PlatformEntry, Kind, tuple[Descriptor, ...]]:
        digest = document.descriptor.digest
        with self._lock:
            known = self._images.get(digest)
        if known is None:
            known = self._read_image(document)
            with self._lock:
                self._images[digest] = known
        return known

    def _read_image(self, document: RemoteDocument) -> tuple[PlatformEntry, Kind, tuple[Descriptor, ...]]:
        if not mediatypes.is_manifest(document.descriptor.media_type):
            msg = f'media type "{document.descriptor.media_type}", expected an OCI image'
            raise IntegrityError(msg)
        manifest = Manifest.parse(document.data, what=f"manifest {document.descriptor.digest}")
        blobs = (manifest.config, *manifest.layers)
        shims: tuple[str, ...] = ()
        kind, platform = Kind.ARTIFACT, manifest.artifact_type or "-"
        if manifest.config.media_type == mediatypes.IMAGE_CONFIG:
            data = self._repository.read_blob(manifest.config, MAX_CONFIG)
            config = ImageConfig.parse(data, what=f"config {manifest.config.digest}")
            kind, platform = Kind.IMAGE, str(config.platform)
            if config.bundle is not None:
                kind, shims = Kind.BUNDLE, tuple(sorted(config.bundle.shims))
        entry = PlatformEntry(
            platform=platform,
            digest=document.descriptor.digest,
            shims=shims,
            layers=len(manifest.layers),
            size_bytes=sum(blob.size_bytes for blob in {blob.digest: blob for blob in blobs}.values()),
        )
        return entry, kind, blobs
