"""Installing from a registry: a bundle there as a source, of which only what the node lacks is fetched.

Documents are read when the source is opened; layers come when their files are asked for. A layer with a table of contents is
fetched by frames, into a file with holes where the rest would be: each frame is compared with the table, the table with the
bundle index, before it is written. Other layers come whole. What has come stays in a cache folder until the install is done, so
an interrupted one goes on there. Must not know: what is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.layerfile import read_table
from kata_bundle.archive.toc import FOOTER_SIZE
from kata_bundle.archive.workers import run_pieces
from kata_bundle.core.digest import hex_part
from kata_bundle.core.errors import HostError, IntegrityError, RemoteError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.fsops import about
from kata_bundle.core.record import record, replace
from kata_bundle.core.tree import File
from kata_bundle.node.source import Indexed, LayerRef
from kata_bundle.oci import mediatypes
from kata_bundle.oci.deltas import read_deltas
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.documents import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from kata_bundle.archive.toc import Table, TableRef
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.node.source import Wanted
    from kata_bundle.oci.deltas import DeltaRef
    from kata_bundle.oci.registry import RemoteBundle

__all__ = ["RegistrySource"]

_RANGE_BYTES: Final = 4 << 20
"""Most that one request asks for: what is lost when it breaks, and what a thread holds in memory."""
_GAP_BYTES: Final = 64 << 10
"""Less than that between two frames is cheaper to fetch than to ask twice."""
_HALVINGS: Final = 2
"""How often a range that did not come is asked for in halves."""
_SKIPPABLE_HEADER: Final = 8
_MAX_REFERRERS: Final = 32
"""Artefacts with deltas that are looked at: those of the last releases, not of all there ever were."""


class RegistrySource(Indexed):
    """An opened bundle in a registry. ``cache`` is the folder for what was fetched; ``jobs`` requests run at a time."""

    _bundle: RemoteBundle
    is_elsewhere = True

    def __init__(self, bundle: RemoteBundle, cache: Path, *, jobs: int = 4, progress: Progress = NO_PROGRESS) -> None:
        self._bundle = bundle
        self._cache = cache
        self._jobs = jobs
        self._progress = progress
        self._tables: dict[Digest, Table] = {}
        self._deltas: dict[Arch, tuple[DeltaRef, ...]] = {}

    def digest(self) -> Digest:
        """Return the digest that the reference was resolved to."""
        return self._bundle.digest

    def places(self) -> tuple[str, ...]:
        """Return nothing: no file says what a registry has."""
        return ()

    def layer(self, arch: Arch, component: str) -> LayerRef:
        """Return what the index says of a layer, and where it will be once it is fetched."""
        entry = self._bundle.index(arch).layers.get(component)
        if entry is None:
            msg = f'the bundle has no component "{component}" for {arch}'
            raise HostError(msg)
        return LayerRef(
            component=component,
            path=self._whole(entry.packed),
            packed=entry.packed,
            packed_size_bytes=entry.packed_size_bytes,
            origin=entry.origin,
            tree=entry.tree,
            version=entry.version,
            action=entry.action,
            table=entry.table,
        )

    def fetch(self, refs: Sequence[LayerRef], wanted: Wanted) -> tuple[LayerRef, ...]:
        """Have every wanted file of ``refs`` in the cache; return the layers as they can be read there.

        Raises :class:`~kata_bundle.oci.registry.RegistryError`, :class:`IntegrityError`, and ``OSError`` of the disk.
        """
        if not refs:
            return ()
        self._cache.mkdir(parents=True, exist_ok=True)
        found: list[LayerRef] = []
        pieces: list[Callable[[None], None]] = []
        total = 0
        partials: list[_PartialLayer] = []
        try:
            for ref in refs:
                lack = self._lack(ref, wanted)
                total += lack.size_bytes
                if lack.table is None:
                    found.append(ref)
                    if lack.size_bytes:
                        pieces.append(partial(self._whole_piece, ref=ref))
                    continue
                layer = _PartialLayer(self._partial(ref.packed), ref, lack.table)
                partials.append(layer)
                found.append(replace(ref, path=self._partial(ref.packed)))
                missing = layer.missing(lack.frames)
                total -= lack.size_bytes - sum(lack.table.frames[number].packed_bytes for number in missing)
                pieces += [partial(self._frames_piece, ref=ref, layer=layer, run=run) for run in _runs(lack.table, missing)]
            if pieces:
                self._progress.start(_TASK, total)
                run_pieces(pieces, threads=min(self._jobs, len(pieces)), tools=contextlib.nullcontext)
        finally:
            self._progress.finish(_TASK)
            for layer in partials:
                layer.close()
        return tuple(found)

    def transfer_bytes(self, refs: Sequence[LayerRef], wanted: Wanted) -> int:
        """Return how many bytes of layers :meth:`fetch` would transfer. Tables of contents are fetched to know."""
        total = 0
        for ref in refs:
            lack = self._lack(ref, wanted)
            if lack.table is not None and self._partial(ref.packed).exists():
                layer = _PartialLayer(self._partial(ref.packed), ref, lack.table)
                missing = layer.missing(lack.frames)
                layer.close()
                total += sum(lack.table.frames[number].packed_bytes for number in missing)
            else:
                total += lack.size_bytes
        return total

    def release(self, refs: Iterable[LayerRef]) -> None:
        """Remove what was fetched of ``refs``; nobody needs it any more."""
        for ref in refs:
            for path in (self._whole(ref.packed), self._partial(ref.packed)):
                with contextlib.suppress(OSError):
                    path.unlink()
        for delta in (delta for deltas in self._deltas.values() for delta in deltas):
            with contextlib.suppress(OSError):
                self._whole(delta.descriptor.digest).unlink()
        with contextlib.suppress(OSError):
            self._cache.rmdir()

    def deltas(self, arch: Arch) -> tuple[DeltaRef, ...]:
        """Return what the referrers of the image of ``arch`` offer; raises :class:`~kata_bundle.oci.registry.RegistryError`."""
        if arch not in self._deltas:
            repository = self._bundle.repository
            subject = self._bundle.manifest_descriptor(arch).digest
            found: dict[Digest, DeltaRef] = {}
            for entry in repository.referrers(subject, mediatypes.DELTA_ARTEFACT)[:_MAX_REFERRERS]:
                what = f"manifest {entry.digest}"
                manifest = Manifest.parse(repository.manifest(entry.digest).data, what=what)
                if manifest.subject is not None and manifest.subject.digest == subject:
                    found |= {delta.descriptor.digest: delta for delta in read_deltas(manifest, what=what)}
            self._deltas[arch] = tuple(found.values())
        return self._deltas[arch]

    def fetch_delta(self, delta: DeltaRef) -> Path:
        """Return the delta's file in the cache, fetched and checked; raises like :meth:`fetch`."""
        path = self._whole(delta.descriptor.digest)
        if not path.exists():
            self._cache.mkdir(parents=True, exist_ok=True)
            task = f"fetch delta of {delta.component}"
            self._progress.start(task, delta.descriptor.size_bytes)
            try:
                self._bundle.repository.download(delta.descriptor, path, task=task)
            finally:
                self._progress.finish(task)
        return path

    def _lack(self, ref: LayerRef, wanted: Wanted) -> _Lack:
        """Return which bytes of ``ref`` are needed, whatever of them was fetched before."""
        if self._whole(ref.packed).exists():
            return _Lack(size_bytes=0)
        if ref.table is None:
            return _Lack(size_bytes=ref.packed_size_bytes)
        table = self._table(ref, ref.table)
        frames = _frames(table, wanted)
        return _Lack(size_bytes=sum(table.frames[number].packed_bytes for number in frames), table=table, frames=frames)

    def _table(self, ref: LayerRef, place: TableRef) -> Table:
        """Return the layer's table of contents, which its file in the cache then has."""
        known = self._tables.get(ref.packed)
        if known is not None:
            return known
        self._cache.mkdir(parents=True, exist_ok=True)
        path, what = self._partial(ref.packed), f"layer {ref.component}"
        start = place.offset - _SKIPPABLE_HEADER
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            with about(path):
                os.ftruncate(descriptor, ref.packed_size_bytes)
                try:
                    table = read_table(descriptor, ref.packed_size_bytes, place, what=what)
                except IntegrityError:
                    length = _SKIPPABLE_HEADER + place.size_bytes + FOOTER_SIZE
                    data = self._bundle.repository.read_range(_descriptor(ref), start, length)
                    _write_at(descriptor, data, start)
                    table = read_table(descriptor, ref.packed_size_bytes, place, what=what)
        finally:
            os.close(descriptor)
        if table is None:  # pragma: no cover - with a reference there is a table or an error
            msg = f"{what} has no table of contents"
            raise IntegrityError(msg)
        self._tables[ref.packed] = table
        return table

    def _whole_piece(self, tools: None, *, ref: LayerRef) -> None:
        del tools
        self._bundle.repository.download(_descriptor(ref), self._whole(ref.packed), task=_TASK)

    def _frames_piece(self, tools: None, *, ref: LayerRef, layer: _PartialLayer, run: range) -> None:
        del tools
        self._fetch_run(ref, layer, run, _HALVINGS)

    def _fetch_run(self, ref: LayerRef, layer: _PartialLayer, run: range, halvings: int) -> None:
        start, end = layer.span(run)
        try:
            data = self._bundle.repository.read_range(_descriptor(ref), start, end - start)
        except RemoteError as error:
            # The client has tried a few times. A connection that never carries so much may carry less.
            if not (error.retryable and halvings and len(run) > 1):
                raise
            middle = run.start + len(run) // 2
            self._fetch_run(ref, layer, range(run.start, middle), halvings - 1)
            self._fetch_run(ref, layer, range(middle, run.stop), halvings - 1)
            return
        layer.put(run, data)
        self._progress.advance(_TASK, len(data))

    def _whole(self, packed: Digest) -> Path:
        return self._cache / hex_part(packed)

    def _partial(self, packed: Digest) -> Path:
        return self._cache / f"{hex_part(packed)}.frames"


