"""The frame structure of a zstd stream, followed without decoding it.

libzstd's streaming reader cannot tell a stream that ends inside a frame from one that ends after it. :class:`FrameWalker` sits
between a source and the decoder and reads just the headers (RFC 8878, section 3), so that truncation, garbage between frames, a
too large window and a too large declared size are refused before the decoder sees the bytes.

It is also where a layer of many independent frames with a table of contents in a skippable frame meets the plain single-frame
kind: both are a sequence of frames here. Must not know: what the frames contain.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Generator

    from kata_bundle.core.streams import Readable

__all__ = ["MAX_WINDOW", "SKIPPABLE_MAGIC", "FrameRecord", "FrameWalker", "measure_frame"]

MAX_WINDOW: Final = 1 << 27
"""Largest decoder window accepted, in bytes (``zstd --long=27``); it bounds the decoder's memory."""

SKIPPABLE_MAGIC: Final = b"\x5a\x2a\x4d\x18"
"""How the skippable frame of a table of contents begins (RFC 8878, section 3.1.2)."""
_MAX_KEPT: Final = (64 << 20) + 24
"""Longest such frame that is kept: the longest table, and what stands around it."""
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_CHECKSUM_FLAG: Final = 0x04
_RESERVED_FLAG: Final = 0x08
_SINGLE_SEGMENT_FLAG: Final = 0x20
_RLE_BLOCK: Final = 1
_RESERVED_BLOCK: Final = 3


def measure_frame(data: memoryview) -> tuple[int, int]:
    """Return the packed length of the data frame that ``data`` begins with, and the length of content that it states.

    Without decoding it: from the headers of its blocks. Raises :class:`ArchiveError` for what is no complete frame, needs a
    dictionary, or does not state its length.
    """
    try:
        descriptor = data[4]
        is_plain = bytes(data[:4]) == _MAGIC and not descriptor & (_RESERVED_FLAG | 3)
        single_segment = bool(descriptor & _SINGLE_SEGMENT_FLAG)
        width = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
        if not is_plain or not width:
            msg = "no zstd frame that states its length"
            raise ArchiveError(msg)
        position = 5 if single_segment else 6
        content = int.from_bytes(data[position : position + width], "little") + (256 if width == 2 else 0)
        position += width
        last = 0
        while not last:
            block = data[position] | data[position + 1] << 8 | data[position + 2] << 16
            last = block & 1
            position += 4 if block & 6 == _RLE_BLOCK << 1 else 3 + (block >> 3)
        position += 4 if descriptor & _CHECKSUM_FLAG else 0
    except IndexError:
        position, content = len(data) + 1, 0
    if position > len(data):
        msg = "truncated inside a zstd frame"
        raise ArchiveError(msg)
    return position, content


class FrameRecord:
    """Every frame of a stream: packed length, the length of content that it states, sha256.

    ``trailer`` is the last frame itself if it may hold a table of contents, ``None`` otherwise.
    """

    def __init__(self) -> None:
        self.frames: list[tuple[int, int | None, bytes]] = []
        self.trailer: bytearray | None = None
        self.stated: int | None = None
        self._state = hashlib.sha256()
        self._size = 0

    def add(self, data: memoryview) -> None:
        """Take the next bytes of the frame under way."""
        self._state.update(data)
        if not self._size:
            self.trailer = bytearray()
        if self.trailer is not None:
            begin = bytes(self.trailer[:4]) + bytes(data[:4])
            if SKIPPABLE_MAGIC.startswith(begin[:4]) and len(self.trailer) + len(data) <= _MAX_KEPT:
                self.trailer += data
            else:
                self.trailer = None
        self._size += len(data)

    def close(self) -> None:
        """Note that the frame is complete."""
        self.frames.append((self._size, self.stated, self._state.digest()))
        self._state, self._size, self.stated = hashlib.sha256(), 0, None


