"""What holds for every layer with a table of contents: any tree, any frame size, any number of threads, any damage."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.archive.extract import ExtractOptions, LayerJob, Reuse, extract_layers
from kata_bundle.archive.framewriter import FramePool, cut_frames
from kata_bundle.archive.layer import PackedLayer, pack_layer, scan_layer
from kata_bundle.archive.layerfile import LayerFile
from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.tarwriter import tar_size
from kata_bundle.archive.toc import Table, render_trailer
from kata_bundle.archive.zstd import FrameDecoder, current_recipe
from kata_bundle.core import canonical
from kata_bundle.core.digest import Digest
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.tree import File, Tree
from tests.fixtures.hostile import Sentinel
from tests.property.archive.strategies import trees
from tests.property.archive.test_layer_properties import make_removable
from tests.support.strategies import mutated

RELAXED = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
Made = tuple[Tree, Mapping[Digest, bytes]]
FRAME_SIZES = st.one_of(st.sampled_from([1024, 4096, 65_536, 2 << 20]), st.integers(1024, 400_000))


def pack(made: Made, frame_size: int, threads: int = 1) -> tuple[bytes, PackedLayer]:
    tree, contents = made
    sink = io.BytesIO()
    recipe = current_recipe(1, frame_size)
    packed = pack_layer(tree, lambda digest: io.BytesIO(contents[digest]), sink, recipe=recipe, mtime=10**9, threads=threads)
    return sink.getvalue(), packed


def job(path: Path, target: Path, packed: PackedLayer) -> LayerJob:
    return LayerJob(what="layer", path=path, target=target, tree=packed.tree, table=packed.table)


@RELAXED
@given(trees(), FRAME_SIZES, st.integers(1, 4), st.booleans(), st.data())
def test_any_tree_comes_out_as_it_went_in(made: Made, frame_size: int, jobs: int, verify: bool, data: st.DataObject) -> None:
    """Also from a transfer that was cut anywhere and resumed, and with some files there already."""
    packed_bytes, packed = pack(made, frame_size, jobs)
    assert pack(made, frame_size)[0] == packed_bytes
    tree, found = scan_layer(io.BytesIO(packed_bytes), what="layer")
    assert (tree, found.table, found.diff_id, found.recipe) == (made[0], packed.table, packed.diff_id, packed.recipe)
    cut = data.draw(st.integers(0, len(packed_bytes) - 1))
    options = ExtractOptions(jobs=jobs, verify_files=verify)
    with tempfile.TemporaryDirectory() as name:
        path, first, second = Path(name, "layer"), Path(name, "first"), Path(name, "second")
        first.mkdir()
        second.mkdir()
        path.write_bytes(packed_bytes[:cut])
        with pytest.raises(IntegrityError):
            extract_layers([job(path, first, packed)], options=options)
        assert os.listdir(first) == []
        with path.open("ab") as stream:
            stream.write(packed_bytes[cut:])
        assert extract_layers([job(path, first, packed)], options=options)[0].tree == made[0] == read_tree(first)

        there = {entry.digest: str(first / path) for path, entry in made[0].entries.items() if isinstance(entry, File)}
        chosen = data.draw(st.sets(st.sampled_from(sorted(there)))) if there else set()
        reuse = Reuse(find=lambda entry: there[entry.digest] if entry.digest in chosen else None)
        extract_layers([job(path, second, packed)], options=options, reuse=reuse)
        assert read_tree(second) == made[0]
        make_removable(first)
        make_removable(second)


@RELAXED
@given(trees(), FRAME_SIZES)
def test_frames_are_never_larger_than_they_may_be_and_hold_the_whole_tar(made: Made, frame_size: int) -> None:
    size = tar_size(made[0].entries.items(), mtime=0)
    cuts = [*cut_frames(made[0], size, mtime=0, frame_size=frame_size)]
    assert sum(cuts) == size
    assert all(0 < cut <= frame_size for cut in cuts)


@RELAXED
@given(trees(), FRAME_SIZES, st.integers(1, 3), st.data())
def test_no_damaged_byte_is_decoded_or_placed(made: Made, frame_size: int, jobs: int, data: st.DataObject) -> None:
    packed_bytes, packed = pack(made, frame_size)
    damaged = bytearray(packed_bytes)
    place = data.draw(st.integers(0, len(damaged) - 1))
    match data.draw(st.sampled_from(["flip", "drop", "cut", "insert", "swap"])):
        case "flip":
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        case "drop":
            del damaged[place : place + data.draw(st.integers(1, 600))]
        case "cut":
            del damaged[place:]
        case "insert":
            damaged[place:place] = data.draw(st.binary(min_size=1, max_size=20))
        case "swap":
            damaged[place:] = damaged[: len(damaged) - place]
    if damaged == packed_bytes:
        return
    with tempfile.TemporaryDirectory() as name:
        path, target = Path(name, "layer"), Path(name, "target")
        target.mkdir()
        path.write_bytes(packed_bytes)
        with LayerFile.open(path, packed.table, what="layer") as layer:
            good = {frame.sha256 for frame in layer.table.frames}
        path.write_bytes(damaged)
        decode = FrameDecoder.decode

        def checked(self: FrameDecoder, packed: memoryview, size_bytes: int, *, what: str) -> memoryview:
            assert hashlib.sha256(packed).digest() in good
            return decode(self, packed, size_bytes, what=what)

        with mock.patch.object(FrameDecoder, "decode", checked), pytest.raises(IntegrityError):
            extract_layers([job(path, target, packed)], options=ExtractOptions(jobs=jobs))
        entries = made[0].entries
        make_removable(target)
        for found, entry in read_tree(target).entries.items():
            expected = entries[found]
            if isinstance(entry, File) and isinstance(expected, File):
                assert entry.digest == expected.digest


@RELAXED
@given(trees(), st.data())
def test_a_changed_table_is_refused_or_means_what_the_layer_holds(made: Made, data: st.DataObject) -> None:
    """Nobody vouches for the table here: whoever changed it made everything around it fit."""
    packed_bytes, packed = pack(made, 4096)
    assert packed.table is not None
    start, end = packed.table.offset, packed.table.offset + packed.table.size_bytes
    document = json.loads(packed_bytes[start:end])
    if data.draw(st.booleans()):
        changed = canonical.dumps(data.draw(mutated(document)))
    else:
        raw = bytearray(packed_bytes[start:end])
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        changed = bytes(raw)
    forged = packed_bytes[: start - 8] + render_trailer(changed)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as elsewhere:
        path, target = Path(elsewhere, "layer"), Path(name, "target")
        path.write_bytes(forged)
        sentinel = Sentinel(Path(name, "outside"))
        target.mkdir()
        try:
            extracted = extract_layers([LayerJob(what="layer", path=path, target=target)], options=ExtractOptions(jobs=2))[0]
        except IntegrityError:
            with pytest.raises(ArchiveError):
                scan_layer(path, what="layer")
        else:
            found = read_tree(target)
            try:
                scanned = scan_layer(path, what="layer")[0]
            except ArchiveError:
                # A digest or hole that lies: the files are those of the tar all the same.
                assert found == made[0]
            else:
                assert scanned == extracted.tree == made[0] == found
        sentinel.check()
        make_removable(target)


@RELAXED
@given(st.binary(max_size=400))
def test_what_is_no_table_is_refused_whatever_it_is(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        Table.from_json(data, what="layer")


@RELAXED
@given(st.lists(st.binary(min_size=1, max_size=30_000), min_size=1, max_size=12), st.sampled_from([1, 3, 10, 19]))
def test_a_compressor_used_before_makes_the_bytes_of_a_new_one(pieces: list[bytes], level: int) -> None:
    recipe = current_recipe(level)
    with FramePool(recipe, threads=1) as pool:
        used = [pool.submit(bytearray(piece)).result()[0] for piece in pieces]
    fresh = []
    for piece in pieces:
        with FramePool(recipe, threads=1) as pool:
            fresh.append(pool.submit(bytearray(piece)).result()[0])
    assert used == fresh
