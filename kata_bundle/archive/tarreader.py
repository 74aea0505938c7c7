"""A tar reader that trusts nothing: own parser over 512-byte blocks, one pass, bounded memory.

Reads ustar with pax extended headers, GNU tar's format with long names, and the old V7 layout. Only what can be read in one way
is accepted. Refused are, with an :class:`ArchiveError` that names archive and member: wrong checksums, numbers and records;
sparse, multi-volume and unknown member types; links and directories with content; a name or target given in two ways; global
headers that name or size every member alike; missing end-of-archive blocks, and anything but a few zeros after them; more
members, bytes or header data than :class:`Limits` allow.

Owners, access times, extended attributes and all other pax keywords are ignored. Must not know: where members may be put; names
and targets come out as they are stored. See ``archive.kata`` for that.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NoReturn

from kata_bundle.archive.rules import DEFAULT_LIMITS, Limits
from kata_bundle.archive.streams import COPY_SIZE
from kata_bundle.archive.tarheader import (
    BLOCK,
    MAX_TIME_S,
    SPARSE,
    ZERO_BLOCK,
    Header,
    HeaderError,
    Kind,
    parse_header,
    parse_pax_records,
    parse_pax_size,
    parse_pax_time_ns,
)
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.record import record
from kata_bundle.core.relpath import os_text, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.streams import Readable

__all__ = ["DEFAULT_LIMITS", "Limits", "Member", "TarReader"]

_EXTENDED: Final = frozenset((b"x", b"L", b"K"))
_MAX_PADDING: Final = 64 << 20
"""Most zeros after the end of an archive: writers fill up one record, which nobody makes larger, and bombs go on for ever."""
_MAX_EXTENDED: Final = 1 << 20
"""Longest single extended header: room for the largest names and attributes, and little for a dictionary of records."""
_SPARSE: Final = (b"GNU.sparse.", b"SCHILY.realsize", b"SUN.holesdata")


@record
class Member:
    """One member as stored. Text is UTF-8 with surrogate escapes; ``mode`` has all twelve bits; ``target`` is a link's."""

    name: str
    kind: Kind
    mode: int
    size_bytes: int
    mtime_ns: int
    target: str


