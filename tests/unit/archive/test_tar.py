"""Tar blocks, written and read: exact bytes, what goes into pax headers, and where reader and writer meet."""

from __future__ import annotations

import hashlib
import io
import itertools
import tarfile

import pytest

from kata_bundle.archive.tarheader import (
    HeaderError,
    Kind,
    parse_header,
    parse_pax_records,
    parse_pax_time_ns,
    render_header,
    render_pax_records,
)
from kata_bundle.archive.tarreader import Limits, TarReader
from kata_bundle.archive.tarwriter import tar_size, write_tar
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.relpath import RelPath, parse_relpath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink
from tests.fixtures import rawtar

HELLO = File(mode=0o755, size_bytes=5, digest=digest_bytes(b"hello"))


def write(entries: dict[str, Entry], contents: dict[str, bytes] | None = None, mtime: int = 10**9) -> bytes:
    sink = io.BytesIO()
    known = contents or {}
    members = [
        (
            parse_relpath(path),
            entry,
            (lambda path=path: io.BytesIO(known.get(path, b"hello"))) if isinstance(entry, File) else None,
        )
        for path, entry in entries.items()
    ]
    size = write_tar(members, sink, mtime=mtime)
    assert size == len(sink.getvalue()) == tar_size([(path, entry) for path, entry, _ in members], mtime=mtime)
    return sink.getvalue()


def read(data: bytes) -> list[tuple[str, Kind, int, int, str, bytes]]:
    reader = TarReader(io.BytesIO(data), what="x")
    return [(m.name, m.kind, m.mode, m.mtime_ns, m.target, b"".join(reader.chunks())) for m in reader]


def test_every_byte_of_a_small_archive() -> None:
    """Written down field by field from the standard, so that no change goes unnoticed."""

    def block(name: bytes, typeflag: bytes, mode: bytes, size: bytes, target: bytes = b"") -> bytes:
        fields = [
            name.ljust(100, b"\0"), mode, b"0000000\0", b"0000000\0", size, b"07346545000\0", b" " * 8, typeflag,
            target.ljust(100, b"\0"), b"ustar\x0000", bytes(32), bytes(32), b"0000000\0", b"0000000\0", bytes(155), bytes(12),
        ]  # fmt: skip
        data = b"".join(fields)
        return data[:148] + b"%06o\0 " % sum(data) + data[156:]

    expected = b"".join(
        [
            block(b"opt/", b"5", b"0000755\0", b"00000000000\0"),
            block(b"opt/kata/", b"5", b"0000755\0", b"00000000000\0"),
            block(b"opt/kata/bin/", b"5", b"0000700\0", b"00000000000\0"),
            block(b"opt/kata/bin/a", b"0", b"0000755\0", b"00000000005\0"),
            b"hello".ljust(512, b"\0"),
            block(b"opt/kata/bin/b", b"1", b"0000644\0", b"00000000000\0", b"opt/kata/bin/a"),
            block(b"opt/kata/bin/c", b"2", b"0000777\0", b"00000000000\0", b"../x"),
            bytes(1024),
        ]
    )
    entries: dict[str, Entry] = {
        "bin": Directory(mode=0o700), "bin/a": HELLO, "bin/b": Hardlink(target=RelPath("bin/a")), "bin/c": Symlink(target="../x")
    }  # fmt: skip
    assert write(entries) == expected


def test_pinned_bytes_of_an_archive_with_pax_headers() -> None:
    entries: dict[str, Entry] = {
        "n" * 200: HELLO,
        "/".join(["d" * 100] * 3): HELLO,
        "l": Symlink(target="t" * 150),
        "\udcff" * 120: HELLO,
    }
    assert hashlib.sha256(write(entries)).hexdigest() == PINNED


PINNED = "e5a291212ab722cc485032d5fcab14ebd89d4ac212c23133c6a96b218537398b"


@pytest.mark.parametrize(
    ("path", "uses_pax"),
    [
        ("f" * 91, False),  # 100 bytes with "opt/kata/": the name field alone
        ("f" * 100, False),  # "opt/kata" goes into the prefix field
        ("f" * 101, True),
        ("d" * 146 + "/" + "f" * 100, False),  # both fields full: 155 and 100 bytes
        ("d" * 147 + "/" + "f" * 100, True),
        ("d" * 50 + "/" + "f" * 101, True),
        ("a/" * 70 + "f" * 90, False),
    ],
)
def test_pax_is_used_only_where_ustar_does_not_fit(path: str, uses_pax: bool) -> None:
    data = write({path: HELLO})
    assert (b"././@PaxHeader" in data) == uses_pax
    assert read(data)[-1][0] == "opt/kata/" + path


@pytest.mark.parametrize(("length", "uses_pax"), [(90, False), (99, False), (100, True)])
def test_the_slash_of_a_directory_counts(length: int, uses_pax: bool) -> None:
    data = write({"d" * length: Directory()})
    assert (b"././@PaxHeader" in data) == uses_pax
    assert read(data)[-1][:2] == ("opt/kata/" + "d" * length + "/", Kind.DIRECTORY)


@pytest.mark.parametrize(("length", "uses_pax"), [(100, False), (101, True)])
def test_long_targets_go_into_pax(length: int, uses_pax: bool) -> None:
    data = write({"l": Symlink(target="t" * length)})
    assert (b"linkpath=" in data) == uses_pax
    assert read(data)[-1][4] == "t" * length


@pytest.mark.parametrize("length", [*range(87, 110), 985, 986, 987, 988, 989, 990, 4000])
def test_pax_record_lengths_count_themselves(length: int) -> None:
    data = render_pax_records({b"path": b"x" * length, b"size": b"1"})
    assert int(data.partition(b" ")[0]) == data.index(b"\n") + 1
    assert parse_pax_records(data) == {b"path": b"x" * length, b"size": b"1"}


