"""A packed layer with a table of contents, read at any place: every frame is authenticated before it is decoded.

Trust goes down one chain: the digest of the table, from whoever is trusted, then the sha256 of each compressed frame in it. What
decodes is compared with what the table says outside of contents, too: headers, padding, holes. Must not know: where contents go.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Self

from kata_bundle.archive.rules import DEFAULT_LIMITS, PREFIX, Limits
from kata_bundle.archive.tarheader import BLOCK
from kata_bundle.archive.tarwriter import TAR_END, member_header, prefix_headers
from kata_bundle.archive.toc import FOOTER_SIZE, MAX_TABLE, Table, TableRef, max_packed, parse_footer, trailer_around
from kata_bundle.archive.zstd import FrameDecoder
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.relpath import quoted
from kata_bundle.core.tree import File

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from kata_bundle.core.fsops import StrPath
    from kata_bundle.core.relpath import RelPath

__all__ = ["FrameReader", "LayerFile", "Part", "read_exactly", "read_table"]


def read_table(
    descriptor: int, size_bytes: int, ref: TableRef | None, *, what: str, limits: Limits = DEFAULT_LIMITS
) -> Table | None:
    """Return the table of the layer of ``size_bytes`` open at ``descriptor``; ``None`` when ``ref`` is ``None`` and it has none.

    With ``ref`` the table must be exactly that; without, it is what the file says of itself: well formed and consistent, not
    authenticated. Raises :class:`ArchiveError` naming ``what`` for a table that is not valid, :class:`IntegrityError` for another
    one than ``ref``.
    """
    found = ref
    if found is None:
        footer = b"" if size_bytes < FOOTER_SIZE else _pread(descriptor, FOOTER_SIZE, size_bytes - FOOTER_SIZE, what)
        length = parse_footer(footer)
        if length is None:
            return None
        if not 0 < length <= min(MAX_TABLE, size_bytes - FOOTER_SIZE):
            msg = f"{what}: a table of contents of {length} bytes is announced, more than the layer has or than is allowed"
            raise ArchiveError(msg)
    elif found.packed_size_bytes != size_bytes:
        msg = f"{what} has {size_bytes} bytes, expected {found.packed_size_bytes}: its table of contents is not where it shall be"
        raise IntegrityError(msg)
    else:
        length = found.size_bytes
    before, after = trailer_around(length)
    offset = size_bytes - FOOTER_SIZE - length
    start = offset - len(before)
    whole = b"" if start < 0 else _pread(descriptor, size_bytes - start, start, what)
    document = whole[len(before) : len(before) + length]
    if ref is not None and (digest := digest_bytes(document)) != ref.digest:
        msg = f"{what}: its table of contents has the digest {digest}, expected {ref.digest}"
        raise IntegrityError(msg)
    if whole[: len(before)] != before or whole[len(before) + length :] != after:
        msg = f"{what}: there is more or something else around its table of contents"
        raise ArchiveError(msg)
    del whole
    table = Table.from_json(document, what=what, limits=limits)
    if table.packed_bytes != start:
        msg = f"{what}: the frames of its table of contents have {table.packed_bytes} bytes, there are {start}"
        raise ArchiveError(msg)
    return table


class Part:
    """What a frame holds of one file: bytes ``start`` to ``end`` of the frame are the file's content from ``offset`` on."""

    __slots__ = ("end", "entry", "offset", "path", "start")

    def __init__(self, path: RelPath, entry: File, offset: int, start: int, end: int) -> None:
        self.path = path
        self.entry = entry
        self.offset = offset
        self.start = start
        self.end = end