class TarReader:
    """Iterate the members of the tar in ``stream``, once; :meth:`chunks` gives the content of the one last handed out.

    ``what`` names the archive in errors.
    """

    def __init__(self, stream: Readable, *, what: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._stream = stream
        self._what = what
        self._limits = limits
        self._names_left = limits.max_name_bytes
        self._global_mtime_ns: int | None = None
        self._name = ""
        self._content_left = 0
        self._padding = 0
        self.outside = hashlib.sha256()
        """Of every byte read that is no file's content: headers, padding, the end."""

    def __iter__(self) -> Iterator[Member]:
        extended = _Extended()
        count = 0
        while (block := self._take(BLOCK)) != ZERO_BLOCK:
            count += 1
            if count > self._limits.max_members:
                self.fail(f"more than the {self._limits.max_members} members allowed")
            try:
                header = parse_header(block)
                self._name = os_text(header.name)
                if header.typeflag == b"g":
                    self._take_global(parse_pax_records(self._header_data(header)))
                    continue
                if header.typeflag in _EXTENDED:
                    extended.add(header.typeflag, self._header_data(header))
                    continue
                member = self._member(header, extended.records)
            except HeaderError as error:
                self.fail(str(error))
            extended = _Extended()
            yield member
            for _ in self.chunks():
                pass
            self._take(self._padding)
            self._name = ""
        if extended.seen:
            self.fail("an extended header without a member")
        self._read_end()

    def chunks(self) -> Iterator[bytes]:
        """Yield what is left of the current member's content in pieces of at most 512 KiB."""
        while self._content_left:
            chunk = self._read(min(self._content_left, COPY_SIZE))
            self._content_left -= len(chunk)
            yield chunk

    def fail(self, reason: str) -> NoReturn:
        """Raise :class:`ArchiveError` with ``reason`` as what is to be said of the current member."""
        msg = f"{self._what}: member {quoted(self._name)}: {reason}" if self._name else f"{self._what}: {reason}"
        raise ArchiveError(msg)

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        self.outside.update(data)
        return data

    def _read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        data = self._stream.read(size)
        while len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                self.fail("truncated: it ends before the end-of-archive blocks")
            data += more
        return data

    def _header_data(self, header: Header) -> bytes:
        """Return the content of an extended header."""
        self._names_left -= header.size_bytes
        if self._names_left < 0 or header.size_bytes > _MAX_EXTENDED:
            msg = f"more than the {min(self._limits.max_name_bytes, _MAX_EXTENDED)} bytes of extended headers allowed"
            raise HeaderError(msg)
        return self._take(-(-header.size_bytes // BLOCK) * BLOCK)[: header.size_bytes]

    def _take_global(self, records: dict[bytes, bytes]) -> None:
        _refuse_sparse(records)
        for keyword in (b"path", b"linkpath", b"size"):
            if keyword in records:
                msg = f"a global header that sets one {keyword.decode()} for all members"
                raise HeaderError(msg)
        if b"mtime" in records:
            self._global_mtime_ns = parse_pax_time_ns(records[b"mtime"])

    def _member(self, header: Header, records: dict[bytes, bytes]) -> Member:
        _refuse_sparse(records)
        kind = header.kind
        name = records.get(b"path", header.name)
        self._name = os_text(name)
        target = records.get(b"linkpath", header.target)
        size = parse_pax_size(records[b"size"]) if b"size" in records else header.size_bytes
        if not name:
            msg = "a member without a name"
            raise HeaderError(msg)
        if b"\0" in name or b"\0" in target:
            msg = "a NUL byte in the name or target"
            raise HeaderError(msg)
        if kind is Kind.FILE and name.endswith(b"/"):
            kind = Kind.DIRECTORY  # V7 had no other way to say it
        if size and kind is not Kind.FILE:
            msg = f"a {kind.value} with content"
            raise HeaderError(msg)
        if size > self._limits.max_unpacked_bytes:
            msg = f"a size of {size} bytes, more than the {self._limits.max_unpacked_bytes} allowed"
            raise HeaderError(msg)
        mtime_ns = header.mtime_s * 10**9 if self._global_mtime_ns is None else self._global_mtime_ns
        if b"mtime" in records:
            mtime_ns = parse_pax_time_ns(records[b"mtime"])
        self._content_left, self._padding = size, -size % BLOCK
        return Member(
            name=self._name,
            kind=kind,
            mode=header.mode,
            size_bytes=size,
            mtime_ns=min(max(mtime_ns, 0), MAX_TIME_S * 10**9),
            target=os_text(target) if kind in {Kind.SYMLINK, Kind.HARDLINK} else "",
        )

    def _read_end(self) -> None:
        if self._take(BLOCK) != ZERO_BLOCK:
            self.fail("one end-of-archive block, expected two")
        padding = 0
        while rest := self._stream.read(COPY_SIZE):
            padding += len(rest)
            if rest.count(0) != len(rest):
                self.fail("data after the end-of-archive blocks")
            if padding > _MAX_PADDING:
                self.fail(f"more than {_MAX_PADDING >> 20} MiB of zeros after the end-of-archive blocks")


class _Extended:
    """The extended headers before one member."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.records: dict[bytes, bytes] = {}

    def add(self, typeflag: bytes, data: bytes) -> None:
        if typeflag in self.seen:
            msg = "two extended headers of one type for one member"
            raise HeaderError(msg)
        self.seen.add(typeflag)
        if typeflag == b"x":
            records = parse_pax_records(data)
        else:
            # GNU writes the name with one NUL after it; others leave that out.
            records = {b"path" if typeflag == b"L" else b"linkpath": data.removesuffix(b"\0")}
        if self.records.keys() & records.keys():
            msg = "two extended headers that say the same thing"
            raise HeaderError(msg)
        self.records |= records


def _refuse_sparse(records: dict[bytes, bytes]) -> None:
    if any(keyword.startswith(_SPARSE) for keyword in records):
        raise HeaderError(SPARSE)
