"""Whole artefacts between layouts and registries: what is missing there is moved, several blobs at a time, documents last.

Nothing that was not checked is given a name: blobs come before the documents that need them, documents before the tag. So an
interrupted transfer leaves at most blobs that nobody needs, and the next one finds them. Must not know: bundles.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kata_bundle.core.blobs import open_blob_file, verifying_stream
from kata_bundle.core.digest import CHUNK_SIZE, hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fsops import one_writer
from kata_bundle.core.parallel import map_ordered
from kata_bundle.core.record import record, replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.layout import Layout
from kata_bundle.oci.registry.graph import LayoutSource, RegistrySource, read_graph, read_referrers
from kata_bundle.oci.registry.reference import DEFAULT_TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.client import RegistryClient, RemoteDocument, Repository
    from kata_bundle.oci.registry.graph import Graph

__all__ = ["Transfer", "copy_between", "copy_from_layout", "copy_to_layout", "fetch_into"]


@record
class Transfer:
    """What a transfer moved, or with ``dry_run`` would move. Bytes are of blobs; documents are small."""

    digest: Digest
    """Of the root: what a tag was resolved to."""
    total_bytes: int
    moved_bytes: int
    mounted_bytes: int
    """Taken over inside the registry, without moving."""
    blobs: int
    moved_blobs: int
    documents: int
    referrers: tuple[Digest, ...] = ()
    tags: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "digest": self.digest,
            "total_bytes": self.total_bytes,
            "moved_bytes": self.moved_bytes,
            "mounted_bytes": self.mounted_bytes,
            "blobs": self.blobs,
            "moved_blobs": self.moved_blobs,
            "documents": self.documents,
            "referrers": list(self.referrers),
            "tags": list(self.tags),
            "dry_run": self.dry_run,
        }


def copy_from_layout(
    layout: Layout,
    repository: Repository,
    *,
    tags: Sequence[str],
    mount_from: Sequence[str] = (),
    referrers: bool = False,
    jobs: int = 4,
    dry_run: bool = False,
) -> Transfer:
    """Make the repository hold the image of ``layout``, under ``tags``, with what is attached to it if ``referrers``.

    Raises :class:`IntegrityError` for a layout that is not sound or was pulled in part, and what the registry raises.
    """
    top = layout.choose()
    if top.annotations.get(mediatypes.ANNOTATION_PARTIAL) == "true":
        msg = f"{layout.directory} holds only a part of {top.digest}, so it cannot be pushed"
        raise IntegrityError(msg, hint="pull it with --arch all and without --shim, or copy between the registries")
    source = LayoutSource(layout)
    graphs = _graphs(source, source.document(top), referrers=referrers)
    for blob in _blobs(graphs):
        layout.blob_path(blob)

    def send(blob: Descriptor, task: str) -> bool:
        return repository.upload(blob, lambda: layout.open_blob(blob), task=task)

    return _to_registry(graphs, repository, send, tags=tags, mount_from=mount_from, jobs=jobs, dry_run=dry_run)


def copy_between(
    source: Repository,
    target: Repository,
    *,
    tags: Sequence[str],
    referrers: bool = False,
    jobs: int = 4,
    dry_run: bool = False,
) -> Transfer:
    """Make ``target`` hold what ``source`` names. Within one registry blobs are mounted.

    Others come by way of a temporary folder and are checked there, so nothing wrong is sent on. Raises what the registries raise.
    """
    reader = RegistrySource(source)
    graphs = _graphs(reader, source.manifest(), referrers=referrers)
    mount_from = (source.reference.repository,) if source.reference.host == target.reference.host else ()
    with tempfile.TemporaryDirectory(prefix="kata-bundle-copy-") as folder:

        def send(blob: Descriptor, task: str) -> bool:
            path = Path(folder, hex_part(blob.digest))
            source.download(blob, path)
            try:
                return target.upload(blob, lambda: _open(path, blob), task=task)
            finally:
                path.unlink()

        return _to_registry(graphs, target, send, tags=tags, mount_from=mount_from, jobs=jobs, dry_run=dry_run)


def copy_to_layout(
    source: Repository, directory: Path, *, referrers: bool = False, jobs: int = 4, dry_run: bool = False
) -> Transfer:
    """Make ``directory`` an image layout that holds what ``source`` names, all of it. Raises like :func:`fetch_into`."""
    root = source.manifest()
    graphs = _graphs(RegistrySource(source), root, referrers=referrers)
    attached = [(graph.root.descriptor, graph.root.data) for graph in graphs[1:]]
    return fetch_into(
        source,
        directory,
        root,
        documents=[document for graph in graphs for document in graph.documents],
        blobs=_blobs(graphs),
        attached=attached,
        jobs=jobs,
        dry_run=dry_run,
    )


def fetch_into(
    source: Repository,
    directory: Path,
    root: RemoteDocument,
    *,
    documents: Iterable[RemoteDocument],
    blobs: Collection[Descriptor],
    attached: Sequence[tuple[Descriptor, bytes]] = (),
    is_partial: bool = False,
    jobs: int = 4,
    dry_run: bool = False,
) -> Transfer:
    """Make ``directory`` an image layout of ``root`` with these documents and blobs; what is there and right is kept.

    The layout that was there stays whole until the new one is. Raises :class:`UsageError` when the folder holds something else,
    and what the registry raises.
    """
    from kata_bundle.oci.registry.referrers import listed_descriptor

    documents = tuple(documents)
    Layout.check_target(directory)
    layout = Layout(directory)
    client = source.client
    lacking = _verified_lack(client, layout, blobs, jobs)
    moved = Transfer(
        digest=root.descriptor.digest,
        total_bytes=sum(blob.size_bytes for blob in blobs),
        moved_bytes=sum(blob.size_bytes for blob in lacking),
        mounted_bytes=0,
        blobs=len(blobs),
        moved_blobs=len(lacking),
        documents=len(documents),
        referrers=tuple(descriptor.digest for descriptor, _ in attached),
        dry_run=dry_run,
    )
    if dry_run:
        return moved
    layout = Layout.create(directory)
    with one_writer(directory):
        folder = layout.directory / "blobs" / "sha256"

        def get(blob: Descriptor, task: str) -> None:
            source.download(blob, folder / hex_part(blob.digest), task=task)

        _each(client, lacking, get, f"pull {source.reference.repository}", jobs)
        for document in documents:
            layout.add_bytes(document.data, document.descriptor.media_type)
        annotations = {mediatypes.ANNOTATION_REF_NAME: source.reference.tag or DEFAULT_TAG}
        if is_partial:
            annotations[mediatypes.ANNOTATION_PARTIAL] = "true"
        entry = replace(root.descriptor, annotations=annotations)
        layout.write_index([entry, *(listed_descriptor(descriptor, data) for descriptor, data in attached)])
        layout.prune({*(blob.digest for blob in blobs), *(document.descriptor.digest for document in documents)})
    return moved


def _graphs(source: RegistrySource | LayoutSource, root: RemoteDocument, *, referrers: bool) -> tuple[Graph, ...]:
    graph = read_graph(source, root)
    return (graph, *read_referrers(source, graph)) if referrers else (graph,)


def _blobs(graphs: Iterable[Graph]) -> tuple[Descriptor, ...]:
    return tuple({blob.digest: blob for graph in graphs for blob in graph.blobs}.values())


def _to_registry(
    graphs: Sequence[Graph],
    target: Repository,
    send: Callable[[Descriptor, str], bool],
    *,
    tags: Sequence[str],
    mount_from: Sequence[str],
    jobs: int,
    dry_run: bool,
) -> Transfer:
    blobs = _blobs(graphs)
    client = target.client
    there = map_ordered(target.has_blob, blobs, jobs=jobs, on_interrupt=client.close)
    lacking = [blob for blob, is_there in zip(blobs, there, strict=True) if not is_there]
    mounted: set[Digest] = set()
    sent: set[Digest] = set()
    if not dry_run:

        def move(blob: Descriptor, task: str) -> None:
            if mount_from and target.mount(blob, mount_from):
                mounted.add(blob.digest)
                client.progress.advance(task, blob.size_bytes)
            elif send(blob, task):
                sent.add(blob.digest)

        _each(client, lacking, move, f"push {target.reference.repository}", jobs)
        root = graphs[0].root
        for graph in graphs:
            for document in graph.documents:
                if document is not root:
                    target.put_manifest(document.data, document.descriptor.media_type)
        # The root last of all, and its names after it: whoever finds a name finds everything.
        target.put_manifest(root.data, root.descriptor.media_type)
        for tag in tags:
            target.put_tag(root, tag)
    moving = lacking if dry_run else [blob for blob in lacking if blob.digest in sent]
    return Transfer(
        digest=graphs[0].root.descriptor.digest,
        total_bytes=sum(blob.size_bytes for blob in blobs),
        moved_bytes=sum(blob.size_bytes for blob in moving),
        mounted_bytes=sum(blob.size_bytes for blob in lacking if blob.digest in mounted),
        blobs=len(blobs),
        moved_blobs=len(moving),
        documents=sum(len(graph.documents) for graph in graphs),
        referrers=tuple(graph.root.descriptor.digest for graph in graphs[1:]),
        tags=tuple(tags),
        dry_run=dry_run,
    )


def _each(
    client: RegistryClient, blobs: Sequence[Descriptor], move: Callable[[Descriptor, str], None], task: str, jobs: int
) -> None:
    """Move every blob, the largest first, so that none of them is left alone at the end; progress counts bytes."""
    ordered = sorted(blobs, key=lambda blob: (-blob.size_bytes, blob.digest))
    client.progress.start(task, sum(blob.size_bytes for blob in blobs))
    try:
        map_ordered(lambda blob: move(blob, task), ordered, jobs=jobs, on_interrupt=client.close)
    finally:
        client.progress.finish(task)


def _verified_lack(client: RegistryClient, layout: Layout, blobs: Collection[Descriptor], jobs: int) -> list[Descriptor]:
    """Return the blobs that the layout lacks; those it has are read and checked, since they are going to be trusted."""

    def lacks(blob: Descriptor) -> bool:
        if not layout.has(blob.digest):
            return True
        try:
            with layout.open_blob(blob) as stream:
                while stream.read(CHUNK_SIZE):
                    pass
        except IntegrityError:
            return True
        return False

    ordered = tuple(blobs)
    results = map_ordered(lacks, ordered, jobs=jobs, on_interrupt=client.close)
    return [blob for blob, lacking in zip(ordered, results, strict=True) if lacking]


def _open(path: Path, blob: Descriptor) -> BinaryIO:
    what = f"blob {blob.digest}"
    return verifying_stream(open_blob_file(path, what=what), blob.digest, what=what, size_bytes=blob.size_bytes)
