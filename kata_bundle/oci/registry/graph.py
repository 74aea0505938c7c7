"""An artefact as what it consists of: documents in the order in which they can be stored, and blobs; from a registry or a layout.

Works for every OCI image or artefact, ours or not. Documents are checked against their digests by who reads them, and bounded in
number and depth here. Must not know: bundles, how content is moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import record
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import MAX_MANIFEST, Index, Manifest
from kata_bundle.oci.registry.client import RemoteDocument

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.layout import Layout
    from kata_bundle.oci.registry.client import Repository

__all__ = ["Graph", "LayoutSource", "RegistrySource", "Source", "read_graph", "read_referrers"]

_MAX_DEPTH: Final = 4
_MAX_DOCUMENTS: Final = 4096
_MAX_BLOBS: Final = 65_536


@record
class Graph:
    """What has to be somewhere for ``root`` to be whole there."""

    root: RemoteDocument
    documents: tuple[RemoteDocument, ...]
    """Each after what it leads to, ``root`` last; each once."""
    blobs: tuple[Descriptor, ...]
    """Configs and layers, each once, in the documents' order."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size_bytes for blob in self.blobs)


class Source(Protocol):
    """Where documents are read from."""

    def document(self, descriptor: Descriptor) -> RemoteDocument:
        """Return a checked manifest or index."""

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """Return the descriptors of the manifests whose subject is ``digest``."""


class RegistrySource:
    """Documents of a repository."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def document(self, descriptor: Descriptor) -> RemoteDocument:
        """Return a checked manifest or index; raises :class:`RegistryError` and :class:`IntegrityError`."""
        found = self.repository.manifest(descriptor.digest)
        if found.descriptor.size_bytes != descriptor.size_bytes:
            msg = f"manifest {descriptor.digest} has {found.descriptor.size_bytes} bytes, expected {descriptor.size_bytes}"
            raise IntegrityError(msg)
        return found

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """Return what the registry lists."""
        return self.repository.referrers(digest)


class LayoutSource:
    """Documents of an image layout. Referrers are the entries of ``index.json`` that have a subject (as ORAS writes them)."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._attached: dict[Digest, list[Descriptor]] | None = None

    def document(self, descriptor: Descriptor) -> RemoteDocument:
        """Return a checked manifest or index; raises :class:`IntegrityError`."""
        return RemoteDocument(descriptor=descriptor, data=self.layout.read(descriptor, MAX_MANIFEST))

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """Return the entries attached to ``digest``."""
        if self._attached is None:
            self._attached = {}
            for entry in self.layout.index().manifests:
                subject = None
                if mediatypes.is_manifest(entry.media_type):
                    subject = Manifest.parse(self.document(entry).data, what=f"manifest {entry.digest}").subject
                elif mediatypes.is_index(entry.media_type):
                    subject = Index.parse(self.document(entry).data, what=f"index {entry.digest}").subject
                if subject is not None:
                    self._attached.setdefault(subject.digest, []).append(entry)
        return tuple(self._attached.get(digest, ()))


def read_graph(source: Source, root: RemoteDocument) -> Graph:
    """Return what ``root`` leads to. Raises what reading raises, :class:`IntegrityError` for what cannot be moved as it is."""
    walk = _Walk(source)
    walk.add(root, 0)
    return Graph(root=root, documents=tuple(walk.documents.values()), blobs=tuple(walk.blobs.values()))


def read_referrers(source: Source, graph: Graph) -> tuple[Graph, ...]:
    """Return everything attached to the documents of ``graph``, and what is attached to that, each once."""
    found: dict[Digest, Graph] = {}
    queue = [document.descriptor.digest for document in graph.documents]
    seen = set(queue)
    while queue:
        for descriptor in source.referrers(queue.pop(0)):
            if descriptor.digest in seen:
                continue
            seen.add(descriptor.digest)
            if len(seen) > _MAX_DOCUMENTS:
                msg = f"more than {_MAX_DOCUMENTS} documents are attached to {graph.root.descriptor.digest}"
                raise IntegrityError(msg)
            found[descriptor.digest] = read_graph(source, source.document(descriptor))
            queue.append(descriptor.digest)
    return tuple(found.values())


class _Walk:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.documents: dict[Digest, RemoteDocument] = {}
        self.blobs: dict[Digest, Descriptor] = {}

    def add(self, document: RemoteDocument, depth: int) -> None:
        descriptor = document.descriptor
        if descriptor.digest in self.documents:
            return
        if depth > _MAX_DEPTH or len(self.documents) >= _MAX_DOCUMENTS:
            msg = f"index {descriptor.digest} leads too deep or to too many documents"
            raise IntegrityError(msg)
        if mediatypes.is_index(descriptor.media_type):
            for entry in Index.parse(document.data, what=f"index {descriptor.digest}").manifests:
                if mediatypes.is_index(entry.media_type) or mediatypes.is_manifest(entry.media_type):
                    self.add(self._source.document(entry), depth + 1)
                else:
                    self._blob(entry)
        elif mediatypes.is_manifest(descriptor.media_type):
            manifest = Manifest.parse(document.data, what=f"manifest {descriptor.digest}")
            for blob in (manifest.config, *manifest.layers):
                self._blob(blob)
        else:
            docker = descriptor.media_type in {mediatypes.DOCKER_INDEX, mediatypes.DOCKER_MANIFEST}
            msg = f'{descriptor.digest} has media type "{descriptor.media_type}", expected an OCI image index or manifest'
            raise IntegrityError(msg, hint="it is in one of Docker's formats" if docker else None)
        self.documents[descriptor.digest] = document

    def _blob(self, descriptor: Descriptor) -> None:
        known = self.blobs.setdefault(descriptor.digest, descriptor)
        if known.size_bytes != descriptor.size_bytes:
            msg = f"blob {descriptor.digest} is said to have {known.size_bytes} and {descriptor.size_bytes} bytes"
            raise IntegrityError(msg)
        if len(self.blobs) > _MAX_BLOBS:
            msg = f"more than {_MAX_BLOBS} blobs"
            raise IntegrityError(msg)
