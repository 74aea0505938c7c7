"""The files of layers at hand by their digests, unpacked when they are asked for and only as far as they are needed.

A workspace is a folder of files named by content. A layer with a table of contents gives its tree without unpacking and single
files after that; of one without, everything is unpacked at once. Must not know: deltas, what is made of the files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kata_bundle.archive.kata import iter_kata_entries
from kata_bundle.archive.layerfile import FrameReader, LayerFile
from kata_bundle.archive.placer import write_with_holes
from kata_bundle.archive.streams import open_source
from kata_bundle.archive.tarheader import Kind
from kata_bundle.archive.tarreader import DEFAULT_LIMITS
from kata_bundle.archive.zstd import open_decompressor
from kata_bundle.core.digest import Digest, HashingReader, hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.parallel import map_ordered
from kata_bundle.core.tree import File, Tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.oci.bundleindex import BundleLayer

__all__ = ["SourceLayer", "Workspace"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceLayer:
    """A full layer in a file, and what its bundle says of it."""

    arch: Arch
    entry: BundleLayer
    path: Path

    @property
    def component(self) -> str:
        """The component's name."""
        return self.entry.component

    @property
    def what(self) -> str:
        """What it is called in messages."""
        return f"{self.entry.component} ({self.arch})"


class Workspace:
    """Files by digest in a new folder below ``parent`` (default: where temporary files go). A context manager.

    Its methods may be called from several threads.
    """

    def __init__(self, parent: Path | None = None, *, jobs: int = 1, progress: Progress = NO_PROGRESS) -> None:
        self._parent = parent
        self._jobs = jobs
        self._progress = progress
        self._folder: Path | None = None
        self._trees: dict[Digest, Tree] = {}

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="kata-bundle-delta-", dir=self._parent))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        if self._folder is None:
            msg = "a workspace is used as a context"
            raise ValueError(msg)
        return self._folder

    def path(self, digest: Digest) -> str | None:
        """Return the file with that content, ``None`` when it is not at hand."""
        place = os.path.join(self.folder, hex_part(digest))
        return place if os.path.exists(place) else None

    def tree(self, layer: SourceLayer) -> Tree:
        """Return the tree of ``layer``; raises :class:`IntegrityError` when it is not what its bundle says."""
        known = self._trees.get(layer.entry.tree)
        if known is not None:
            return known
        opened = LayerFile.open(layer.path, None, what=layer.what)
        if opened is None:
            tree = self._unpack_all(layer)
        else:
            with opened:
                tree = opened.table.tree
        self._check(layer, tree)
        self._trees[layer.entry.tree] = tree
        return tree

    def add_tree(self, tree: Tree) -> None:
        """Take note of a tree that is known otherwise."""
        self._trees[tree.digest] = tree

    def unpack(self, layer: SourceLayer, contents: Collection[Digest]) -> None:
        """Make those of ``contents`` that ``layer`` has available; raises :class:`IntegrityError` for a damaged layer."""
        wanted: dict[Digest, RelPath] = {}
        for path, entry in self.tree(layer).entries.items():
            if isinstance(entry, File) and entry.digest in contents and self.path(entry.digest) is None:
                wanted.setdefault(entry.digest, path)
        if not wanted:
            return
        opened = LayerFile.open(layer.path, None, what=layer.what)
        if opened is None:
            self._unpack_all(layer)
            return
        with opened:
            tree = opened.table.tree
            task = f"unpack {layer.what}"
            sizes = {entry.digest: entry.size_bytes for entry in tree.entries.values() if isinstance(entry, File)}
            self._progress.start(task, sum(sizes[digest] for digest in wanted))
            try:
                items = sorted(wanted.items(), key=lambda item: (-sizes[item[0]], item[0]))
                map_ordered(lambda item: self._unpack_one(opened, item[1], item[0], task), items, jobs=self._jobs)
            finally:
                self._progress.finish(task)

    def drop(self, keep: Iterable[Digest] = ()) -> None:
        """Remove all files but those of ``keep``."""
        kept = {hex_part(digest) for digest in keep}
        for name in os.listdir(self.folder):
            if name not in kept:
                os.unlink(self.folder / name)

    def _unpack_one(self, layer: LayerFile, path: RelPath, digest: Digest, task: str) -> None:
        reader = FrameReader(layer.table.recipe.frame_size or 0)
        with _NewFile(self.folder) as new:
            for chunk in layer.chunks(path, reader):
                new.write(chunk)
                self._progress.advance(task, len(chunk))
            self._keep(new, digest, layer.what)

    def _unpack_all(self, layer: SourceLayer) -> Tree:
        """Unpack every file of a layer without a table."""
        with open_source(layer.path) as stream:
            packed = HashingReader(stream)
            reader = iter_kata_entries(
                open_decompressor(packed, limit_bytes=DEFAULT_LIMITS.max_unpacked_bytes, what=layer.what), what=layer.what
            )
            for entry in reader:
                if entry.kind is Kind.FILE:
                    with _NewFile(self.folder) as new:
                        for chunk in reader.chunks():
                            new.write(chunk)
                        self._keep(new, None, layer.what)
            packed.drain()
        if packed.digest != layer.entry.packed:
            msg = f"{layer.path} has the digest {packed.digest}, the bundle says {layer.entry.packed}"
            raise IntegrityError(msg)
        return reader.tree()

    def _keep(self, new: _NewFile, expected: Digest | None, what: str) -> None:
        found = new.finish()
        if expected not in {None, found}:
            msg = f"{what}: a file has the digest {found}, expected {expected}"
            raise IntegrityError(msg)
        os.rename(new.place, self.folder / hex_part(found))

    def _check(self, layer: SourceLayer, tree: Tree) -> None:
        if tree.digest != layer.entry.tree:
            msg = f"{layer.path} holds the tree {tree.digest}, the bundle says {layer.entry.tree}"
            raise IntegrityError(msg)


class _NewFile:
    """A file being written, zeros as holes; gone at the end of the context unless it was renamed."""

    def __init__(self, folder: Path) -> None:
        self._descriptor, self.place = tempfile.mkstemp(dir=folder, prefix="new-")
        self._state = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
        with suppress(FileNotFoundError):
            os.unlink(self.place)

    def write(self, data: bytes) -> None:
        """Add ``data``."""
        write_with_holes(self._descriptor, data, self._size)
        self._state.update(data)
        self._size += len(data)

    def finish(self) -> Digest:
        """Return the digest of what was written."""
        os.ftruncate(self._descriptor, self._size)
        return Digest(f"sha256:{self._state.hexdigest()}")
