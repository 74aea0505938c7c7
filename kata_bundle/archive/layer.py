"""A component as one packed archive: packing, checking without unpacking, unpacking, and reading back what is on disk.

The four agree on identity: for a tree packed here, or a foreign archive that passes the rules of ``archive.kata``, the tree
scanned, the tree extracted and the tree read back from the extraction are equal. Must not know: stores, nodes, where layers
come from.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from kata_bundle.archive.agreement import check_table
from kata_bundle.archive.extract import ExtractOptions, LayerJob, extract_layers
from kata_bundle.archive.extracted import Extracted
from kata_bundle.archive.frames import FrameRecord
from kata_bundle.archive.holes import HoleFinder
from kata_bundle.archive.kata import iter_kata_entries
from kata_bundle.archive.readahead import read_ahead
from kata_bundle.archive.rules import DEFAULT_LIMITS, PREFIX, Limits, check_symlink
from kata_bundle.archive.streams import Source, open_source
from kata_bundle.archive.tarwriter import tar_size, write_tar
from kata_bundle.archive.toc import Table, render_trailer
from kata_bundle.archive.unpack import TaskStream, check_packed, extract_stream
from kata_bundle.archive.zstd import open_compressor, open_decompressor
from kata_bundle.core.digest import Digest, HashingReader, HashingWriter
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, quoted
from kata_bundle.core.tree import Entry, File, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from kata_bundle.archive.framewriter import FramePool
    from kata_bundle.archive.streams import Opener
    from kata_bundle.archive.toc import TableRef
    from kata_bundle.archive.zstd import Recipe
    from kata_bundle.core.fsops import FileOps
    from kata_bundle.core.streams import Writable

__all__ = ["Extracted", "PackedLayer", "extract_layer", "pack_layer", "scan_layer"]


@record
class PackedLayer:
    """The identities and sizes of one packed layer.

    ``recipe`` is ``None`` for one whose making is not known, ``table`` for one without a table of contents.
    """

    tree: Digest
    packed: Digest
    packed_size_bytes: int
    diff_id: Digest
    unpacked_size_bytes: int
    recipe: Recipe | None
    table: TableRef | None = None


def pack_layer(
    tree: Tree,
    open_file: Callable[[Digest], BinaryIO],
    sink: Writable,
    *,
    recipe: Recipe,
    mtime: int,
    what: str | None = None,
    threads: int = 1,
    pool: FramePool | None = None,
    progress: Progress = NO_PROGRESS,
) -> PackedLayer:
    """Write ``tree`` to ``sink`` as a packed layer and return its identities.

    ``open_file`` opens a file's content by digest; ``mtime`` is every member's time in seconds since 1970; ``what`` is the name
    in ``progress`` (default: the digest). A recipe with a frame size makes frames and a table of contents (docs/reference/
    layer-format.md), one without a single frame. Equal arguments give equal bytes; ``threads`` does not change them, nor does
    ``pool``, whose threads are used instead of new ones and whose recipe must be the same. Raises
    :class:`IntegrityError` when a content is not what its digest says, or the tree has what an archive may not have: set-id or
    sticky bits, links that leave the tree.
    """
    for path, entry in tree.entries.items():
        if isinstance(entry, Symlink):
            try:
                check_symlink(path, entry.target)
            except ArchiveError as error:
                msg = f"{quoted(path)} cannot be packed: {error}"
                raise ArchiveError(msg) from None
    size = tar_size(tree.entries.items(), mtime=mtime)
    packed = HashingWriter(sink)
    task = f"pack {what or tree.digest[:19]}"
    advance = partial(progress.advance, task)
    progress.start(task, size)
    try:
        if recipe.frame_size is None:
            with open_compressor(packed, recipe, size, threads=threads) as compressor:
                unpacked = HashingWriter(compressor)
                members = ((path, entry, _opener(entry, open_file)) for path, entry in tree.entries.items())
                write_tar(members, unpacked, mtime=mtime, on_progress=advance)
            table, diff_id = None, unpacked.digest
        else:
            from kata_bundle.archive.framewriter import FramePool

            with FramePool(recipe, threads=threads) if pool is None else nullcontext(pool) as frames:
                made = _pack_frames(tree, open_file, packed, frames, size, mtime=mtime, on_progress=advance)
            table, diff_id = made.ref(), made.diff_id
    finally:
        progress.finish(task)
    return PackedLayer(
        tree=tree.digest,
        packed=packed.digest,
        packed_size_bytes=packed.size_bytes,
        diff_id=diff_id,
        unpacked_size_bytes=size,
        recipe=recipe,
        table=table,
    )


def _pack_frames(
    tree: Tree,
    open_file: Callable[[Digest], BinaryIO],
    sink: Writable,
    pool: FramePool,
    size: int,
    *,
    mtime: int,
    on_progress: Callable[[int], None],
) -> Table:
    from kata_bundle.archive.framewriter import FrameWriter, cut_frames

    recipe, holes = pool.recipe, dict[RelPath, HoleFinder]()

    def opener(path: RelPath, entry: Entry) -> Opener | None:
        if not isinstance(entry, File):
            return None
        holes[path] = finder = HoleFinder()
        return lambda: cast("BinaryIO", _Watched(open_file(entry.digest), finder))

    frames = FrameWriter(sink, cut_frames(tree, size, mtime=mtime, frame_size=recipe.frame_size or size), pool)
    unpacked = HashingWriter(frames)
    write_tar(
        ((path, entry, opener(path, entry)) for path, entry in tree.entries.items()),
        unpacked,
        mtime=mtime,
        on_progress=on_progress,
    )
    table = Table.of(
        tree,
        recipe=recipe,
        mtime=mtime,
        diff_id=unpacked.digest,
        frames=frames.finish(),
        holes={path: finder.holes for path, finder in holes.items()},
    )
    sink.write(render_trailer(table.to_json()))
    return table


def scan_layer(
    source: Source, *, what: str, limits: Limits = DEFAULT_LIMITS, progress: Progress = NO_PROGRESS
) -> tuple[Tree, PackedLayer]:
    """Read a packed layer of any maker to its end; return its tree and identities.

    Everything that :func:`extract_layer` would refuse is refused with :class:`ArchiveError`, but for what depends on a disk. Tree
    and identities are those of the tar, as any reader of tar sees it; a table of contents that says anything else is refused.
    """
    record = FrameRecord()
    with open_source(source) as stream, TaskStream(progress, f"scan {what}", stream) as task:
        packed = HashingReader(task)
        decoded = open_decompressor(packed, limit_bytes=limits.max_unpacked_bytes, what=what, record=record)
        with read_ahead(decoded) as content:
            unpacked = HashingReader(content)
            reader = iter_kata_entries(unpacked, what=what, limits=limits, find_holes=True)
            for _ in reader:
                pass
    tree = reader.tree()
    table = None
    if record.trailer is not None:
        table = check_table(record, reader, tree, unpacked, what=what, limits=limits)
    return tree, PackedLayer(
        tree=tree.digest,
        packed=packed.digest,
        packed_size_bytes=packed.size_bytes,
        diff_id=unpacked.digest,
        unpacked_size_bytes=unpacked.size_bytes,
        recipe=None if table is None else table.recipe,
        table=None if table is None else table.ref(),
    )


def extract_layer(
    source: Source,
    target: Path,
    *,
    what: str,
    dest: str = "/" + PREFIX,
    files: FileOps | None = None,
    expected_packed: Digest | None = None,
    expected_tree: Digest | None = None,
    limits: Limits = DEFAULT_LIMITS,
    jobs: int = 1,
    progress: Progress = NO_PROGRESS,
) -> Extracted:
    """Unpack a layer into the existing directory ``target``, which will be found at ``dest``; return what is there now.

    With ``expected_packed`` the packed bytes are checked before any is decoded or written, for which ``source`` must be a path
    or be able to seek. With ``expected_tree`` the content is checked at the end. Absolute symbolic links below ``/opt/kata``
    are rewritten to ``dest``. Files get the permission bits and time of their member, and the owner of this process. Nothing is
    flushed. A path whose layer has a table of contents is unpacked from that, by ``jobs`` threads.

    Raises :class:`ArchiveError` for a malformed or hostile archive, :class:`IntegrityError` for one that is not the expected,
    and ``OSError``; then ``target`` may hold a part of the layer, but nothing outside it was touched.
    """
    if isinstance(source, (str, os.PathLike)):
        job = LayerJob(what=what, path=source, target=target, packed=expected_packed, tree=expected_tree)
        options = ExtractOptions(jobs=jobs, limits=limits)
        return extract_layers([job], dest=dest, files=files, options=options, progress=progress)[0]
    if expected_packed is not None:
        check_packed(source, expected_packed, what)
    return extract_stream(
        source, target, what=what, dest=dest, files=files, expected_tree=expected_tree, limits=limits, progress=progress
    )


class _Watched:
    """A content whose bytes are shown to a finder of holes as they are read."""

    def __init__(self, stream: BinaryIO, finder: HoleFinder) -> None:
        self._stream = stream
        self._finder = finder

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.__exit__(kind, error, trace)

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._finder.feed(data)
        return data


def _opener(entry: Entry, open_file: Callable[[Digest], BinaryIO]) -> Opener | None:
    return partial(open_file, entry.digest) if isinstance(entry, File) else None
