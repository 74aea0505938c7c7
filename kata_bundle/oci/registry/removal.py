"""Taking a manifest out of a repository, with the entry that lists it as a referrer.

Must not know: who asked whether that is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.record import record
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import Index, Manifest
from kata_bundle.oci.registry.errors import NotFoundError
from kata_bundle.oci.registry.listing import other_tags
from kata_bundle.oci.registry.referrers import remove_by_tag

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.registry.client import Repository

__all__ = ["Removal", "plan_removal", "remove"]


@record
class Removal:
    """What would go."""

    digest: Digest
    tags: tuple[str, ...]
    subject: Digest | None
    """What it is attached to."""


def plan_removal(repository: Repository, *, jobs: int = 4) -> Removal:
    """Return what the removal of the repository's reference takes away. Raises :class:`NotFoundError` when it is not there."""
    document = repository.manifest()
    subject = None
    if mediatypes.is_manifest(document.descriptor.media_type):
        subject = Manifest.parse(document.data, what=f"manifest {document.descriptor.digest}").subject
    elif mediatypes.is_index(document.descriptor.media_type):
        subject = Index.parse(document.data, what=f"index {document.descriptor.digest}").subject
    try:
        tags = other_tags(repository, document.descriptor.digest, jobs=jobs)
    except NotFoundError:  # a repository of which nothing has a tag
        tags = ()
    return Removal(digest=document.descriptor.digest, tags=tags, subject=None if subject is None else subject.digest)


def remove(repository: Repository, planned: Removal) -> None:
    """Remove the manifest. Raises :class:`RegistryError`, with a hint where the registry forbids it."""
    repository.delete_manifest(planned.digest)
    if planned.subject is not None:
        # Where the registry keeps such lists itself there is none under the tag, and nothing is done.
        remove_by_tag(repository, planned.subject, planned.digest)
