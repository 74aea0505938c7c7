"""An OCI registry as cache of actions: the tag is the action's digest, in hexadecimal.

::

    <repository>:<64 hex>     image manifest, artifact type application/vnd.kata-bundle.action-result.v1
      config                  {} (the empty descriptor of OCI image-spec 1.1)
      layer 1                 the tree document of the outputs
      layer 2                 their files as a tar, zstd, so that any client can look into it
      annotations             the action and tree digest

A tag proves nothing: what it leads to has to name the action, and everything below is checked by digest, the files against the
tree document. As with every cache of actions, who may write there decides what an action made. Must not know: rules.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kata_bundle.build.remote.results import check_outputs, files_of
from kata_bundle.build.remote.rpc import never
from kata_bundle.build.sandbox import Limits
from kata_bundle.build.sandbox.execute import Executed
from kata_bundle.core import canonical
from kata_bundle.core.clock import DEFAULT_SOURCE_DATE
from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.core.tree import File, Tree
from kata_bundle.oci import mediatypes
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.documents import Manifest
from kata_bundle.oci.registry import RegistrySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from kata_bundle.build.action import Action, EncodedAction
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import Entry
    from kata_bundle.oci.registry import Reference, Repository
    from kata_bundle.store import Store

__all__ = ["ARTIFACT_TYPE", "TREE_TYPE", "OciCache"]

ARTIFACT_TYPE: Final = "application/vnd.kata-bundle.action-result.v1"
TREE_TYPE: Final = "application/vnd.kata-bundle.tree.v1+json"
_ACTION: Final = "io.katacontainers.action"
_TREE: Final = "io.katacontainers.tree"
_MAX_TREE: Final = 256 << 20
_LEVEL: Final = 3
_EMPTY: Final = b"{}"
_TRIES: Final = 3


class OciCache:
    """Results of actions in one repository of a registry. Thread-safe: every call has a client of its own."""

    def __init__(
        self, reference: Reference, settings: RegistrySettings | None = None, *, output_bytes: int | None = None
    ) -> None:
        self._reference = reference
        chosen = settings or RegistrySettings()
        # What can be made here is not waited for as long as what cannot.
        self._settings = replace(chosen, limits=replace(chosen.limits, tries=min(chosen.limits.tries, _TRIES)))
        self._output_bytes = output_bytes or Limits().output_bytes

    @property
    def name(self) -> str:
        """The repository's address."""
        return f"oci://{self._reference.name}"

    def find(
        self, store: Store, action: Action, encoded: EncodedAction, *, is_cancelled: Callable[[], bool] = never
    ) -> Executed | None:
        """Return what the repository has under the action's tag; see ``ports.SharedCache``."""
        del is_cancelled  # the client's own limits end every wait
        from kata_bundle.oci.registry import NotFoundError

        try:
            with self._open() as repository:
                document = repository.manifest(hex_part(encoded.digest))
                tree, files = self._parse(document.data, encoded.digest)
                data = repository.read_blob(tree, _MAX_TREE)
                outputs = Tree.from_json(data, what=f"{self.name}: tree {tree.digest}")
                check_outputs(action, outputs, where=self.name, limit_bytes=self._output_bytes)
                if store.missing_files(outputs):
                    self._unpack(repository, files, outputs, store)
        except NotFoundError:
            return None
        return Executed(outputs=outputs, log=store.put_bytes(b""), duration_s=0.0, is_hermetic=True)

    def share(
        self,
        store: Store,
        action: Action,
        encoded: EncodedAction,
        done: Executed,
        *,
        is_cancelled: Callable[[], bool] = never,
    ) -> None:
        """Give the repository a result: blobs, then the manifest, then the tag. One that is not hermetic is refused."""
        del is_cancelled
        if not done.is_hermetic:
            msg = f"{action.name}: a result that is not hermetic is not shared"
            raise IntegrityError(msg)
        with self._open() as repository:
            self._share(repository, store, encoded.digest, done.outputs)

    def _share(self, repository: Repository, store: Store, action: Digest, outputs: Tree) -> None:
        from kata_bundle.oci.registry import NotFoundError

        tag = hex_part(action)
        tree = outputs.to_json()
        try:
            known, _ = self._parse(repository.manifest(tag).data, action)
            if known.digest == digest_bytes(tree):
                return
        except (NotFoundError, IntegrityError):
            pass  # not there, or not what it should be: ours takes its place
        blobs = (_put(store, _EMPTY, mediatypes.EMPTY), _put(store, tree, TREE_TYPE), self._pack(outputs, store))
        for descriptor in blobs:
            repository.upload(descriptor, _opener(store, descriptor.digest))
        config, *layers = (descriptor.to_dict() for descriptor in blobs)
        manifest = canonical.dumps(
            {
                "schemaVersion": 2,
                "mediaType": mediatypes.IMAGE_MANIFEST,
                "artifactType": ARTIFACT_TYPE,
                "config": config,
                "layers": [*layers],
                "annotations": {_ACTION: action, _TREE: digest_bytes(tree)},
            }
        )
        repository.put_manifest(manifest, mediatypes.IMAGE_MANIFEST, tag=tag)

    def _parse(self, data: bytes, action: Digest) -> tuple[Descriptor, Descriptor]:
        """Return the descriptors of the tree document and the files; :class:`IntegrityError` unless it is about ``action``."""
        what = f"{self.name}:{hex_part(action)}"
        manifest = Manifest.parse(data, what=what)
        if manifest.annotations.get(_ACTION) != action:
            msg = f"{what} is not about the action it is named after"
            raise IntegrityError(msg)
        kinds = tuple(layer.media_type for layer in manifest.layers)
        if kinds != (TREE_TYPE, mediatypes.LAYER_ZSTD) or manifest.annotations.get(_TREE) != manifest.layers[0].digest:
            msg = f"{what} is no result of an action that this version knows"
            raise IntegrityError(msg)
        return manifest.layers[0], manifest.layers[1]

    @contextmanager
    def _open(self) -> Iterator[Repository]:
        from kata_bundle.oci.registry import RegistryClient

        with RegistryClient(self._settings) as client:
            yield client.repository(self._reference)

    def _pack(self, outputs: Tree, store: Store) -> Descriptor:
        from kata_bundle.archive.tarwriter import tar_size, write_tar
        from kata_bundle.archive.zstd import current_recipe, open_compressor

        size = tar_size(outputs.entries.items(), prefix="", mtime=DEFAULT_SOURCE_DATE)
        with store.new_blob() as blob:
            with open_compressor(blob.sink, current_recipe(_LEVEL, None), size) as sink:
                write_tar(_members(outputs, store), sink, prefix="", mtime=DEFAULT_SOURCE_DATE)
            digest, packed = blob.publish()
        return Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=digest, size_bytes=packed)

    def _unpack(self, repository: Repository, files: Descriptor, outputs: Tree, store: Store) -> None:
        """Put the files of ``outputs`` into ``store``, taken out of the archive; others in it are not looked at."""
        from kata_bundle.archive.tarheader import Kind
        from kata_bundle.archive.tarreader import TarReader
        from kata_bundle.archive.zstd import open_decompressor

        what = f"{self.name}: {files.digest}"
        wanted = files_of(outputs)
        limit = tar_limit(outputs)
        if files.size_bytes > limit:
            msg = f"{what} has {files.size_bytes} bytes, its content as a tar has {limit} at most"
            raise IntegrityError(msg)
        with store.scratch() as folder:
            packed = folder / "files"
            repository.download(files, packed)
            with open(packed, "rb") as stream, store.batch() as batch:
                reader = TarReader(open_decompressor(stream, limit_bytes=limit, what=what), what=what)
                for member in reader:
                    if member.kind is not Kind.FILE:
                        continue
                    digest, _ = batch.put_stream(_Chunks(reader.chunks()))
                    wanted.pop(digest, None)
        if any(store.size(digest) != size for digest, size in wanted.items()):
            msg = f"{what} lacks files of the tree it belongs to, or has others in their place"
            raise IntegrityError(msg)


class _Chunks:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _: int = -1, /) -> bytes:
        return next(self._chunks, b"")


def tar_limit(outputs: Tree) -> int:
    """Return the most bytes that a tar of ``outputs`` and its packed form have, with room for other writers' habits."""
    return 2 * outputs.size_bytes + 16384 * (len(outputs.entries) + 16)


def _members(outputs: Tree, store: Store) -> Iterator[tuple[RelPath, Entry, Callable[[], BinaryIO] | None]]:
    for path, entry in outputs.entries.items():
        yield path, entry, _opener(store, entry.digest) if isinstance(entry, File) else None


def _opener(store: Store, digest: Digest) -> Callable[[], BinaryIO]:
    return lambda: store.open(digest)


def _put(store: Store, data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=store.put_bytes(data), size_bytes=len(data))