class LayerFile:
    """An opened layer with a table. A context manager; safe to use from several threads, each with its :class:`FrameReader`."""

    def __init__(self, descriptor: int, table: Table, *, what: str) -> None:
        self._descriptor = descriptor
        self.table = table
        self.what = what
        self._starts = table.starts
        self._members = tuple(table.tree.entries)

    @classmethod
    def open(cls, path: StrPath, ref: TableRef | None, *, what: str, limits: Limits = DEFAULT_LIMITS) -> LayerFile | None:
        """Return the layer at ``path``; ``None`` when ``ref`` is ``None`` and it has no table. Raises as :func:`read_table`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            table = read_table(descriptor, os.fstat(descriptor).st_size, ref, what=what, limits=limits)
        except BaseException:
            os.close(descriptor)
            raise
        if table is None:
            os.close(descriptor)
            return None
        return cls(descriptor, table, what=what)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def parts(self, number: int) -> Iterator[Part]:
        """Yield what frame ``number`` holds of files, in their order; empty files have no part."""
        end = self.table.tar_ends[number]
        start = end - self.table.frames[number].tar_bytes
        index = max(bisect_right(self._starts, start) - 1, 0)
        for path in islice(self._members, index, None):
            entry = self.table.tree.entries[path]
            if not isinstance(entry, File):
                continue
            content = self.table.offsets[path]
            if content >= end:
                return
            first, last = max(content, start), min(content + entry.size_bytes, end)
            if first < last:
                yield Part(path, entry, first - content, first - start, last - start)

    def chunks(self, path: RelPath, reader: FrameReader | None = None) -> Iterator[bytes]:
        """Yield the content of the regular file ``path`` in pieces of at most one frame; ``KeyError`` when it is none.

        Frames are checked as :meth:`FrameReader.read` does, contents are not hashed.
        """
        entry, start = self.table.tree.entries[path], self.table.offsets[path]
        if not isinstance(entry, File):  # pragma: no cover - only files have an offset
            raise KeyError(path)
        reader = reader or FrameReader(self.table.recipe.frame_size or 0)
        for number in self.table.frames_of(start, start + entry.size_bytes):
            for part in reader.read(self, number):
                if part.path == path:
                    yield bytes(reader.data[part.start : part.end])

    def read(self, path: RelPath, reader: FrameReader | None = None) -> bytes:
        """Return the content of the regular file ``path``, hashed; for small ones.

        Raises as :meth:`chunks` does, and :class:`IntegrityError` when it has not the digest that the table gives.
        """
        entry = self.table.tree.entries[path]
        data = b"".join(self.chunks(path, reader))
        if isinstance(entry, File) and digest_bytes(data) != entry.digest:
            msg = f"{self.what}: {quoted(path)} has not the digest that the table of contents gives"
            raise ArchiveError(msg)
        return data

    def packed_frame(self, number: int, buffer: bytearray) -> memoryview:
        """Return frame ``number`` as it is packed, read into ``buffer`` and authenticated."""
        frame = self.table.frames[number]
        view = memoryview(buffer)[: frame.packed_bytes]
        read_exactly(self._descriptor, view, self.table.packed_ends[number] - frame.packed_bytes, what=self.what)
        if hashlib.sha256(view).digest() != frame.sha256:
            msg = f"{self.what}: frame {number} is not the one that the table of contents names"
            raise IntegrityError(msg)
        return view

    def check_frame(self, number: int, data: bytearray, parts: list[Part]) -> None:
        """Compare what frame ``number`` decoded to, in ``data``, with the table wherever it is no content.

        Holes are left to those who write them. Raises :class:`ArchiveError` where table and tar differ.
        """
        size = self.table.frames[number].tar_bytes
        position = 0
        for part in parts:
            self._check_gap(number, data, position, part.start)
            position = part.end
        self._check_gap(number, data, position, size)

    def _check_gap(self, number: int, data: bytearray, start: int, end: int) -> None:
        if start == end:
            return
        base = self.table.tar_ends[number] - self.table.frames[number].tar_bytes
        expected = self._outside(base + start, base + end)
        if len(expected) != end - start or not data.startswith(expected, start):
            msg = f"{self.what}: frame {number} does not decode to the headers that follow from the table of contents"
            raise ArchiveError(msg)

    def _outside(self, start: int, end: int) -> bytes:
        """Return the bytes ``start`` to ``end`` of the tar, among which there is no content."""
        found = bytearray()
        for position, data in self._headers(bisect_right(self._starts, start) - 1):
            if position >= end:
                break
            found += data[max(start - position, 0) : end - position]
        return bytes(found)

    def _headers(self, index: int) -> Iterator[tuple[int, bytes]]:
        """Yield what is no content in the tar, with its place, from member ``index`` on."""
        table = self.table
        if index < 0:
            yield 0, prefix_headers(PREFIX, table.mtime)
        for number, path in enumerate(islice(self._members, max(index, 0), None), max(index, 0)):
            entry = table.tree.entries[path]
            yield self._starts[number], member_header(path, entry, mtime=table.mtime)
            if isinstance(entry, File):
                yield table.offsets[path] + entry.size_bytes, bytes(-entry.size_bytes % BLOCK)
        yield table.tar_size - len(TAR_END), TAR_END


class FrameReader:
    """Reads and decodes frames into buffers that are used again for each. Of one thread.

    ``frame_size`` is the largest of the layers that it shall serve.
    """

    def __init__(self, frame_size: int) -> None:
        self._packed = bytearray(max_packed(frame_size))
        self._decoder = FrameDecoder(frame_size)
        self.data = self._decoder.buffer
        """Where the content of the frame read last lies, from its start."""

    def read(self, layer: LayerFile, number: int) -> list[Part]:
        """Put frame ``number`` into :attr:`data` and return what it holds of files.

        It was authenticated before it was decoded, and compared with the table outside of contents. Raises
        :class:`IntegrityError` for another frame than the table's, :class:`ArchiveError` for one that does not decode to it.
        """
        packed = layer.packed_frame(number, self._packed)
        what = f"{layer.what}: frame {number}"
        self._decoder.decode(packed, layer.table.frames[number].tar_bytes, what=what)
        parts = list(layer.parts(number))
        layer.check_frame(number, self.data, parts)
        return parts


def read_exactly(descriptor: int, view: memoryview, offset: int, *, what: str) -> None:
    """Fill ``view`` from ``offset`` of a file; raise :class:`IntegrityError` when it ends before."""
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if not count:
            msg = f"{what} became shorter while it was read"
            raise IntegrityError(msg)
        done += count


def _pread(descriptor: int, size: int, offset: int, what: str) -> bytes:
    data = bytearray(size)
    read_exactly(descriptor, memoryview(data), offset, what=what)
    return bytes(data)