def test_a_file_of_8_gib_gets_its_size_from_pax() -> None:
    class StopError(Exception):
        pass

    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise StopError

    big = File(mode=0o644, size_bytes=1 << 33, digest=digest_bytes(b""))
    sink = io.BytesIO()
    with pytest.raises(StopError):
        write_tar([(RelPath("big"), big, Endless)], sink, mtime=0)  # type: ignore[list-item]
    reader = iter(TarReader(io.BytesIO(sink.getvalue()), what="x"))
    assert [(member.name, member.size_bytes) for member in itertools.islice(reader, 3)][2] == ("opt/kata/big", 1 << 33)
    assert tar_size([(RelPath("big"), big)], mtime=0) == 512 * (2 + 2 + 1) + (1 << 33) + 1024
    small = File(mode=0o644, size_bytes=(1 << 33) - 1, digest=digest_bytes(b""))
    assert tar_size([(RelPath("big"), small)], mtime=0) == 512 * (2 + 1) + (1 << 33) + 1024


def test_python_reads_the_same() -> None:
    entries: dict[str, Entry] = {
        "a": HELLO,
        "n" * 200: HELLO,
        "l": Symlink(target="t" * 150),
        "é" * 100: HELLO,
        "h": Hardlink(target=RelPath("a")),
    }
    with tarfile.open(fileobj=io.BytesIO(write(entries))) as archive:
        found = {info.name: (info.mode, info.mtime, info.uid, info.gid, info.uname, info.linkname) for info in archive}
    assert found["opt/kata/" + "n" * 200] == (0o755, 10**9, 0, 0, "", "")
    assert found["opt/kata/" + "é" * 100][0] == 0o755
    assert found["opt/kata/l"][5] == "t" * 150
    assert found["opt/kata/h"][5] == "opt/kata/a"


@pytest.mark.parametrize("content", [b"hell", b"hello!", b"HELLO", b""])
def test_content_that_is_not_what_the_tree_says_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError, match='content of "a" is not the 5 bytes'):
        write({"a": HELLO}, {"a": content})


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777])
def test_set_id_and_sticky_bits_are_never_packed(mode: int) -> None:
    for entry in (Directory(mode=mode), File(mode=mode, size_bytes=5, digest=HELLO.digest)):
        with pytest.raises(IntegrityError, match="set-id"):
            write({"a": entry})


@pytest.mark.parametrize("mtime", [-1, 1 << 33])
def test_times_that_ustar_cannot_write_are_a_programming_error(mtime: int) -> None:
    with pytest.raises(ValueError, match="modification time"):
        write({"a": HELLO}, mtime=mtime)


@pytest.mark.parametrize("mtime", [0, (1 << 33) - 1])
def test_extreme_times_survive(mtime: int) -> None:
    assert read(write({"a": HELLO}, mtime=mtime))[-1][3] == mtime * 10**9


def test_a_file_without_content_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no content"):
        write_tar([(RelPath("a"), HELLO, None)], io.BytesIO(), mtime=0)


def test_content_not_asked_for_is_passed_over() -> None:
    data = rawtar.tar(*(rawtar.member(b"%d" % i, bytes([i]) * 1000) for i in range(5)))
    reader = TarReader(io.BytesIO(data), what="x")
    contents = {}
    for member in reader:
        if member.name == "1":
            next(iter(reader.chunks()))
        elif member.name != "2":
            contents[member.name] = b"".join(reader.chunks())
    assert contents == {name: bytes([int(name)]) * 1000 for name in "034"}


def test_large_content_comes_in_pieces() -> None:
    reader = TarReader(io.BytesIO(rawtar.tar(rawtar.member(b"a", bytes(1_500_000)))), what="x")
    assert [[len(chunk) for chunk in reader.chunks()] for _ in reader] == [[524288, 524288, 451424]]


def test_records_padded_to_any_length_are_read() -> None:
    assert len(read(rawtar.tar(rawtar.member(b"a", b"x")) + bytes(10240))) == 1


def test_content_of_extended_headers_is_limited_over_the_whole_archive() -> None:
    many = rawtar.tar(*[rawtar.pax(rawtar.record(b"comment", b"x" * 80)) + rawtar.member(b"a", b"")] * 12)
    limits = Limits(max_name_bytes=1000)
    with pytest.raises(ArchiveError, match="more than the 1000 bytes of extended headers"):
        list(TarReader(io.BytesIO(many), what="x", limits=limits))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"-1.25", -1_250_000_000),
        (b"7.000000001", 7_000_000_001),
        (b"7.0000000019", 7_000_000_001),
    ],
)
def test_pax_times(text: bytes, expected: int) -> None:
    assert parse_pax_time_ns(text) == expected


@pytest.mark.parametrize("text", [b"", b".5", b"1.", b"1e5", b"+1", b" 1", b"1\n", b"nan", b"9" * 16])
def test_wrong_pax_times_are_refused(text: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_pax_time_ns(text)


def test_rendered_headers_are_parsed_back() -> None:
    block = render_header(Kind.SYMLINK, b"d" * 120 + b"/x", mode=0o777, size_bytes=0, mtime_s=5, target=b"t")
    assert block is not None
    header = parse_header(block)
    assert (header.name, header.kind, header.mode, header.mtime_s, header.target) == (
        b"d" * 120 + b"/x",
        Kind.SYMLINK,
        0o777,
        5,
        b"t",
    )


@pytest.mark.parametrize("position", range(0, 512, 7))
def test_every_byte_of_a_header_is_under_its_checksum(position: int) -> None:
    block = bytearray(rawtar.header(b"opt/kata/a"))
    block[position] ^= 1
    with pytest.raises(HeaderError):
        parse_header(bytes(block))
