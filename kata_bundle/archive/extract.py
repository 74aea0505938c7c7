"""Unpacking layers, all of an install at once: frames of all of them are the pieces that a few threads take.

A layer with a table of contents is placed from its table: directories and links first, then contents straight to their offsets,
each frame authenticated before it is decoded. A layer without one is a single piece. Memory is two frames a thread, whatever the
sizes of files. Must not know: generations, stores.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from kata_bundle.archive.durable import flush_directories, flush_files
from kata_bundle.archive.extracted import Extracted, with_links_for
from kata_bundle.archive.known import Inodes, place_known
from kata_bundle.archive.layerfile import FrameReader, LayerFile
from kata_bundle.archive.placer import NewFile, Placer, write_with_holes
from kata_bundle.archive.rules import DEFAULT_LIMITS, PREFIX, Limits, rewrite_target
from kata_bundle.archive.workers import SerialFileOps, run_pieces
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.fsops import FileOps, about
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, quoted
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from kata_bundle.archive.layerfile import Part
    from kata_bundle.archive.toc import TableRef
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fsops import StrPath

__all__ = ["ExtractOptions", "LayerJob", "Reuse", "extract_layers"]

_LARGE: Final = 1 << 20
"""Files from this size on are flushed when they are complete, while others are still being made."""
_HASH_SIZE: Final = 1 << 18


@record
class LayerJob:
    """A layer to unpack and what is known of it.

    With ``table`` the whole chain of trust begins there and ``packed`` is not computed. Without, a layer with ``packed`` is read
    and checked before any of it is decoded; with neither it is taken as it is.
    """

    what: str
    path: StrPath
    target: StrPath
    """An existing directory."""
    packed: Digest | None = None
    tree: Digest | None = None
    table: TableRef | None = None


@record
class ExtractOptions:
    """How to unpack."""

    jobs: int = 2
    verify_files: bool = False
    """Hash every file and compare it with the table, though its frames were authenticated."""
    durable: bool = False
    """Flush files and directories below the targets before returning."""
    identify: bool = True
    """Hash the files of layers without a table, which alone tells their tree."""
    limits: Limits = DEFAULT_LIMITS


@record
class Reuse:
    """Files that are on disk already: they are linked, cloned or copied, and frames that hold nothing else are not read.

    No inode is linked twice in one call: what are two files in a tree stay two.
    """

    find: Callable[[File], str | None]
    """Return the path of a file that is known to have this content, ``None`` to unpack it."""
    may_link: bool = True


def extract_layers(
    jobs: Sequence[LayerJob],
    *,
    dest: str = "/" + PREFIX,
    files: FileOps | None = None,
    options: ExtractOptions | None = None,
    reuse: Reuse | None = None,
    wanted: Callable[[RelPath, File], bool] | None = None,
    progress: Progress = NO_PROGRESS,
) -> list[Extracted]:
    """Unpack each of ``jobs`` into its directory, which will be found at ``dest``; return what is there now, in their order.

    Files for which ``wanted`` says no are left out; of layers without a table everything is unpacked, and nothing reused. Links
    are rewritten, modes and times set as :func:`~kata_bundle.archive.layer.extract_layer` does. ``files`` is told of changes one
    at a time, with more than one thread in no certain order.

    Raises :class:`ArchiveError` for a malformed or hostile layer, :class:`IntegrityError` for one that is not the expected, and
    ``OSError``; then the targets may hold parts, but nothing outside of them was touched.
    """
    options = options or ExtractOptions()
    serial = SerialFileOps(files or FileOps())
    run = _Run(dest=dest, files=serial, options=options, progress=progress, inodes=Inodes())
    _check_whole([job for job in jobs if job.table is None and job.packed is not None], options.jobs)
    with ExitStack() as stack:
        layers: list[_Layer | _Stream] = []
        for job in jobs:
            opened = LayerFile.open(job.path, job.table, what=job.what, limits=options.limits)
            if opened is None:
                layers.append(_Stream(job, run))
            else:
                stack.enter_context(opened)
                layers.append(_Layer(job, opened, stack.enter_context(Placer(job.target, serial)), run))
        framed = [layer for layer in layers if isinstance(layer, _Layer)]
        streams = [layer for layer in layers if isinstance(layer, _Stream)]
        size = max((layer.layer.table.recipe.frame_size or 0 for layer in framed), default=0)
        try:
            for layer in framed:
                layer.begin(reuse, wanted)
            is_alone = len(streams) == 1 and not framed
            pieces: list[_Piece] = [
                partial(stream.extract, ahead=is_alone) for stream in sorted(streams, key=lambda s: -s.size_bytes)
            ]
            for layer in sorted(framed, key=lambda one: -one.left_bytes):
                pieces += layer.pieces()
            threads = min(options.jobs, len(pieces))
            run_pieces(pieces, threads=threads, tools=lambda: _Tools(serial, size))
            for layer in framed:
                layer.finish()
        finally:
            for each in layers:
                each.close()
        if options.durable:
            flush_files([(layer.job.target, path) for layer in layers for path in layer.small])
            flush_directories(dict.fromkeys(job.target for job in jobs), serial)
    return [layer.extracted for layer in layers]


class _Tools:
    """What a thread needs: buffers, and a placer for each target."""

    def __init__(self, files: FileOps, frame_size: int) -> None:
        self._files = files
        self._placers: dict[StrPath, Placer] = {}
        self.reader = FrameReader(frame_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for placer in self._placers.values():
            placer.__exit__(kind, error, trace)

    def placer(self, target: StrPath) -> Placer:
        found = self._placers.get(target)
        if found is None:
            found = self._placers[target] = Placer(target, self._files)
        return found


_Piece: TypeAlias = "Callable[[_Tools], None]"


@record
class _Run:
    """What all layers share."""

    dest: str
    files: FileOps
    options: ExtractOptions
    progress: Progress
    inodes: Inodes


class _Stream:
    """A layer without a table: one piece of work."""

    def __init__(self, job: LayerJob, run: _Run) -> None:
        self.job = job
        self._run = run
        self.size_bytes = os.stat(job.path).st_size
        self.small: list[RelPath] = []
        self.extracted: Extracted

    def extract(self, tools: _Tools, *, ahead: bool) -> None:
        from kata_bundle.archive.unpack import extract_stream

        del tools
        job, options = self.job, self._run.options
        self.extracted = extract_stream(
            job.path,
            job.target,
            what=job.what,
            dest=self._run.dest,
            files=self._run.files,
            expected_tree=job.tree,
            limits=options.limits,
            identify=options.identify,
            ahead=ahead,
            progress=self._run.progress,
        )
        if options.durable:
            self.small = [path for path, entry in self.extracted.tree.entries.items() if isinstance(entry, File)]

    def close(self) -> None:
        """Nothing is kept open."""


class _Growing:
    """A file whose content comes from several frames."""

    __slots__ = ("left", "new")

    def __init__(self, new: NewFile, size_bytes: int) -> None:
        self.new = new
        self.left = size_bytes


class _Layer:
    """A layer with a table, while it is unpacked."""

    def __init__(self, job: LayerJob, layer: LayerFile, placer: Placer, run: _Run) -> None:
        table = layer.table
        if job.tree is not None and table.tree.digest != job.tree:
            msg = f"{job.what} holds the tree {table.tree.digest}, expected {job.tree}"
            raise IntegrityError(msg)
        self.job = job
        self.layer = layer
        self.left_bytes = 0
        self.small: list[RelPath] = []
        self.extracted = Extracted(tree=table.tree, installed=with_links_for(table.tree, run.dest), left_out=0)
        self._placer = placer
        self._dest = run.dest
        self._options = run.options
        self._progress = run.progress
        self._inodes: Inodes | None = run.inodes
        self._task = f"extract {job.what}"
        self._is_started = False
        self._mtime_ns = table.mtime * 10**9
        self._left_out: set[RelPath] = set()
        """Files that no frame is read for."""
        self._absent: set[RelPath] = set()
        """Files that are left out of the disk altogether."""
        self._known: list[tuple[RelPath, File, str]] = []
        self._frames: list[int] = []
        self._growing: dict[RelPath, _Growing] = {}
        self._lock = threading.Lock()

    def begin(self, reuse: Reuse | None, wanted: Callable[[RelPath, File], bool] | None) -> None:
        """Make what needs no frame, and decide which frames are needed."""
        table, placer = self.layer.table, self._placer
        for path, entry in table.tree.entries.items():
            match entry:
                case Directory(mode=mode):
                    placer.directory(path, mode=mode, mtime_ns=self._mtime_ns)
                case Symlink(target=target):
                    placer.symlink(path, rewrite_target(target, self._dest), mtime_ns=self._mtime_ns)
                case File() if wanted is not None and not wanted(path, entry):
                    self._left_out.add(path)
                    self._absent.add(path)
                case File(size_bytes=0, mode=mode):
                    placer.file(path, (), mode=mode, mtime_ns=self._mtime_ns)
                    self.small.append(path)
                case File() if reuse is not None and (source := reuse.find(entry)) is not None:
                    self._left_out.add(path)
                    self._known.append((path, entry, source))
                    self._inodes = self._inodes if reuse.may_link else None
        self._frames = self._needed()
        self.left_bytes = sum(table.frames[number].packed_bytes for number in self._frames)
        self._progress.start(self._task, self.left_bytes)
        self._is_started = True

    def pieces(self) -> Iterator[_Piece]:
        """Yield the work that is left, in the order of the archive, so that few files are open at once."""
        for path, entry, source in self._known:
            yield partial(self._place_known, path=path, entry=entry, source=source)
        for number in self._frames:
            yield partial(self._unpack, number=number)

    def finish(self) -> None:
        """Make what other files have to be there for."""
        tree = self.layer.table.tree
        for path, entry in tree.entries.items():
            if isinstance(entry, Hardlink) and entry.target not in self._absent:
                self._placer.hardlink(path, entry.target)
        self._placer.finish()

    def close(self) -> None:
        """Remove what is not complete."""
        for growing in self._growing.values():
            self._placer.abandon(growing.new)
        if self._is_started:
            self._progress.finish(self._task)

    def _needed(self) -> list[int]:
        table = self.layer.table
        if not self._left_out:
            # Frames of headers alone, too: they hold nothing to place, but a reader of the tar would see them.
            return list(range(len(table.frames)))
        numbers: set[int] = set()
        for path, start in table.offsets.items():
            entry = table.tree.entries[path]
            if path not in self._left_out and isinstance(entry, File):
                numbers.update(table.frames_of(start, start + entry.size_bytes))
        return sorted(numbers)

    def _place_known(self, tools: _Tools, *, path: RelPath, entry: File, source: str) -> None:
        placer, target = tools.placer(self.job.target), self.job.target
        how = place_known(placer, target, path, entry, source, mtime_ns=self._mtime_ns, inodes=self._inodes)
        if how != "link":
            self.small.append(path)

    def _unpack(self, tools: _Tools, *, number: int) -> None:
        reader, placer = tools.reader, tools.placer(self.job.target)
        for part in reader.read(self.layer, number):
            if part.path in self._left_out:
                continue
            with about(os.path.join(self.job.target, part.path)):
                if part.end - part.start == part.entry.size_bytes:
                    self._write_whole(placer, reader, part)
                else:
                    self._write_part(placer, reader, part)
        self._progress.advance(self._task, self.layer.table.frames[number].packed_bytes)

    def _write_whole(self, placer: Placer, reader: FrameReader, part: Part) -> None:
        if self._options.verify_files:
            content = memoryview(reader.data)[part.start : part.end]
            self._compare(part.path, part.entry, hashlib.sha256(content).hexdigest())
        new = placer.begin(part.path)
        try:
            if write_with_holes(new.descriptor, reader.data, 0, part.start, part.end) != part.entry.size_bytes:
                os.ftruncate(new.descriptor, part.entry.size_bytes)
            self._commit(placer, new, part.entry)
        finally:
            placer.abandon(new)

    def _write_part(self, placer: Placer, reader: FrameReader, part: Part) -> None:
        with self._lock:
            growing = self._growing.get(part.path)
            if growing is None:
                growing = self._growing[part.path] = _Growing(placer.begin(part.path), part.entry.size_bytes)
                os.ftruncate(growing.new.descriptor, part.entry.size_bytes)
        write_with_holes(growing.new.descriptor, reader.data, part.offset, part.start, part.end)
        with self._lock:
            growing.left -= part.end - part.start
            if growing.left:
                return
        if self._options.verify_files:
            self._compare(part.path, part.entry, _hash(growing.new.descriptor))
        self._commit(placer, growing.new, part.entry)
        placer.abandon(growing.new)

    def _commit(self, placer: Placer, new: NewFile, entry: File) -> None:
        if self._options.durable:
            if entry.size_bytes >= _LARGE:
                os.fsync(new.descriptor)
            else:
                self.small.append(new.path)
        placer.commit(new, mode=entry.mode, mtime_ns=self._mtime_ns)

    def _compare(self, path: RelPath, entry: File, found: str) -> None:
        if f"sha256:{found}" != entry.digest:
            msg = f"{self.job.what}: {quoted(path)} has the digest sha256:{found}, its table of contents says {entry.digest}"
            raise ArchiveError(msg)


def _check_whole(jobs: Sequence[LayerJob], threads: int) -> None:
    """Compare the packed bytes of ``jobs`` with their digests."""
    ordered = sorted(jobs, key=lambda job: -os.stat(job.path).st_size)
    pieces: list[_Piece] = [partial(_check_one, job=job) for job in ordered]
    if pieces:
        run_pieces(pieces, threads=min(threads, len(pieces)), tools=lambda: _Tools(FileOps(), 0))


def _check_one(tools: _Tools, *, job: LayerJob) -> None:
    from kata_bundle.archive.unpack import check_packed

    del tools
    if job.packed is not None:
        with open(job.path, "rb", buffering=0) as stream:
            check_packed(stream, job.packed, job.what)


def _hash(descriptor: int) -> str:
    state, buffer, offset = hashlib.sha256(), bytearray(_HASH_SIZE), 0
    view = memoryview(buffer)
    while count := os.preadv(descriptor, [buffer], offset):
        state.update(view[:count])
        offset += count
    return state.hexdigest()
