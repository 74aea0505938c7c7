"""Reads the files of a Debian package without running anything.

Format: deb(5). An ar archive with the members ``debian-binary`` ("2.0"), ``control.tar[.*]`` and ``data.tar[.*]`` in that
order; the last is a tar of everything the package installs, compressed with gzip, xz or zstd, or not at all. ar(5): a magic
line, then per member a header of 60 bytes and the content, padded to an even length. Must not know: where files of a package
go.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from kata_bundle.archive.tarreader import DEFAULT_LIMITS, TarReader
from kata_bundle.core.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.streams import Readable

__all__ = ["open_data"]

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_MAX_CONTROL: Final = 64 << 20


@contextmanager
def open_data(stream: BinaryIO, *, what: str) -> Iterator[TarReader]:
    """Yield a reader over the files of the package in ``stream``, which is read forward only and not closed.

    Member names start with ``./``. Raises :class:`ArchiveError` naming ``what`` for a malformed package, also while reading on.
    """
    if stream.read(len(_MAGIC)) != _MAGIC:
        msg = f"{what} is not a Debian package: it is no ar archive"
        raise ArchiveError(msg)
    name, size = _header(stream, what)
    version = _skip(stream, size, what, keep=True)
    if name != "debian-binary" or not version.startswith(b"2."):
        msg = f"{what} is not a Debian package of format 2"
        raise ArchiveError(msg)
    name, size = _header(stream, what)
    while not name.startswith("data.tar"):
        _skip(stream, size, what)
        name, size = _header(stream, what)
    content = _Window(stream, size, what)
    try:
        yield TarReader(_decompress(name, content, what), what=what)
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        msg = f"{what} is damaged: {error}"
        raise ArchiveError(msg) from None


def _header(stream: BinaryIO, what: str) -> tuple[str, int]:
    header = stream.read(_HEADER)
    size = header[48:58].rstrip()
    if len(header) != _HEADER or header[58:] != b"`\n" or not size.isdigit():
        msg = f"{what} has no data.tar" if not header else f"{what} has a broken member header"
        raise ArchiveError(msg)
    return header[:16].decode("ascii", "replace").rstrip().removesuffix("/"), int(size)


def _skip(stream: BinaryIO, size: int, what: str, *, keep: bool = False) -> bytes:
    """Read over a member before the data, and return its content if it is to be kept."""
    if size > _MAX_CONTROL:
        msg = f"{what} has a member of {size} bytes before its data"
        raise ArchiveError(msg)
    content = stream.read(size + size % 2)
    if len(content) != size + size % 2:
        msg = f"{what} is truncated"
        raise ArchiveError(msg)
    return content[:size] if keep else b""


def _decompress(name: str, content: _Window, what: str) -> Readable:
    from kata_bundle.archive.zstd import open_decompressor

    source = cast("BinaryIO", content)
    match name.removeprefix("data.tar"):
        case "":
            return source
        case ".xz":
            return cast("Readable", lzma.LZMAFile(source))
        case ".gz":
            return cast("Readable", gzip.GzipFile(fileobj=source))
        case ".zst":
            return open_decompressor(source, limit_bytes=DEFAULT_LIMITS.max_unpacked_bytes, what=what)
        case other:
            msg = f'{what} has data compressed as "{other}"'
            raise ArchiveError(msg, hint="known: .xz, .gz, .zst")


class _Window:
    """The bytes of one member."""

    def __init__(self, stream: BinaryIO, size: int, what: str) -> None:
        self._stream = stream
        self._left = size
        self._what = what

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes of what is left."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(wanted)
        if wanted and not data:
            msg = f"{self._what} is truncated"
            raise ArchiveError(msg)
        self._left -= len(data)
        return data
