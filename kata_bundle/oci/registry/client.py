"""Repositories as objects: manifests, blobs, tags, referrers (OCI distribution-spec 1.1).

Everything that comes back was checked against a digest, or is bounded and said to be unchecked. Reading asks mirrors first,
writing never does. Safe for several threads. Must not know: bundles, layouts, files' meaning.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.record import record, replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.documents import MAX_MANIFEST
from kata_bundle.oci.registry.auth import Scope
from kata_bundle.oci.registry.checks import (
    capability_for,
    check_content,
    check_stated,
    media_type_of,
    parse_stated,
    read_json,
    subject_of,
)
from kata_bundle.oci.registry.errors import NotFoundError, ProtocolError, RegistryError, RegistryStatusError
from kata_bundle.oci.registry.hosts import endpoints
from kata_bundle.oci.registry.reference import TAG
from kata_bundle.oci.registry.settings import RegistrySettings
from kata_bundle.oci.registry.transport import Request, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.oci.registry.answer import Answer
    from kata_bundle.oci.registry.hosts import Endpoint
    from kata_bundle.oci.registry.reference import Reference
    from kata_bundle.oci.registry.upload import Upload

__all__ = ["RegistryClient", "RemoteDocument", "Repository"]

Result = TypeVar("Result")

_ACCEPT: Final = ", ".join(
    (mediatypes.IMAGE_INDEX, mediatypes.IMAGE_MANIFEST, mediatypes.DOCKER_INDEX, mediatypes.DOCKER_MANIFEST)
)  # fmt: skip
_MAX_PAGE: Final = 4 << 20
_PAGE: Final = 1000


@record
class RemoteDocument:
    """A manifest or index as the registry holds it; ``data`` has the descriptor's digest."""

    descriptor: Descriptor
    data: bytes


