"""Sources as trees: archives unpacked into the store without touching a disk, the part that a rule means.

Must not know: rules, networks.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from kata_bundle.archive.tarheader import Kind
from kata_bundle.archive.tarreader import TarReader
from kata_bundle.archive.zstd import open_decompressor
from kata_bundle.core.errors import ArchiveError, BuildError
from kata_bundle.core.relpath import RelPath, parse_relpath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree, below

if TYPE_CHECKING:
    from kata_bundle.store import Store

__all__ = ["MemberStream", "is_archive", "part_of", "unpack_archive"]

MAX_UNPACKED: Final = 32 << 30
_MAGICS: Final = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}


def is_archive(name: str) -> bool:
    """Return whether a file of that name is a tar archive that :func:`unpack_archive` reads."""
    return name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tar.zst", ".crate"))


def unpack_archive(stream: BinaryIO, store: Store, *, what: str, strip: int) -> Tree:
    """Return the content of a tar archive, compressed or not, with ``strip`` leading names taken off; files go into ``store``.

    Set-id bits, owners and dates are left out. Raises :class:`ArchiveError` for an archive that is damaged or holds what a source
    has no use for, such as devices.
    """
    entries: dict[RelPath, Entry] = {}
    try:
        with store.batch() as batch:
            reader = TarReader(_decompressed(stream, what), what=what)
            for member in reader:
                path = _stripped(member.name, strip)
                if path is None:
                    continue
                match member.kind:
                    case Kind.DIRECTORY:
                        entries.setdefault(path, Directory())
                    case Kind.FILE:
                        digest, size = batch.put_stream(MemberStream(reader))
                        entries[path] = File(mode=0o755 if member.mode & 0o111 else 0o644, size_bytes=size, digest=digest)
                    case Kind.SYMLINK:
                        entries[path] = Symlink(target=member.target)
                    case Kind.HARDLINK:
                        target = _stripped(member.target, strip)
                        if target is None:
                            reader.fail("is a link to what was taken off")
                        entries[path] = Hardlink(target=target)
                    case _:
                        reader.fail("is neither file, folder nor link")
    except ArchiveError as error:
        if what in str(error):
            raise
        msg = f"{what}: {error}"
        raise ArchiveError(msg) from None
    except (lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile) and error.errno is not None:
            raise
        msg = f"{what} is damaged: {error}"
        raise ArchiveError(msg) from None
    return Tree.of(entries)


def part_of(tree: Tree, path: str, *, what: str) -> Tree:
    """Return what lies below ``path`` of ``tree``, or a tree of that one file; raise :class:`BuildError` when it is not there."""
    at = parse_relpath(path)
    entry = tree.entries.get(at)
    if isinstance(entry, Directory):
        return below(tree, at)
    if isinstance(entry, Hardlink):
        entry = tree.entries[entry.target]
    if isinstance(entry, File):
        return Tree.of({RelPath(at.rpartition("/")[2]): entry})
    msg = f'{what} has no file or folder "{path}"'
    raise BuildError(msg)


class MemberStream:
    """The content of a reader's current member as a stream; sizes asked for are not kept to."""

    def __init__(self, reader: TarReader) -> None:
        self._chunks = iter(reader.chunks())

    def read(self, _: int = -1, /) -> bytes:
        """Return the next piece, empty at the end."""
        return next(self._chunks, b"")


class _Peeked:
    """A stream whose first bytes were looked at."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            if size < 0:
                head, self._head = self._head, b""
                return head + self._rest.read()
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._rest.read(size)


def _decompressed(stream: BinaryIO, what: str) -> BinaryIO:
    head = stream.read(6)
    whole = cast("BinaryIO", _Peeked(head, stream))
    codec = next((name for magic, name in _MAGICS.items() if head.startswith(magic)), "")
    match codec:
        case "gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=whole))
        case "xz":
            return cast("BinaryIO", lzma.LZMAFile(whole))
        case "bzip2":
            return cast("BinaryIO", bz2.BZ2File(whole))
        case "zstd":
            return open_decompressor(whole, limit_bytes=MAX_UNPACKED, what=what)
        case _:
            return whole


def _stripped(name: str, strip: int) -> RelPath | None:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    return parse_relpath("/".join(parts[strip:])) if len(parts) > strip else None
