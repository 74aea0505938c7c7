"""Everything that is wrong with an image layout, as a list.

Walks from ``index.json`` to every blob that it leads to and reads each once, and the tables of contents of layers. Does not
unpack layers: whether a layer's content has its diff id and tree digest is for those who read archives.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.archive.layerfile import read_table
from kata_bundle.core.digest import CHUNK_SIZE
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import record
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import MAX_CONFIG, MAX_MANIFEST, Index, Manifest
from kata_bundle.oci.image import ImageConfig, check_image
from kata_bundle.oci.layout import INDEX_FILE, Layout

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.descriptor import Descriptor

__all__ = ["Problem", "Reason", "verify_layout"]

MAX_DEPTH = 4
MAX_BLOBS = 20_000


class Reason(StrEnum):
    """What kind of thing is wrong."""

    LAYOUT = "layout"
    """The folder is no layout at all, or its top files cannot be read."""
    BLOB = "blob"
    """A blob is missing, no regular file, or not what its descriptor says."""
    DOCUMENT = "document"
    """A document is malformed or too large."""
    MEDIA_TYPE = "media-type"
    """A media type that has no place there."""
    NESTING = "nesting"
    """Indexes nested too deep, or leading to too much."""
    PLATFORM = "platform"
    """Two manifests for one platform, or a manifest whose config names another one."""
    CONTENT = "content"
    """Manifest, config and bundle index disagree."""


@record(order=True)
class Problem:
    """One thing wrong; ``where`` is the way to it from ``index.json``."""

    where: str
    reason: Reason
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"where": self.where, "reason": self.reason.value, "message": self.message}

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def verify_layout(directory: Path) -> list[Problem]:
    """Return all problems of the layout in ``directory``, in the order of the walk; an empty list when it is sound.

    What a partial image lacks is no problem; of artefacts that are no images only the blobs are looked at.

    Raises nothing but ``OSError`` for a disk that cannot be read.
    """
    walk = _Walk()
    try:
        walk.layout = Layout.open(directory)
        index = walk.layout.index()
    except IntegrityError as error:
        return [Problem(where=INDEX_FILE, reason=Reason.LAYOUT, message=str(error))]
    walk.entries(index, INDEX_FILE, 0)
    return walk.problems


class _Walk:
    layout: Layout

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._seen: set[tuple[Digest, int, str]] = set()
        self._hashed: set[Digest] = set()
        self._is_partial = False

    def entries(self, index: Index, where: str, depth: int) -> None:
        platforms: set[str] = set()
        for descriptor in index.manifests:
            place = f"{where} > {descriptor.digest}"
            if not depth:
                self._is_partial = descriptor.annotations.get(mediatypes.ANNOTATION_PARTIAL) == "true"
            if descriptor.platform is not None and depth:  # index.json may hold several images, an index one a platform
                if str(descriptor.platform) in platforms:
                    self._add(place, Reason.PLATFORM, f"a second manifest for {descriptor.platform}")
                platforms.add(str(descriptor.platform))
            # No index can lead to itself: a document is read only after its digest was checked.
            if depth > MAX_DEPTH:
                self._add(place, Reason.NESTING, f"indexes nested more than {MAX_DEPTH} deep")
            elif mediatypes.is_index(descriptor.media_type):
                self._index(descriptor, place, depth)
            elif mediatypes.is_manifest(descriptor.media_type):
                self._manifest(descriptor, place)
            else:
                self._add(place, Reason.MEDIA_TYPE, f'media type "{descriptor.media_type}" has no place in an index')
                self._blob(descriptor, place)

    def _index(self, descriptor: Descriptor, where: str, depth: int) -> None:
        data = self._document(descriptor, where, MAX_MANIFEST)
        if data is not None:
            try:
                index = Index.parse(data, what=f"index {descriptor.digest}")
            except IntegrityError as error:
                self._add(where, Reason.DOCUMENT, str(error))
            else:
                self.entries(index, where, depth + 1)

    def _manifest(self, descriptor: Descriptor, where: str) -> None:
        data = self._document(descriptor, where, MAX_MANIFEST)
        if data is None:
            return
        try:
            manifest = Manifest.parse(data, what=f"manifest {descriptor.digest}")
        except IntegrityError as error:
            self._add(where, Reason.DOCUMENT, str(error))
            return
        if manifest.artifact_type is not None:  # no image: what its parts are is for those who know the kind
            for part in (manifest.config, *manifest.layers):
                self._blob(part, f"{where} > {part.digest}")
            return
        for layer in manifest.layers:
            place = f"{where} > {layer.digest}"
            # That a bundle's are all compressed is checked with its index.
            if layer.media_type not in {mediatypes.LAYER_ZSTD, mediatypes.LAYER_TAR}:
                self._add(
                    place, Reason.MEDIA_TYPE, f'layer of media type "{layer.media_type}", expected "{mediatypes.LAYER_ZSTD}"'
                )
            self._blob(layer, place)
        self._config(descriptor, manifest, where)

    def _config(self, descriptor: Descriptor, manifest: Manifest, where: str) -> None:
        place = f"{where} > {manifest.config.digest}"
        if manifest.config.media_type != mediatypes.IMAGE_CONFIG:
            found = manifest.config.media_type
            self._add(place, Reason.MEDIA_TYPE, f'config of media type "{found}", expected "{mediatypes.IMAGE_CONFIG}"')
        data = self._document(manifest.config, place, MAX_CONFIG)
        if data is None:
            return
        try:
            config = ImageConfig.parse(data, what=f"config {manifest.config.digest}")
        except IntegrityError as error:
            self._add(place, Reason.DOCUMENT, str(error))
            return
        if descriptor.platform is not None and descriptor.platform != config.platform:
            self._add(place, Reason.PLATFORM, f"config is for {config.platform}, the index says {descriptor.platform}")
        try:
            check_image(manifest, config)
        except IntegrityError as error:
            self._add(place, Reason.CONTENT, str(error))
        else:
            self._tables(manifest, config, where)

    def _tables(self, manifest: Manifest, config: ImageConfig, where: str) -> None:
        """Note every layer whose table of contents is not what the bundle index says, or not valid."""
        if config.bundle is None:
            return
        damaged = {problem.where for problem in self.problems if problem.reason is Reason.BLOB}
        for layer, descriptor in zip(config.bundle.ordered_layers, manifest.layers, strict=True):
            place = f"{where} > {descriptor.digest}"
            if layer.table is None or place in damaged or self._is_left_out(descriptor):
                continue
            try:
                with self.layout.blob_path(descriptor).open("rb") as stream:
                    read_table(stream.fileno(), descriptor.size_bytes, layer.table, what=f'layer "{layer.component}"')
            except IntegrityError as error:
                self._add(place, Reason.CONTENT, str(error))

    def _document(self, descriptor: Descriptor, where: str, limit_bytes: int) -> bytes | None:
        """Return a checked document, ``None`` after noting why it cannot be read or when it was read before."""
        if descriptor.size_bytes > limit_bytes:
            self._add(where, Reason.DOCUMENT, f"{descriptor.size_bytes} bytes, more than the {limit_bytes} allowed for its kind")
            return None
        if self._is_left_out(descriptor) or not self._first_time(descriptor, where):
            return None
        try:
            return self.layout.read(descriptor, limit_bytes)
        except IntegrityError as error:
            self._add(where, Reason.BLOB, str(error))
            return None

    def _blob(self, descriptor: Descriptor, where: str) -> None:
        if self._is_left_out(descriptor) or not self._first_time(descriptor, where):
            return
        try:
            self.layout.blob_path(descriptor)
            if descriptor.digest in self._hashed:
                return
            self._hashed.add(descriptor.digest)
            with self.layout.open_blob(descriptor) as stream:
                while stream.read(CHUNK_SIZE):
                    pass
        except IntegrityError as error:
            self._add(where, Reason.BLOB, str(error))

    def _is_left_out(self, descriptor: Descriptor) -> bool:
        """Return whether this is a part of a partial image that is not there on purpose."""
        return self._is_partial and not self.layout.has(descriptor.digest)

    def _first_time(self, descriptor: Descriptor, where: str) -> bool:
        key = (descriptor.digest, descriptor.size_bytes, descriptor.media_type)
        if key in self._seen:
            return False
        if len(self._seen) >= MAX_BLOBS:
            if len(self._seen) == MAX_BLOBS:
                self._add(where, Reason.NESTING, f"leads to more than {MAX_BLOBS} blobs; the rest was not read")
            self._seen.add(key)
            return False
        self._seen.add(key)
        return True

    def _add(self, where: str, reason: Reason, message: str) -> None:
        self.problems.append(Problem(where=where, reason=reason, message=message))
