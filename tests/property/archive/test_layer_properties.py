"""What holds for every tree and for every damage to its archive."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.archive.kata import iter_kata_entries
from kata_bundle.archive.layer import PackedLayer, extract_layer, pack_layer, scan_layer
from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.tarheader import Kind
from kata_bundle.archive.zstd import current_recipe, open_compressor, open_decompressor
from kata_bundle.core.digest import Digest
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.tree import Tree
from tests.fixtures import rawtar
from tests.fixtures.hostile import Sentinel
from tests.property.archive.strategies import trees

RELAXED = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def pack(tree: Tree, contents: Mapping[Digest, bytes], *, level: int = 1, threads: int = 1) -> tuple[bytes, PackedLayer]:
    sink = io.BytesIO()
    recipe = current_recipe(level)
    packed = pack_layer(tree, lambda digest: io.BytesIO(contents[digest]), sink, recipe=recipe, mtime=10**9, threads=threads)
    return sink.getvalue(), packed


@RELAXED
@given(trees(), st.sampled_from(["/opt/kata", "/opt/kata-two", "/srv/x"]))
def test_a_tree_survives_packing_scanning_extraction_and_reading_back(
    made: tuple[Tree, Mapping[Digest, bytes]], dest: str
) -> None:
    tree, contents = made
    data, packed = pack(tree, contents)
    scanned, identities = scan_layer(io.BytesIO(data), what="layer")
    assert scanned == tree
    assert (identities.tree, identities.packed, identities.diff_id) == (tree.digest, packed.packed, packed.diff_id)
    assert (identities.packed_size_bytes, identities.unpacked_size_bytes) == (len(data), packed.unpacked_size_bytes)
    with tempfile.TemporaryDirectory() as name:
        target = Path(name)
        for _ in range(2):  # the second time over the first
            extracted = extract_layer(
                io.BytesIO(data), target, what="layer", dest=dest, expected_packed=packed.packed, expected_tree=tree.digest
            )
            assert extracted.tree == tree
            assert read_tree(target) == extracted.installed
        assert (extracted.installed == tree) or dest != "/opt/kata"
        for path, entry in extracted.installed.entries.items():
            assert (target / path).lstat().st_mtime == 10**9, entry
        make_removable(target)


@RELAXED
@given(trees(), st.sampled_from([1, 3, 10]))
def test_packing_twice_gives_equal_bytes_on_any_number_of_threads(made: tuple[Tree, Mapping[Digest, bytes]], level: int) -> None:
    tree, contents = made
    assert len({pack(tree, contents, level=level, threads=threads) for threads in (1, 1, 2, 5)}) == 1


@RELAXED
@given(st.binary(max_size=300_000), st.lists(st.integers(1, 200_000), max_size=20), st.integers(1, 4))
def test_packed_bytes_do_not_depend_on_how_the_input_is_cut(data: bytes, cuts: list[int], threads: int) -> None:
    def compress(pieces: list[int], threads: int) -> bytes:
        sink = io.BytesIO()
        with open_compressor(sink, current_recipe(3), len(data), threads=threads) as compressor:
            rest = memoryview(data)
            for size in pieces:
                compressor.write(bytes(rest[:size]))
                rest = rest[size:]
            compressor.write(bytes(rest))
        return sink.getvalue()

    assert compress(cuts, threads) == compress([], 1)


@RELAXED
@given(trees(), st.data())
def test_a_layer_with_any_byte_changed_is_refused_before_anything_is_written(
    made: tuple[Tree, Mapping[Digest, bytes]], data: st.DataObject
) -> None:
    packed_bytes, packed = pack(*made)
    damaged = bytearray(packed_bytes)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as name:
        with pytest.raises(IntegrityError, match="expected sha256"):
            extract_layer(io.BytesIO(bytes(damaged)), Path(name), what="layer", expected_packed=packed.packed)
        assert os.listdir(name) == []


@RELAXED
@given(trees(), st.data())
def test_damaged_compression_gives_an_archive_error_or_the_same_tree(
    made: tuple[Tree, Mapping[Digest, bytes]], data: st.DataObject
) -> None:
    """A few bits of a frame mean nothing to the content; everything else is noticed, if need be by the frame's checksum."""
    packed_bytes, _ = pack(*made)
    damaged = bytearray(packed_bytes)
    if data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    try:
        tree, _ = scan_layer(io.BytesIO(bytes(damaged)), what="layer")
    except ArchiveError:
        return
    assert tree == made[0]


@RELAXED
@given(trees(), st.data())
def test_a_damaged_tar_is_refused_or_stays_inside_and_well_defined(
    made: tuple[Tree, Mapping[Digest, bytes]], data: st.DataObject
) -> None:
    """Header bytes replaced and blocks moved about, checksums made right again: what gets through has one meaning."""
    packed_bytes, _ = pack(*made)
    blocks = tar_blocks(packed_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(blocks) - 1))
        match data.draw(st.sampled_from(["byte", "byte", "type", "move", "repeat", "remove", "word"])):
            case "byte":
                blocks[index][data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
            case "type":
                blocks[index][156] = data.draw(st.sampled_from(b"01234567xgLKSM\0"))
            case "move":
                blocks.insert(data.draw(st.integers(0, len(blocks) - 1)), blocks.pop(index))
            case "repeat":
                blocks.insert(data.draw(st.integers(0, len(blocks) - 1)), bytearray(blocks[index]))
            case "remove" if len(blocks) > 1:
                del blocks[index]
            case "word":
                word = data.draw(st.sampled_from([b"../", b"/etc/x\0", b"opt/kata/\0", b"\x80\xff", b"12 path=..\n"]))
                place = data.draw(st.sampled_from([0, 9, 124, 157, 345]))
                blocks[index][place : place + len(word)] = word
        blocks[min(index, len(blocks) - 1)] = with_checksum(blocks[min(index, len(blocks) - 1)])
    damaged = rawtar.packed(b"".join(blocks))
    with tempfile.TemporaryDirectory() as name:
        sentinel = Sentinel(Path(name, "outside"))
        target = Path(name, "target")
        target.mkdir()
        try:
            extracted = extract_layer(io.BytesIO(damaged), target, what="layer")
        except ArchiveError:
            pass
        else:
            assert extracted.tree == extracted.installed == read_tree(target)
            assert scan_layer(io.BytesIO(damaged), what="layer")[0] == extracted.tree
        sentinel.check()
        make_removable(target)


@RELAXED
@given(trees())
def test_entries_come_in_the_order_of_their_bytes(made: tuple[Tree, Mapping[Digest, bytes]]) -> None:
    data, _ = pack(*made)
    stream = open_decompressor(io.BytesIO(data), limit_bytes=1 << 30)
    names = [os.fsencode(entry.path) for entry in iter_kata_entries(stream, what="layer") if entry.kind is not Kind.DEVICE]
    assert names == sorted(names)


def tar_blocks(packed_bytes: bytes) -> list[bytearray]:
    data = zstandard.ZstdDecompressor().decompress(packed_bytes)
    return [bytearray(data[i : i + 512]) for i in range(0, len(data), 512)]


def with_checksum(block: bytearray) -> bytearray:
    blank = bytes(block[:148]) + b" " * 8 + bytes(block[156:])
    return bytearray(blank[:148] + b"%06o\0 " % sum(blank) + blank[156:])


def make_removable(target: Path) -> None:
    """Directories of any mode can be removed by root; by others only after this."""
    if os.geteuid():
        for root, directories, _ in os.walk(target):
            for directory in directories:
                if not Path(root, directory).is_symlink():
                    Path(root, directory).chmod(0o700)
