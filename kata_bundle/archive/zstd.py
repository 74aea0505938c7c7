"""zstd in and out: beside ``deltacodec`` the only module that imports ``zstandard``.

Compressed bytes repeat only with multi-threaded mode on (``threads >= 1``; the number changes nothing), the length pledged
before the first byte, and one version of libzstd. So a :class:`Recipe` records the version, and packing with another one is
refused rather than quietly different. A compressor belongs to one thread. Must not know: what is compressed.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from kata_bundle.archive.frames import MAX_WINDOW, FrameRecord, FrameWalker, measure_frame
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.record import field_names, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import WriteableBuffer

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.streams import Readable, Writable

__all__ = [
    "DEFAULT_FRAME_SIZE",
    "DEFAULT_LEVEL",
    "MAX_FRAME_SIZE",
    "MIN_FRAME_SIZE",
    "FrameCompressor",
    "FrameDecoder",
    "Recipe",
    "current_recipe",
    "open_compressor",
    "open_decompressor",
]

DEFAULT_LEVEL: Final = 10
DEFAULT_FRAME_SIZE: Final = 2 << 20
"""Bytes of tar in one frame: enough to compress almost as well as one stream, little enough to keep every core busy."""
MIN_FRAME_SIZE: Final = 1 << 10
MAX_FRAME_SIZE: Final = 8 << 20
"""Largest frame accepted. A thread that decodes holds one frame, packed and unpacked: this bounds its memory."""
_LEVELS: Final = range(1, 23)
_MIN_MATCH: Final = 4
_MIN_MATCHES: Final = range(3, 8)
_READ_SIZE: Final = 1 << 18


@record
class Recipe:
    """Everything the packed bytes depend on beside the content: codec, level, version of the library, frames."""

    codec: str
    level: int
    library: str
    frame_size: int | None = None
    """Most bytes of tar in one frame of a layer with a table of contents; ``None``: one frame and no table."""
    min_match: int | None = None
    """Shortest repetition looked for, in bytes, where it is another one than the level's."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the recipe as JSON members; a recipe of one frame has no ``frame_size``."""
        return {name: value for name in field_names(self) if (value := getattr(self, name)) is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, object], *, what: str = "recipe") -> Recipe:
        """Return the recipe that :meth:`to_dict` wrote; raise :class:`IntegrityError` for anything else."""
        codec, level, library = data.get("codec"), data.get("level"), data.get("library")
        size = data.get("frame_size", DEFAULT_FRAME_SIZE)
        known = {"codec", "level", "library"} <= set(data) <= set(field_names(cls))
        if not known or codec != "zstd" or type(level) is not int or level not in _LEVELS or not isinstance(library, str):
            msg = f"{what} is not a packing recipe this version knows"
            raise IntegrityError(msg, hint='expected "codec" = "zstd", a "level" from 1 to 22 and the "library" version')
        if type(size) is not int or not MIN_FRAME_SIZE <= size <= MAX_FRAME_SIZE:
            msg = f"{what} is not a packing recipe this version knows: frames of another size"
            raise IntegrityError(msg, hint=f'expected a "frame_size" from {MIN_FRAME_SIZE} to {MAX_FRAME_SIZE} bytes')
        match = data.get("min_match", _MIN_MATCH)
        if type(match) is not int or match not in _MIN_MATCHES:
            msg = f"{what} is not a packing recipe this version knows: a shortest match that no zstd has"
            raise IntegrityError(msg)
        return cls(
            codec=codec,
            level=level,
            library=library,
            frame_size=size if "frame_size" in data else None,
            min_match=match if "min_match" in data else None,
        )


def current_recipe(level: int = DEFAULT_LEVEL, frame_size: int | None = DEFAULT_FRAME_SIZE) -> Recipe:
    """Return the recipe that this installation packs with at ``level``; a ``frame_size`` of ``None`` is one frame, no table."""
    import zstandard

    if level not in _LEVELS:
        msg = f"zstd level {level} is not in 1 to 22"
        raise ValueError(msg)
    if frame_size is not None and not MIN_FRAME_SIZE <= frame_size <= MAX_FRAME_SIZE:
        msg = f"a frame size of {frame_size} is not in {MIN_FRAME_SIZE} to {MAX_FRAME_SIZE}"
        raise ValueError(msg)
    library = ".".join(map(str, zstandard.ZSTD_VERSION))
    match = None
    if frame_size is not None:
        # A frame remembers less than a stream: shorter repetitions make up for half of that, and cost no time.
        parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=frame_size)
        match = _MIN_MATCH if parameters.min_match > _MIN_MATCH else None
    return Recipe(codec="zstd", level=level, library=library, frame_size=frame_size, min_match=match)