class RegistryClient:
    """Connections and credentials for any number of registries. Use it as a context."""

    def __init__(
        self,
        settings: RegistrySettings | None = None,
        *,
        progress: Progress = NO_PROGRESS,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.settings = settings or RegistrySettings()
        self.progress = progress
        self.transport = Transport(self.settings, pause=pause)
        self._lock = threading.Lock()
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._without_referrers: set[str] = set()

    def repository(self, reference: Reference) -> Repository:
        """Return the repository of ``reference``; nothing is asked yet. Raises :class:`UsageError` for wrong host files."""
        with self._lock:
            found = self._endpoints.get(reference.host)
            if found is None:
                found = self._endpoints[reference.host] = endpoints(reference.host, self.settings)
        return Repository(self, reference, found)

    def lacks_referrers(self, host: str) -> bool:
        """Return whether the registry ``host`` was found not to know the referrers API."""
        with self._lock:
            return host in self._without_referrers

    def note_no_referrers(self, host: str) -> None:
        """Remember that the registry ``host`` does not know the referrers API, so that it is asked once."""
        with self._lock:
            self._without_referrers.add(host)

    def close(self) -> None:
        """Close all connections; requests that other threads are waiting for fail."""
        self.transport.close()

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Repository:
    """One repository; :meth:`RegistryClient.repository` makes it.

    All methods raise :class:`~kata_bundle.oci.registry.errors.RegistryError`, and :class:`IntegrityError` for content that is not
    what its digest says.
    """

    def __init__(self, client: RegistryClient, reference: Reference, servers: tuple[Endpoint, ...]) -> None:
        self.client = client
        self.reference = reference
        self._transport = client.transport
        self._servers = servers

    # Manifests

    def manifest(self, target: str | None = None) -> RemoteDocument:
        """Return the manifest or index under a tag or digest (default: the reference's)."""
        wanted = target or self.reference.target
        return self._read(capability_for(wanted), lambda server: self._manifest(server, wanted))

    def resolve(self, target: str | None = None) -> Descriptor:
        """Return the descriptor of the manifest under a tag or digest (default: the reference's)."""
        wanted = target or self.reference.target
        return self._read(capability_for(wanted), lambda server: self._resolve(server, wanted))

    def put_manifest(self, data: bytes, media_type: str, *, tag: str | None = None) -> Descriptor:
        """Store a manifest or index by digest, then under ``tag``, and return its descriptor.

        One with a subject becomes the subject's referrer: by the registry, or by the tag scheme where that knows no referrers.
        """
        descriptor = Descriptor(media_type=media_type, digest=digest_bytes(data), size_bytes=len(data))
        knows_referrers = self._put(descriptor, data, descriptor.digest)
        subject = subject_of(data)
        if subject is not None and not knows_referrers:
            from kata_bundle.oci.registry.referrers import add_by_tag, listed_descriptor

            add_by_tag(self, subject, listed_descriptor(descriptor, data))
        if tag is not None:
            self._put(descriptor, data, tag)
        return descriptor

    def put_tag(self, document: RemoteDocument, tag: str) -> None:
        """Give a manifest that the repository has the name ``tag`` (too)."""
        self._put(document.descriptor, document.data, tag)

    def delete_manifest(self, digest: Digest) -> None:
        """Remove a manifest; every tag of it goes with it. Blobs stay until the registry collects what nothing needs."""
        path = f"{self._server.path}/{self.reference.repository}/manifests/{digest}"
        what = f"removal of {self.reference.name}@{digest}"
        request = Request(what=what, method="DELETE", path=path, scopes=self._scopes("pull", "push", "delete"))
        try:
            self._transport.exchange(self._server, request, {200, 202, 204}, lambda answer: answer.read(_MAX_PAGE))
        except RegistryStatusError as error:
            if error.status in {400, 405, 501} or error.code == "UNSUPPORTED":
                error.hint = "this registry does not let manifests be removed; its administrator can allow it"
            raise

    # Blobs

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Return whether the repository itself (no mirror) has the blob."""
        return self._upload(descriptor, None, lambda _count: None).is_there()

    def read_blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """Return the checked content of a small blob; raises :class:`IntegrityError` when it exceeds ``limit_bytes``."""
        if descriptor.size_bytes > limit_bytes:
            msg = f"blob {descriptor.digest} has {descriptor.size_bytes} bytes, more than the {limit_bytes} allowed for its kind"
            raise IntegrityError(msg)

        def attempt(server: Endpoint) -> bytes:
            request = self._blob_request(server, descriptor)
            data = self._transport.exchange(server, request, {200}, lambda answer: answer.read(descriptor.size_bytes))
            check_content(data, descriptor, server)
            return data

        return self._read("pull", attempt)

    def read_range(self, descriptor: Descriptor, offset: int, length: int) -> bytes:
        """Return bytes of a blob, exactly ``length``, NOT checked against the blob's digest: a part has none of its own.

        From a registry that knows no ranges the whole blob is read and the rest thrown away. Raises ``ValueError`` for a range
        that does not lie in the blob.
        """
        from kata_bundle.oci.registry.download import read_part

        if offset < 0 or length < 0 or offset + length > descriptor.size_bytes:
            msg = f"bytes {offset} and {length} more do not lie in a blob of {descriptor.size_bytes}"
            raise ValueError(msg)
        if not length:
            return b""

        def attempt(server: Endpoint) -> bytes:
            request = self._blob_request(server, descriptor)
            request = replace(request, headers={"Range": f"bytes={offset}-{offset + length - 1}"})

            def consume(answer: Answer) -> bytes:
                return read_part(answer, offset, length, descriptor.size_bytes)

            return self._transport.exchange(server, request, {200, 206}, consume)

        return self._read("pull", attempt)

    def download(self, descriptor: Descriptor, target: Path, *, task: str | None = None) -> None:
        """Make the file ``target`` hold the blob, checked, mode 0444; what was interrupted before is continued.

        ``task`` is the name of progress that was started; bytes are added to it. ``OSError`` of the disk is raised too.
        """
        from kata_bundle.oci.registry.download import Partial, fill

        with Partial(target, descriptor, moved=self._mover(task)) as partial:

            def attempt(server: Endpoint) -> None:
                fill(partial, self._transport, server, self._blob_request(server, descriptor), descriptor)

            self._read("pull", attempt, again=partial.distrust)

    def upload(
        self, descriptor: Descriptor, source: Callable[[], BinaryIO], *, mount_from: Sequence[str] = (), task: str | None = None
    ) -> bool:
        """Make the repository have the blob; return whether bytes were sent.

        ``source`` opens the content from its start and is called for every try; it has to check the digest at its end (as
        ``Layout.open_blob`` does). ``mount_from`` names repositories of the same registry that may have the blob.
        """
        moved = self._mover(task)
        upload = self._upload(descriptor, source, moved)
        if upload.is_there() or any(upload.mount(name) for name in mount_from if name != self.reference.repository):
            moved(descriptor.size_bytes)
            return False
        upload.send()
        return True

    def mount(self, descriptor: Descriptor, names: Sequence[str]) -> bool:
        """Return whether the registry took the blob over from one of its repositories ``names``; no bytes move."""
        upload = self._upload(descriptor, None, lambda _count: None)
        return any(upload.mount(name) for name in names if name != self.reference.repository)

    # Lists

    def tags(self) -> tuple[str, ...]:
        """Return all tags, sorted; none for a repository that the registry knows and that has none."""
        path = f"{self._server.path}/{self.reference.repository}/tags/list"
        found: set[str] = set()
        for page in self.pages(path, f"tags of {self.reference.name}", {"n": str(_PAGE)}):
            names = page.get("tags")
            if names is None:
                continue
            if not isinstance(names, list) or not all(isinstance(name, str) and TAG.fullmatch(name) for name in names):
                msg = f"tags of {self.reference.name}: the registry lists what is no tag"
                raise ProtocolError(msg)
            found.update(names)
            self.check_count(len(found), "tags")
        return tuple(sorted(found))

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """Return the descriptors of the manifests whose subject is ``digest``, of one kind or all; empty when there are none.

        Their platform is none, ``artifact_type`` and ``annotations`` are filled in. They are hints until the manifests are read.
        """
        from kata_bundle.oci.registry.referrers import list_referrers

        return list_referrers(self, digest, artifact_type)

    def pages(self, path: str, what: str, query: Mapping[str, str]) -> Iterator[Mapping[str, object]]:
        """Yield the JSON objects of a list that comes in pages; for this package's modules.

        Each page is bounded and so is their number; pages lie on the same server below the same path, and none comes twice.
        """
        from urllib.parse import urlencode

        from kata_bundle.oci.registry.locations import next_page, resolve_location

        address: str | None = f"{path}?{urlencode(query)}" if query else path
        seen: set[str] = set()
        while address is not None:
            if len(seen) >= self._transport.limits.pages or address in seen:
                msg = f"{what}: the registry's list has no end"
                raise ProtocolError(msg)
            seen.add(address)
            request = Request(what=what, method="GET", path=address, scopes=self._scopes("pull"))

            def read(answer: Answer, at: str = address) -> tuple[object, str | None]:
                document = read_json(answer.read(_MAX_PAGE), what)
                link = next_page(answer.headers("Link"))
                if link is None:
                    return document, None
                origin, following = resolve_location(answer.origin, at, link, what=f"{what}: the next page")
                if origin != self._server.origin or following.partition("?")[0] != path:
                    msg = f"{what}: the next page lies elsewhere"
                    raise ProtocolError(msg)
                return document, following

            document, address = self._transport.exchange(self._server, request, {200}, read)
            if not isinstance(document, dict):
                msg = f"{what}: the registry answers with something else"
                raise ProtocolError(msg)
            yield document

    def check_count(self, count: int, what: str) -> None:
        """Raise :class:`ProtocolError` when a list grew beyond its limit."""
        if count > self._transport.limits.names:
            msg = f"{self.reference.name}: the registry lists more than {self._transport.limits.names} {what}"
            raise ProtocolError(msg)

    # Inside

    @property
    def _server(self) -> Endpoint:
        """The registry itself, the last after all mirrors."""
        return self._servers[-1]

    @property
    def path(self) -> str:
        """Where the repository lies on the registry itself."""
        return f"{self._server.path}/{self.reference.repository}"

    def _scopes(self, *actions: str) -> tuple[Scope, ...]:
        return (Scope(repository=self.reference.repository, actions=actions),)

    def _mover(self, task: str | None) -> Callable[[int], None]:
        if task is None:
            return lambda _count: None
        return lambda count: self.client.progress.advance(task, count)

    def _upload(self, descriptor: Descriptor, source: Callable[[], BinaryIO] | None, moved: Callable[[int], None]) -> Upload:
        from kata_bundle.oci.registry.upload import Upload

        def nothing() -> BinaryIO:
            raise NotImplementedError

        return Upload(self._transport, self._server, self.reference.repository, descriptor, source or nothing, moved=moved)

    def _read(self, capability: str, attempt: Callable[[Endpoint], Result], *, again: Callable[[], None] | None = None) -> Result:
        """Return what the first server that can gives; a mirror that fails, or lies, costs its time only."""
        for server in self._servers[:-1]:
            if capability not in server.capabilities:
                continue
            try:
                return attempt(server)
            except (RegistryError, IntegrityError) as error:
                if not isinstance(error, NotFoundError):
                    self.client.progress.note(f"mirror {server.origin} was left out: {error}")
                if again is not None:
                    again()
        return attempt(self._server)

    def _query(self, server: Endpoint) -> str:
        """A mirror of several registries is told which one is meant, as containerd does."""
        from urllib.parse import quote

        return f"?ns={quote(self.reference.host, safe='')}" if server.is_mirror else ""

    def _blob_request(self, server: Endpoint, descriptor: Descriptor) -> Request:
        return Request(
            what=f"blob {descriptor.digest} of {self.reference.name}",
            method="GET",
            path=f"{server.path}/{self.reference.repository}/blobs/{descriptor.digest}{self._query(server)}",
            scopes=self._scopes("pull"),
        )

    def _manifest_request(self, server: Endpoint, method: str, target: str) -> Request:
        separator = "@" if ":" in target else ":"
        return Request(
            what=f"manifest {self.reference.name}{separator}{target}",
            method=method,
            path=f"{server.path}/{self.reference.repository}/manifests/{target}{self._query(server)}",
            scopes=self._scopes("pull"),
            headers={"Accept": _ACCEPT},
        )

    def _manifest(self, server: Endpoint, target: str) -> RemoteDocument:
        request = self._manifest_request(server, "GET", target)

        def consume(answer: Answer) -> RemoteDocument:
            data = answer.read(MAX_MANIFEST)
            descriptor = Descriptor(media_type=media_type_of(answer), digest=digest_bytes(data), size_bytes=len(data))
            check_stated(answer, descriptor.digest, target)
            return RemoteDocument(descriptor=descriptor, data=data)

        return self._transport.exchange(server, request, {200}, consume)

    def _resolve(self, server: Endpoint, target: str) -> Descriptor:
        def consume(answer: Answer) -> Descriptor | None:
            stated, size = answer.header("Docker-Content-Digest"), answer.length
            if stated is None or size is None:
                return None
            if size > MAX_MANIFEST:
                msg = f"{answer.what}: the manifest has {size} bytes, more than the {MAX_MANIFEST} allowed"
                raise ProtocolError(msg)
            digest = parse_stated(stated, answer.what)
            check_stated(answer, digest, target)
            return Descriptor(media_type=media_type_of(answer), digest=digest, size_bytes=size)

        found = self._transport.exchange(server, self._manifest_request(server, "HEAD", target), {200}, consume)
        return found if found is not None else self._manifest(server, target).descriptor

    def _put(self, descriptor: Descriptor, data: bytes, target: str) -> bool:
        """Store a manifest under a digest or tag; return whether the registry took note of its subject."""
        request = replace(
            self._manifest_request(self._server, "PUT", target),
            headers={"Content-Type": descriptor.media_type, "Content-Length": str(len(data))},
            body=lambda: data,
            scopes=self._scopes("pull", "push"),
        )

        def consume(answer: Answer) -> bool:
            answer.read(_MAX_PAGE)
            check_stated(answer, descriptor.digest, target)
            return answer.header("OCI-Subject") is not None

        return self._transport.exchange(self._server, request, {200, 201, 202}, consume)
