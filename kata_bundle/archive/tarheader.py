"""The tar block formats: one 512-byte header, one block of pax records, parsed and rendered.

Formats: POSIX.1-2017 ``pax`` ("ustar Interchange Format", "pax Extended Header"); the GNU tar manual, "Basic Tar Format", for
numbers in base 256. Parsing is strict: what two programs could read in two ways is a :class:`HeaderError`. Must not know:
archives, streams.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BLOCK",
    "MAX_TIME_S",
    "SPARSE",
    "ZERO_BLOCK",
    "Header",
    "HeaderError",
    "Kind",
    "parse_header",
    "parse_pax_records",
    "parse_pax_size",
    "parse_pax_time_ns",
    "render_header",
    "render_pax_records",
]

BLOCK: Final = 512
ZERO_BLOCK: Final = bytes(BLOCK)
MAX_TIME_S: Final = 2**33 - 1
"""Latest modification time that ustar can write, in seconds since 1970."""
SPARSE: Final = "a sparse file, which is not supported (pack with tar without -S, bsdtar with --no-read-sparse)"
_MAX_OCTAL: Final = 2**33 - 1
_NAME_FIELD: Final = 100
_PREFIX_FIELD: Final = 155

_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")
_PAX_LENGTH: Final = re.compile(rb"([1-9][0-9]{0,9}) ")
_PAX_SIZE: Final = re.compile(rb"[0-9]{1,19}")
_PAX_TIME: Final = re.compile(rb"(-?)([0-9]{1,15})(?:\.([0-9]{1,30}))?")


class HeaderError(ValueError):
    """A header block or record is malformed or ambiguous; the text says how."""


class Kind(Enum):
    """What a member is; the value is how errors name it."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    DEVICE = "device"
    FIFO = "FIFO"


_KINDS: Final = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"7": Kind.FILE,  # "contiguous" was a wish about disk layout
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.DEVICE,
    b"4": Kind.DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_TYPEFLAGS: Final = {Kind.FILE: b"0", Kind.HARDLINK: b"1", Kind.SYMLINK: b"2", Kind.DIRECTORY: b"5"}


@record
class Header:
    """One header block: names as bytes, ``mode`` with all twelve bits, ``mtime_s`` in seconds, maybe negative."""

    name: bytes
    typeflag: bytes
    mode: int
    size_bytes: int
    mtime_s: int
    target: bytes

    @property
    def kind(self) -> Kind:
        """What the member is. Raises :class:`HeaderError` for a type that is not understood."""
        kind = _KINDS.get(self.typeflag)
        if kind is None:
            msg = SPARSE if self.typeflag == b"S" else f"member type {repr(self.typeflag)[1:]}, which is not supported"
            raise HeaderError(msg)
        return kind


def parse_header(block: bytes) -> Header:
    """Return the header in ``block``; raise :class:`HeaderError` for a wrong checksum or number."""
    expected = _number(block[148:156], "checksum")
    # The checksum is taken with its own field read as eight spaces.
    if sum(block) - sum(block[148:156]) + 8 * 0x20 != expected:
        msg = "the header checksum is wrong"
        raise HeaderError(msg)
    name = _text(block[0:100])
    # In GNU's format ("ustar  ") and in V7 the bytes of the prefix field mean other things.
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = prefix + b"/" + name
    size = _number(block[124:136], "size")
    if size < 0:
        msg = f"the size is negative ({size})"
        raise HeaderError(msg)
    return Header(
        name=name,
        typeflag=block[156:157],
        mode=_number(block[100:108], "mode") & 0o7777,
        size_bytes=size,
        mtime_s=_number(block[136:148], "modification time"),
        target=_text(block[157:257]),
    )


def render_header(
    kind: Kind | bytes, name: bytes, *, mode: int, size_bytes: int, mtime_s: int, target: bytes = b""
) -> bytes | None:
    """Return a ustar header block, owner 0:0 without names, or ``None`` when a value does not fit.

    ``kind`` may be a raw type flag.
    """
    split = _split_name(name)
    if split is None or len(target) > _NAME_FIELD or size_bytes > _MAX_OCTAL:
        return None
    prefix, short = split
    block = b"".join(
        (
            short.ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"0000000\0" * 2,
            b"%011o\0" % size_bytes,
            b"%011o\0" % mtime_s,
            b" " * 8,
            kind if isinstance(kind, bytes) else _TYPEFLAGS[kind],
            target.ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"0000000\0" * 2,
            prefix.ljust(167, b"\0"),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def parse_pax_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header. Raises :class:`HeaderError` for wrong lengths, missing parts and repeated keywords."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        match = _PAX_LENGTH.match(data, position)
        if match is None:
            msg = "a pax record has no valid length"
            raise HeaderError(msg)
        end = position + int(match[1])
        keyword, equals, value = data[match.end() : end].partition(b"=")
        if end > len(data) or value[-1:] != b"\n" or not equals or not keyword:
            msg = "a pax record is malformed"
            raise HeaderError(msg)
        if keyword in records:
            msg = f"the pax keyword {keyword[:40].decode('utf-8', 'backslashreplace')!r} is given twice"
            raise HeaderError(msg)
        records[keyword] = value[:-1]
        position = end
    return records


def render_pax_records(records: Mapping[bytes, bytes]) -> bytes:
    """Return ``records`` as the content of a pax header, in the order given."""
    lines = []
    for keyword, value in records.items():
        rest = b" %b=%b\n" % (keyword, value)
        # The length counts its own digits: adding them can only push it to one digit more.
        length = len(rest) + len(str(len(rest)))
        length = len(rest) + len(str(length))
        lines.append(b"%d%b" % (length, rest))
    return b"".join(lines)


def parse_pax_size(value: bytes) -> int:
    """Return a pax ``size`` in bytes, or raise :class:`HeaderError`."""
    if not _PAX_SIZE.fullmatch(value):
        msg = "the pax size is no plain decimal number"
        raise HeaderError(msg)
    return int(value)


def parse_pax_time_ns(value: bytes) -> int:
    """Return a pax time in nanoseconds since 1970, rounded down, or raise :class:`HeaderError`."""
    match = _PAX_TIME.fullmatch(value)
    if match is None:
        msg = "the pax modification time is no decimal number"
        raise HeaderError(msg)
    fraction = (match[3] or b"").ljust(9, b"0")[:9]
    nanoseconds = int(match[2]) * 10**9 + int(fraction)
    return -nanoseconds if match[1] else nanoseconds


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str) -> int:
    if field[0] & 0x80:
        # Base 256: two's complement in the bits after the marker.
        return (
            int.from_bytes(field, "big", signed=True)
            if field[0] == 0xFF
            else int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        )
    match = _OCTAL.fullmatch(field)
    if match is None:
        msg = f"the {what} is no octal number"
        raise HeaderError(msg)
    return int(match[1] or b"0", 8)


def _split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """Return (prefix, name) fields for ``name``, or ``None`` when it cannot be split at a slash to fit."""
    if len(name) <= _NAME_FIELD:
        return b"", name
    # The last slash of a directory's name stays with the name.
    cut = name.find(b"/", max(len(name) - _NAME_FIELD - 1, 1), _PREFIX_FIELD + 1)
    return (name[:cut], name[cut + 1 :]) if 0 < cut < len(name) - 1 else None
