"""Source archives as trees, and the part of them that a rule means."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
import zstandard

from kata_bundle.build.unpack import is_archive, part_of, unpack_archive
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, BuildError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Hardlink, Symlink, Tree

PACKERS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def archive(*members, kind=tarfile.REGTYPE) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data, mode in members:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.mtime = mode, 1234, 99
            if isinstance(data, bytes):
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = data
                tar.addfile(info)
    return packed.getvalue()


GOOD = archive(
    ("top/a", b"one", 0o4755),
    ("top/d/b", b"two", 0o600),
    ("top/l", (tarfile.SYMTYPE, "../../etc/passwd"), 0o777),
    ("top/h", (tarfile.LNKTYPE, "top/a"), 0o755),
)


def unpack(store, data, strip=1):
    return unpack_archive(io.BytesIO(data), store, what="the source", strip=strip)


@pytest.mark.parametrize("packer", PACKERS)
def test_an_archive_of_any_packing_gives_one_tree(store, packer):
    tree = unpack(store, PACKERS[packer](GOOD))
    assert tree == Tree.of(
        {
            RelPath("a"): File(mode=0o755, size_bytes=3, digest=digest_bytes(b"one")),
            RelPath("d/b"): File(mode=0o644, size_bytes=3, digest=digest_bytes(b"two")),
            RelPath("h"): Hardlink(target=RelPath("a")),
            RelPath("l"): Symlink(target="../../etc/passwd"),
        }
    )
    assert store.read(digest_bytes(b"two")) == b"two"


def test_leading_names_come_off(store):
    assert set(unpack(store, GOOD, strip=0).entries) >= {"top", "top/a"}
    assert set(unpack(store, archive(("x/y/z", b"", 0o644), ("x/w", b"", 0o644)), strip=2).entries) == {"z"}


@pytest.mark.parametrize(
    "data",
    [
        GOOD[:700],
        lzma.compress(GOOD)[:-20],
        gzip.compress(GOOD)[:-9],
        bz2.compress(GOOD)[:40],
        b"no archive at all" * 99,
        archive(("top/../../up", b"", 0o644)),
        archive(("top/dev", (tarfile.CHRTYPE, ""), 0o644)),
        archive(("top/h", (tarfile.LNKTYPE, "top"), 0o644)),
    ],
    ids=["tar", "xz", "gzip", "bzip2", "text", "dots", "device", "link"],
)
def test_what_is_damaged_or_hostile_is_refused(store, data):
    with pytest.raises(ArchiveError, match="the source"):
        unpack(store, data)


def test_the_meant_part_is_a_folder_or_a_file(store):
    tree = unpack(store, GOOD)
    assert set(part_of(tree, "d", what="x").entries) == {"b"}
    assert set(part_of(tree, "h", what="x").entries) == {"h"}
    for path in ("l", "nothing"):
        with pytest.raises(BuildError, match="has no file or folder"):
            part_of(tree, path, what="x")


def test_archives_are_known_by_their_names():
    assert [name for name in ("a.tar.xz", "b.tgz", "c.crate", "d.zip", "e.image") if is_archive(name)] == [
        "a.tar.xz",
        "b.tgz",
        "c.crate",
    ]
