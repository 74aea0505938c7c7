"""Repositories as objects: manifests, blobs, tags, referrers (OCI distribution-spec 1.1).

Everything that comes back was checked against a digest or is bounded and said to be unchecked. Safe for several threads. Must not
know: bundles, layouts, files' meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.oci.registry.settings import RegistrySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.reference import Reference

__all__ = ["RegistryClient", "RemoteDocument", "Repository"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteDocument:
    """A manifest or index as the registry holds it; ``data`` has the descriptor's digest."""

    descriptor: Descriptor
    data: bytes


class RegistryClient:
    """Connections and credentials for any number of registries. Use it as a context."""

    def __init__(self, settings: RegistrySettings | None = None, *, progress: Progress = NO_PROGRESS) -> None:
        self.settings = settings or RegistrySettings()
        self.progress = progress

    def repository(self, reference: Reference) -> Repository:
        """Return the repository of ``reference``; nothing is asked yet."""
        return Repository(self, reference)

    def close(self) -> None:
        """Close all connections."""

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Repository:
    """One repository. All methods raise :class:`~kata_bundle.oci.registry.errors.RegistryError`."""

    def __init__(self, client: RegistryClient, reference: Reference) -> None:
        self.client = client
        self.reference = reference

    def manifest(self, target: str | None = None) -> RemoteDocument:
        """Return the manifest or index under a tag or digest (default: the reference's)."""
        raise NotImplementedError

    def resolve(self, target: str | None = None) -> Descriptor:
        """Return the descriptor of the manifest under a tag or digest (default: the reference's)."""
        raise NotImplementedError

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Return whether the repository has the blob."""
        raise NotImplementedError

    def read_blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """Return the checked content of a small blob."""
        raise NotImplementedError

    def read_range(self, descriptor: Descriptor, offset: int, length: int) -> bytes:
        """Return bytes of a blob, exactly ``length``, NOT checked against the blob's digest."""
        raise NotImplementedError

    def download(self, descriptor: Descriptor, target: Path, *, task: str | None = None) -> None:
        """Make the file ``target`` hold the blob, checked; an interrupted one is continued."""
        raise NotImplementedError

    def upload(
        self, descriptor: Descriptor, source: Callable[[], BinaryIO], *, mount_from: Sequence[str] = (), task: str | None = None
    ) -> bool:
        """Make the repository have the blob; return whether bytes were sent."""
        raise NotImplementedError

    def put_manifest(self, data: bytes, media_type: str, *, tag: str | None = None) -> Descriptor:
        """Store a manifest or index by digest, then under ``tag``; one with a subject becomes its referrer."""
        raise NotImplementedError

    def tags(self) -> tuple[str, ...]:
        """Return all tags, sorted."""
        raise NotImplementedError

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """Return the descriptors of the manifests whose subject is ``digest``."""
        raise NotImplementedError

    def delete_manifest(self, digest: Digest) -> None:
        """Remove a manifest; its tags go with it."""
        raise NotImplementedError
