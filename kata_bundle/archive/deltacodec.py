"""zstd frames that refer to older content: compressed and decompressed in one call each, with a raw-content prefix.

Beside ``archive.zstd`` the only module that imports ``zstandard``. One call, one thread, a known length: the bytes depend on the
input, the level and the version of libzstd only. Must not know: files, tables.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import ArchiveError

if TYPE_CHECKING:
    import zstandard

__all__ = ["LEVELS", "compress", "decompress", "library_version", "unpack_table"]

LEVELS: Final = range(1, 23)
_MAX_WINDOW: Final = 1 << 24
"""Frames declare their own length as the window; nothing here is longer."""


@cache
def library_version() -> str:
    """Return the version of libzstd that compresses here."""
    import zstandard

    return ".".join(map(str, zstandard.ZSTD_VERSION))


def compress(data: bytes | memoryview, prefix: bytes | memoryview, *, level: int) -> bytes:
    """Return ``data`` as one zstd frame that may refer to ``prefix``; an empty prefix gives an ordinary frame."""
    import zstandard

    dictionary = _dictionary(prefix)
    sizes = {"source_size": len(data), "dict_size": len(prefix)}
    parameters = zstandard.ZstdCompressionParameters.from_level(level, **sizes)
    if dictionary is not None:
        # Low levels look back less far than the prefix reaches, and forget most of it.
        bits = (len(data) + len(prefix) - 1).bit_length()
        logs = {"window_log": max(parameters.window_log, bits), "hash_log": max(parameters.hash_log, bits - 1)}
        parameters = zstandard.ZstdCompressionParameters.from_level(level, **sizes, **logs)
    if dictionary is None:
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary).compress(data)


def decompress(frame: bytes | memoryview, prefix: bytes | memoryview, *, length: int, what: str) -> bytes:
    """Return the ``length`` bytes of one frame made with ``prefix``; never allocates for more.

    Raises :class:`ArchiveError` naming ``what`` when the frame is damaged or of another length.
    """
    import zstandard

    try:
        declared = zstandard.get_frame_parameters(frame).content_size
        if declared == length:
            dictionary = _dictionary(prefix)
            decompressor = (
                zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
                if dictionary is None
                else zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW, dict_data=dictionary)
            )
            data = decompressor.decompress(frame, max_output_size=length, allow_extra_data=False)
            if len(data) == length:
                return data
    except zstandard.ZstdError as error:
        msg = f"{what}: corrupt: {error}"
        raise ArchiveError(msg) from None
    msg = f"{what}: a frame that does not hold the {length} bytes expected"
    raise ArchiveError(msg)


def unpack_table(data: bytes, *, length: int, what: str) -> bytes:
    """Return the ``length`` bytes of an ordinary frame; raises like :func:`decompress`."""
    return decompress(data, b"", length=length, what=what)


def _dictionary(prefix: bytes | memoryview) -> zstandard.ZstdCompressionDict | None:
    import zstandard

    # Shorter ones are of no use, and libzstd takes fewer than 8 bytes for none at all.
    return zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if len(prefix) >= 8 else None