class FrameWalker:
    """Pass bytes through, refusing with :class:`ArchiveError` what is no sequence of complete zstd frames.

    ``limit_bytes`` bounds the sum of the content sizes that frames declare. ``what`` names the stream in errors. ``record`` is
    told of every frame.
    """

    def __init__(self, source: Readable, *, what: str, limit_bytes: int, record: FrameRecord | None = None) -> None:
        self._source = source
        self._record = record
        self._what = what
        self._declared_left = limit_bytes
        self._limit = limit_bytes
        self.frame_count = 0
        self._at_boundary = False
        self._structure = self._walk()
        self._wanted = next(self._structure)
        self._header = bytearray()
        self._skip = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes of the source. Raises at the end of a source that stops inside a frame."""
        data = self._source.read(size)
        if data:
            self._follow(data)
        elif size != 0 and not (self._at_boundary and self.frame_count and not self._skip and not self._header):
            raise self._error("truncated inside a zstd frame" if self.frame_count else "too short to be a zstd stream")
        return data

    def _follow(self, data: bytes) -> None:
        position, end, noted = 0, len(data), 0
        record, view = self._record, memoryview(data)
        while True:
            step = min(self._skip, end - position)
            position += step
            self._skip -= step
            if record is not None:
                is_complete = self._at_boundary and not self._skip and not self._header and self.frame_count > len(record.frames)
                if is_complete or position == end:
                    record.add(view[noted:position])
                    noted = position
                if is_complete:
                    record.close()
            if position == end:
                return
            taken = data[position : position + self._wanted - len(self._header)]
            position += len(taken)
            self._header += taken
            if len(self._header) == self._wanted:
                header, self._header = self._header, bytearray()
                self._wanted = self._structure.send(bytes(header))

    def _walk(self) -> Generator[int, bytes, None]:
        """Yield how many header bytes come next and receive them; payloads are passed over by way of ``_skip``."""
        while True:
            self._at_boundary = True
            magic = yield 4
            self._at_boundary = False
            self.frame_count += 1
            if magic[0] & 0xF0 == 0x50 and magic[1:] == b"\x2a\x4d\x18":
                self._skip = int.from_bytes((yield 4), "little")
            elif magic == _MAGIC:
                yield from self._walk_data_frame()
            else:
                raise self._error("no zstd stream" if self.frame_count == 1 else "bytes that are no zstd frame follow the frames")

    def _walk_data_frame(self) -> Generator[int, bytes, None]:
        descriptor = (yield 1)[0]
        if descriptor & _RESERVED_FLAG:
            msg = "a zstd frame of an unknown format"
            raise self._error(msg)
        single_segment = bool(descriptor & _SINGLE_SEGMENT_FLAG)
        size_width = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
        if not single_segment:
            window = (yield 1)[0]
            base = 1 << (10 + (window >> 3))
            if base + (base >> 3) * (window & 7) > MAX_WINDOW:
                msg = f"a zstd frame with a window over {MAX_WINDOW >> 20} MiB"
                raise self._error(msg)
        if descriptor & 3:
            msg = "a zstd frame that needs a dictionary"
            raise self._error(msg)
        if size_width:
            size = int.from_bytes((yield size_width), "little") + (256 if size_width == 2 else 0)
            if single_segment and size > MAX_WINDOW:
                msg = f"a zstd frame with a window over {MAX_WINDOW >> 20} MiB"
                raise self._error(msg)
            if self._record is not None:
                self._record.stated = size
            self._declared_left -= size
            if self._declared_left < 0:
                msg = f"more unpacked bytes declared than the {self._limit} allowed"
                raise self._error(msg)
        last = False
        while not last:
            block = int.from_bytes((yield 3), "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            if kind == _RESERVED_BLOCK:
                msg = "a corrupt zstd block"
                raise self._error(msg)
            self._skip = 1 if kind == _RLE_BLOCK else size
        if descriptor & _CHECKSUM_FLAG:
            yield 4

    def _error(self, text: str) -> ArchiveError:
        return ArchiveError(f"{self._what}: {text}")