_TASK: Final = "fetch layers"


@record
class _Lack:
    """What is needed of a layer: all of it when there is no table."""

    size_bytes: int
    table: Table | None = None
    frames: tuple[int, ...] = ()


class _PartialLayer:
    """A layer's file in the cache, of which some frames are there."""

    def __init__(self, path: Path, ref: LayerRef, table: Table) -> None:
        self._path = path
        self._what = f"layer {ref.component}"
        self._table = table
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def close(self) -> None:
        os.close(self._descriptor)

    def span(self, run: range) -> tuple[int, int]:
        """Return where the frames ``run`` begin and end in the layer."""
        ends, frames = self._table.packed_ends, self._table.frames
        return ends[run.start] - frames[run.start].packed_bytes, ends[run.stop - 1]

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Return those of the frames ``numbers`` that are not there, whole and right."""
        found = []
        for number in numbers:
            frame = self._table.frames[number]
            data = os.pread(self._descriptor, frame.packed_bytes, self._table.packed_ends[number] - frame.packed_bytes)
            if hashlib.sha256(data).digest() != frame.sha256:
                found.append(number)
        return found

    def put(self, run: range, data: bytes) -> None:
        """Compare the frames ``run`` with the table, each, and write them. Raises :class:`IntegrityError` before anything is."""
        view, position = memoryview(data), 0
        for number in run:
            frame = self._table.frames[number]
            if hashlib.sha256(view[position : position + frame.packed_bytes]).digest() != frame.sha256:
                msg = f"{self._what}: the registry sent something else than frame {number} of its table of contents"
                raise IntegrityError(msg, hint="what has come so far is kept; try again, or from another registry")
            position += frame.packed_bytes
        with about(self._path):
            _write_at(self._descriptor, data, self.span(run)[0])


def _runs(table: Table, numbers: Sequence[int]) -> list[range]:
    """Return ``numbers`` as runs of frames that are fetched at once, small gaps included."""
    runs: list[range] = []
    for number in numbers:
        size = table.frames[number].packed_bytes
        if runs:
            last = runs[-1]
            begin = table.packed_ends[last.start] - table.frames[last.start].packed_bytes
            gap = table.packed_ends[number] - size - table.packed_ends[last.stop - 1]
            if gap < _GAP_BYTES and table.packed_ends[number] - begin <= _RANGE_BYTES:
                runs[-1] = range(last.start, number + 1)
                continue
        runs.append(range(number, number + 1))
    return runs


def _frames(table: Table, wanted: Wanted) -> tuple[int, ...]:
    """Return the frames that unpacking the wanted files reads: all when all are, those with headers alone too."""
    files = [(path, entry) for path, entry in table.tree.entries.items() if isinstance(entry, File)]
    chosen = [(path, entry) for path, entry in files if wanted(path, entry)]
    if len(chosen) == len(files):
        return tuple(range(len(table.frames)))
    numbers: set[int] = set()
    for path, entry in chosen:
        start = table.offsets[path]
        numbers.update(table.frames_of(start, start + entry.size_bytes))
    return tuple(sorted(numbers))


def _descriptor(ref: LayerRef) -> Descriptor:
    return Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=ref.packed, size_bytes=ref.packed_size_bytes)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
