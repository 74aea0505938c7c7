"""Reading Debian packages without dpkg."""

from __future__ import annotations

import io
import shutil
import subprocess

import pytest

from kata_bundle.build.debfile import open_data
from kata_bundle.core.errors import ArchiveError
from tests.fixtures.debs import COMPRESSORS, ar_member, deb, link, program, tar_of

MEMBERS = [
    ("./", None),
    ("./usr/", None),
    program("./usr/tool", b"binary" * 999),
    ("./usr/" + "long-name" * 20, b"text"),
    link("./usr/link", "tool"),
]


def read(data: bytes) -> list[tuple[str, bytes]]:
    with open_data(io.BytesIO(data), what="package x") as reader:
        return [(member.name, b"".join(reader.chunks())) for member in reader]


@pytest.mark.parametrize("codec", COMPRESSORS)
def test_every_compression_is_read(codec):
    found = read(deb(MEMBERS, codec=codec))
    assert [name for name, _ in found] == [getattr(n, "name", n) for n, _ in MEMBERS]
    assert found[2][1] == b"binary" * 999


@pytest.mark.parametrize("codec", COMPRESSORS)
def test_a_package_cut_anywhere_is_refused(codec):
    data = deb(MEMBERS, codec=codec)
    for size in [*range(0, 200, 7), *range(200, len(data) - 1, max(1, len(data) // 60))]:
        with pytest.raises(ArchiveError, match="package x"):
            read(data[:size])


@pytest.mark.parametrize("codec", [".xz", ".gz", ".zst"])
def test_damage_in_the_data_is_found(codec):
    data = bytearray(deb(MEMBERS, codec=codec))
    data[len(data) - 60] ^= 0xFF
    with pytest.raises(ArchiveError, match="package x"):
        read(bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04", "no ar archive"),
        (b"!<arch>\n" + ar_member("debian-binary", b"3.0\n"), "of format 2"),
        (b"!<arch>\n" + ar_member("data.tar", tar_of([])), "of format 2"),
        (b"!<arch>\n" + ar_member("debian-binary", b"2.0\n"), "has no data.tar"),
        (b"!<arch>\n" + ar_member("debian-binary", b"2.0\n") + b"x" * 60, "broken member header"),
        (b"!<arch>\n" + ar_member("debian-binary", b"2.0\n") + ar_member("data.tar.lz", b"LZIP"), 'compressed as ".lz"'),
        (
            b"!<arch>\n" + ar_member("debian-binary", b"2.0\n") + ar_member("x", b"")[:48] + b"9999999999`\n",
            "has a member of 9999999999 bytes before its data",
        ),
    ],
)
def test_what_is_no_package_is_refused(data, words):
    with pytest.raises(ArchiveError, match=words):
        read(data)


def test_it_reads_what_dpkg_writes(tmp_path):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text("Package: x\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example>\nDescription: d\n")
    (tree / "opt").mkdir()
    (tree / "opt/file").write_bytes(b"content" * 5000)
    (tree / "opt/link").symlink_to("file")
    for codec in ("xz", "gzip", "none"):
        package = tmp_path / f"{codec}.deb"
        subprocess.run(["dpkg-deb", f"-Z{codec}", "--root-owner-group", "-b", tree, package], check=True, capture_output=True)
        assert dict(read(package.read_bytes()))["./opt/file"] == b"content" * 5000
