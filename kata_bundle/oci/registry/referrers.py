"""What is attached to a manifest: asked of the registry, or kept in an index under a tag where it knows no referrers.

Source: distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema". The tag scheme has no transactions: an entry is
added, looked for, and added again when another writer's index replaced ours. Must not know: what artefacts mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.digest import hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import Index, Manifest, image_index
from kata_bundle.oci.registry.errors import NotFoundError, ProtocolError, RegistryError, RegistryStatusError

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.client import Repository

__all__ = ["add_by_tag", "fallback_tag", "is_fallback_tag", "list_referrers", "listed_descriptor", "remove_by_tag"]

_TRIES: Final = 6
_UNKNOWN: Final = frozenset({400, 404, 405, 501})
"""How registries without the referrers API answer it."""


def fallback_tag(digest: Digest) -> str:
    """Return the tag under which referrers of ``digest`` are listed."""
    return f"sha256-{hex_part(digest)}"


def is_fallback_tag(tag: str) -> bool:
    """Return whether ``tag`` is such a tag, or one that signers derive from it (``sha256-….sig``)."""
    return tag.startswith("sha256-") and len(tag) >= 71 and not tag[7:71].strip("0123456789abcdef")


def listed_descriptor(descriptor: Descriptor, data: bytes) -> Descriptor:
    """Return the descriptor of a referrer as lists show it: with its kind and its annotations."""
    if not mediatypes.is_manifest(descriptor.media_type):
        index = Index.parse(data, what=f"index {descriptor.digest}")
        return replace(descriptor, platform=None, annotations=index.annotations)
    manifest = Manifest.parse(data, what=f"manifest {descriptor.digest}")
    kind = manifest.artifact_type or manifest.config.media_type
    return replace(descriptor, platform=None, annotations=manifest.annotations, artifact_type=kind)


def list_referrers(repository: Repository, digest: Digest, artifact_type: str | None) -> tuple[Descriptor, ...]:
    """Return the referrers of ``digest``, of one kind or all, by digest."""
    found = _by_api(repository, digest, artifact_type)
    if found is None:
        found = _by_tag(repository, digest)
    chosen = {d.digest: d for d in found if artifact_type is None or d.artifact_type == artifact_type}
    return tuple(chosen[key] for key in sorted(chosen))


def add_by_tag(repository: Repository, subject: Descriptor, referrer: Descriptor) -> None:
    """Add ``referrer`` to the index of ``subject``. Raises :class:`RegistryError` when other writers win every time."""
    for _ in range(_TRIES):
        entries = _by_tag(repository, subject.digest)
        if any(entry.digest == referrer.digest for entry in entries):
            return
        _write(repository, subject.digest, [*entries, referrer])
        if any(entry.digest == referrer.digest for entry in _by_tag(repository, subject.digest)):
            return
    msg = f"{repository.reference.name}: the list of referrers of {subject.digest} is changed by others all the time"
    raise RegistryError(msg, retryable=True)


def remove_by_tag(repository: Repository, subject: Digest, referrer: Digest) -> None:
    """Take ``referrer`` out of the index of ``subject``, if there is one."""
    entries = _by_tag(repository, subject)
    kept = [entry for entry in entries if entry.digest != referrer]
    if len(kept) != len(entries):
        _write(repository, subject, kept)


def _by_api(repository: Repository, digest: Digest, artifact_type: str | None) -> list[Descriptor] | None:
    """Return what the registry lists, ``None`` when it does not know referrers."""
    if repository.client.lacks_referrers(repository.reference.host):
        return None
    found: list[Descriptor] = []
    query = {"artifactType": artifact_type} if artifact_type is not None else {}
    what = f"referrers of {repository.reference.name}@{digest}"
    try:
        for page in repository.pages(f"{repository.path}/referrers/{digest}", what, query):
            if page.get("mediaType") != mediatypes.IMAGE_INDEX:
                return None
            found += _index(page, what).manifests
            repository.check_count(len(found), "referrers")
    except RegistryStatusError as error:
        if error.status in _UNKNOWN:
            repository.client.note_no_referrers(repository.reference.host)
            return None
        raise
    return found


def _by_tag(repository: Repository, digest: Digest) -> list[Descriptor]:
    tag = fallback_tag(digest)
    try:
        document = repository.manifest(tag)
    except NotFoundError:
        return []
    if document.descriptor.media_type != mediatypes.IMAGE_INDEX:
        msg = f"{repository.reference.name}:{tag} is no list of referrers"
        raise ProtocolError(msg)
    try:
        return list(Index.parse(document.data, what=f"{repository.reference.name}:{tag}").manifests)
    except IntegrityError as error:
        raise ProtocolError(str(error)) from None


def _write(repository: Repository, subject: Digest, entries: list[Descriptor]) -> None:
    data = image_index(sorted(entries, key=lambda entry: entry.digest))
    repository.put_manifest(data, mediatypes.IMAGE_INDEX, tag=fallback_tag(subject))


def _index(page: object, what: str) -> Index:
    from kata_bundle.core import canonical

    try:
        return Index.parse(canonical.dumps(page), what=what)
    except IntegrityError as error:
        raise ProtocolError(str(error)) from None
