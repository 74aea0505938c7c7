"""The payload of a selection as one tree, and where each content can be had without unpacking again.

A layer that the active generation was made from, every file of which was found unchanged on disk, is not decoded again; all
others are read from their packed bytes: unpacked into a scratch directory for an install, only scanned for a dry run.
Must not know: configuration, activation.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.kata import iter_kata_entries, rewrite_target
from kata_bundle.archive.streams import open_source as open_stream
from kata_bundle.archive.tarheader import Kind
from kata_bundle.archive.tarreader import DEFAULT_LIMITS
from kata_bundle.archive.zstd import open_decompressor
from kata_bundle.core.digest import CHUNK_SIZE, Digest, HashingReader, digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import field, record
from kata_bundle.core.tree import File, Symlink, Tree
from kata_bundle.node.overlay import TreeEditor, follow, with_executable_bits
from kata_bundle.node.receipt import InstalledLayer
from kata_bundle.node.site import RESERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kata_bundle.archive.layerfile import LayerFile
    from kata_bundle.core.events import Progress
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.node.objects import Objects
    from kata_bundle.node.source import LayerRef, Source

__all__ = ["Contents", "LayerSet", "known_layers", "merge_layers", "scan_layers"]

_KEPT_FILE: Final = 256 << 10
_KEPT_IN_ALL: Final = 64 << 20
"""While scanning, files up to this size are kept in memory: configurations have to be read to plan."""


@record(kw_only=False, frozen=False)
class Contents:
    """Where to find a content by digest: in verified files on disk, in kept objects, in memory, or in a layer."""

    objects: Objects
    files: dict[Digest, str] = field(default_factory=dict)
    memory: dict[Digest, bytes] = field(default_factory=dict)
    late: dict[Digest, Callable[[], bytes]] = field(default_factory=dict)
    """What is only read when it is asked for: files of layers that were not unpacked."""

    def has(self, digest: Digest) -> bool:
        """Return whether the content can be had here."""
        return digest in self.files or digest in self.memory or self._object(digest)

    def path(self, digest: Digest) -> str | None:
        """Return a file with the content, if it is in one."""
        if digest in self.files:
            return self.files[digest]
        return self.objects.path(digest) if digest not in self.memory and self._object(digest) else None

    def read(self, digest: Digest) -> bytes:
        """Return the content, checked. Raises :class:`IntegrityError` when it cannot be had."""
        data = self.memory.get(digest)
        if data is None:
            path = self.files.get(digest)
            if path is None and digest in self.late and not self.objects.has(digest):
                data = self.memory[digest] = self._checked(digest, self.late[digest]())
                return data
            if path is None:
                return self.objects.get(digest)
            with open(path, "rb") as stream:
                data = stream.read()
        return self._checked(digest, data)

    @staticmethod
    def _checked(digest: Digest, data: bytes) -> bytes:
        if digest_bytes(data) != digest:
            msg = f"a file with the content {digest} was changed meanwhile"
            raise IntegrityError(msg)
        return data

    def _object(self, digest: Digest) -> bool:
        if not self.objects.has(digest):
            return False
        try:
            self.objects.get(digest)
        except IntegrityError:
            return False
        return True


@record(kw_only=False, frozen=False)
class LayerSet:
    """The selected layers in order, with their trees as archived."""

    layers: list[InstalledLayer] = field(default_factory=list)
    trees: dict[str, Tree] = field(default_factory=dict)
    """Component → tree, as in the archive."""

    def add(self, ref: LayerRef, tree: Tree) -> None:
        """Add one layer."""
        for name in sorted({path.split("/", 1)[0] for path in tree.entries} & RESERVED):
            msg = f'component "{ref.component}" has "{name}" at its top, which is reserved for the installer'
            raise IntegrityError(msg)
        self.trees[ref.component] = tree
        self.layers.append(
            InstalledLayer(
                component=ref.component,
                packed=ref.packed,
                packed_size_bytes=ref.packed_size_bytes,
                tree=tree.digest,
                origin=ref.origin,
                version=ref.version,
                action=ref.action,
            )
        )


@record
class MergedPayload:
    """The merged tree as installed, who brought each path, and which paths two components brought differently."""

    tree: Tree
    owners: Mapping[RelPath, str]
    conflicts: tuple[str, ...]
    contents: Contents
    dest: str

    def read(self, path: RelPath) -> bytes:
        """Return the content of the regular file ``path``, links inside the tree followed; ``KeyError`` when it is none."""
        real = follow(self.tree, path, self.dest)
        entry = None if real is None else TreeEditor(self.tree).content(real)
        if not isinstance(entry, File):
            raise KeyError(path)
        return self.contents.read(entry.digest)


def known_layers(refs: Sequence[LayerRef], installed: Mapping[str, InstalledLayer], contents: Contents) -> dict[str, Tree]:
    """Return component → tree of those ``refs`` that need not be read: installed from the same bytes, every content at hand."""
    known: dict[str, Tree] = {}
    for ref in refs:
        layer = installed.get(ref.component)
        if layer is None or layer.packed != ref.packed or (ref.tree is not None and ref.tree != layer.tree):
            continue
        try:
            tree = contents.objects.tree(layer.tree)
        except IntegrityError:
            continue
        if all(contents.has(entry.digest) for entry in tree.entries.values() if isinstance(entry, File)):
            known[ref.component] = tree
    return known


def scan_layers(source: Source, refs: Sequence[LayerRef], contents: Contents, *, progress: Progress) -> dict[str, Tree]:
    """Find out about ``refs`` without unpacking; return component → tree. Small files can then be had from ``contents``.

    Of a layer with a table of contents only that is read, and what is asked for later; others are read to the end.
    """
    return {ref.component: _tabled(source, ref, contents) or _scan(source, ref, contents, progress) for ref in refs}


def _tabled(source: Source, ref: LayerRef, contents: Contents) -> Tree | None:
    if ref.table is None:
        return None
    (there,) = source.fetch([ref], lambda _path, _file: False)
    what = f"layer {ref.component}"
    with _opened(there, what) as layer:
        tree = layer.table.tree
    if ref.tree not in {None, tree.digest}:
        msg = f"{what} is not what the bundle says: tree {tree.digest}"
        raise IntegrityError(msg)
    for path, entry in tree.entries.items():
        if isinstance(entry, File) and entry.size_bytes <= _KEPT_FILE:
            contents.late.setdefault(entry.digest, partial(_read_late, source, ref, path))
    return tree


def _read_late(source: Source, ref: LayerRef, path: RelPath) -> bytes:
    (there,) = source.fetch([ref], lambda other, _file: other == path)
    with _opened(there, f"layer {ref.component}") as layer:
        return layer.read(path)


def _opened(ref: LayerRef, what: str) -> LayerFile:
    from kata_bundle.archive.layerfile import LayerFile

    layer = LayerFile.open(ref.path, ref.table, what=what)
    if layer is None:
        msg = f"{what} has no table of contents"
        raise IntegrityError(msg)
    return layer


def merge_layers(layers: LayerSet, *, dest: str, contents: Contents) -> MergedPayload:
    """Return all layers merged in their order, absolute links rewritten to ``dest``, programs executable."""
    editor = TreeEditor()
    owners: dict[RelPath, str] = {}
    conflicts: list[str] = []
    for component, tree in layers.trees.items():
        conflicts += [
            f'"{path}" is in "{owners.get(path, "?")}" and differently in "{component}": the latter wins'
            for path in editor.merge(_installed(tree, dest))
        ]
        owners.update(dict.fromkeys(tree.entries, component))
    tree = with_executable_bits(editor.tree(), dest)
    return MergedPayload(tree=tree, owners=owners, conflicts=tuple(conflicts), contents=contents, dest=dest)


def _installed(tree: Tree, dest: str) -> Tree:
    return Tree(
        {
            path: Symlink(target=rewrite_target(entry.target, dest)) if isinstance(entry, Symlink) else entry
            for path, entry in tree.entries.items()
        }
    )


def _scan(source: Source, ref: LayerRef, contents: Contents, progress: Progress) -> Tree:
    (ref,) = source.fetch([ref], lambda _path, _file: True)
    what, task = f"layer {ref.component}", f"read {ref.component}"
    progress.start(task, os.stat(ref.path).st_size)
    room = _KEPT_IN_ALL - sum(map(len, contents.memory.values()))
    try:
        with open_stream(ref.path) as stream:
            packed = HashingReader(stream)
            unpacked = open_decompressor(packed, limit_bytes=DEFAULT_LIMITS.max_unpacked_bytes, what=what)
            reader = iter_kata_entries(unpacked, what=what)
            for entry in reader:
                if entry.kind is Kind.FILE and entry.size_bytes <= min(_KEPT_FILE, room):
                    data = b"".join(reader.chunks())
                    room -= len(data)
                    contents.memory[digest_bytes(data)] = data
            while packed.read(CHUNK_SIZE):
                pass
    finally:
        progress.finish(task)
    tree = reader.tree()
    if packed.digest != ref.packed or ref.tree not in {None, tree.digest}:
        msg = f"{what} is not what the bundle says: packed {packed.digest}, tree {tree.digest}"
        raise IntegrityError(msg)
    return tree