class FrameCompressor:
    """Compresses whole frames by one recipe. Of one thread.

    Raises :class:`IntegrityError` when the recipe is another library version's. Frames have no checksum: a layer's table has a
    better one of each.
    """

    def __init__(self, recipe: Recipe) -> None:
        import zstandard

        _check_library(recipe)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            recipe.level,
            source_size=recipe.frame_size or 0,
            write_checksum=False,
            write_content_size=True,
            **({} if recipe.min_match is None else {"min_match": recipe.min_match}),
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters)

    def compress(self, data: bytes | bytearray) -> bytes:
        """Return ``data`` as one frame that states its length."""
        return self._compressor.compress(data)


class FrameDecoder:
    """Decodes single frames into one buffer, used again for each. Of one thread.

    ``frame_size`` is the longest content in bytes.
    """

    def __init__(self, frame_size: int) -> None:
        import zstandard

        self.buffer = bytearray(frame_size)
        """Content of the frame decoded last, and behind it what was left of earlier ones."""
        self._view = memoryview(self.buffer)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._corrupt = zstandard.ZstdError

    def decode(self, packed: memoryview, size_bytes: int, *, what: str) -> memoryview:
        """Return the content of the frame ``packed``, valid until the next call.

        Raises :class:`ArchiveError` naming ``what`` unless it is exactly one frame with a content of ``size_bytes``.
        """
        try:
            if measure_frame(packed) != (len(packed), size_bytes):
                msg = "it is not one frame of the length that was promised"
                raise ArchiveError(msg)
            # With room for all of it, the library decodes straight into the buffer.
            view = self._view[:size_bytes]
            reader = self._decompressor.stream_reader(packed)
            done = 0
            while done < size_bytes and (count := reader.readinto(view[done:])):
                done += count
            if done < size_bytes:
                msg = f"it decodes to {done} bytes, expected {size_bytes}"
                raise ArchiveError(msg)
        except (self._corrupt, ArchiveError) as error:
            msg = f"{what}: corrupt: {error}"
            raise ArchiveError(msg) from None
        return view


def _check_library(recipe: Recipe) -> None:
    if recipe.library != current_recipe().library:
        msg = f"the recipe needs libzstd {recipe.library}, this installation has {current_recipe().library}"
        raise IntegrityError(msg, hint="install the zstandard release that has it, or pack with the current recipe")


@contextmanager
def open_compressor(sink: Writable, recipe: Recipe, size_bytes: int, *, threads: int = 1) -> Iterator[Writable]:
    """Yield a sink whose input arrives in ``sink`` compressed; exactly ``size_bytes`` have to be written to it.

    ``threads`` helps on large input and does not change the bytes. ``sink`` is not closed. Raises :class:`IntegrityError` when
    the recipe is another library version's or the length turns out different from ``size_bytes``.
    """
    import zstandard

    _check_library(recipe)
    if threads < 1:
        msg = "a compressor needs at least one thread"
        raise ValueError(msg)
    compressor = zstandard.ZstdCompressor(level=recipe.level, threads=threads, write_checksum=True, write_content_size=True)
    writer = compressor.stream_writer(cast("BinaryIO", sink), size=size_bytes, closefd=False)
    try:
        yield writer
        # Not in a ``with``: closing after an error in the body would report a wrong length instead of that error.
        writer.flush(zstandard.FLUSH_FRAME)
    except zstandard.ZstdError as error:
        msg = f"compression did not get the {size_bytes} bytes it was promised: {error}"
        raise IntegrityError(msg) from None


def open_decompressor(
    stream: Readable, *, limit_bytes: int, what: str = "archive", record: FrameRecord | None = None
) -> BinaryIO:
    """Return the unpacked content of the zstd frames in ``stream``, one after the other, skippable frames left out.

    Reading raises :class:`ArchiveError` naming ``what`` for a truncated or corrupt stream, for anything but frames in it, for a
    window over 128 MiB, and as soon as more than ``limit_bytes`` come out. Memory is bounded by the window. ``stream`` is read
    to its end and not closed. ``record`` is told of every frame.
    """
    walker = FrameWalker(stream, what=what, limit_bytes=limit_bytes, record=record)
    return cast("BinaryIO", io.BufferedReader(_Decoder(walker, limit_bytes, what), _READ_SIZE))


class _Decoder(io.RawIOBase):
    def __init__(self, walker: FrameWalker, limit_bytes: int, what: str) -> None:
        import zstandard

        super().__init__()
        self._what = what
        self._limit = self._left = limit_bytes
        self._corrupt = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._reader = decompressor.stream_reader(
            cast("BinaryIO", walker), read_size=_READ_SIZE, read_across_frames=True, closefd=False
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            count = self._reader.readinto(buffer)
        except self._corrupt as error:
            msg = f"{self._what}: corrupt: {error}"
            raise ArchiveError(msg) from None
        self._left -= count
        if self._left < 0:
            msg = f"{self._what}: unpacks to more than the {self._limit} bytes allowed"
            raise ArchiveError(msg, hint="it may be a decompression bomb")
        return count
