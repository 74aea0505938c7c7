"""Delta layers: what they cost, what they refuse, and that their bytes stay the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from kata_bundle.archive import deltaformat
from kata_bundle.archive.deltaapply import load_table, restore_files
from kata_bundle.archive.deltacodec import compress, decompress, library_version
from kata_bundle.archive.deltacosts import FileMode, file_costs
from kata_bundle.archive.deltaencode import current_recipe, encode_delta, estimate_delta
from kata_bundle.archive.deltaformat import DeltaTable, FrameRecipe, Range, render_header
from kata_bundle.archive.deltamatch import similar_files
from kata_bundle.archive.tarreader import Limits
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Hardlink, Symlink, Tree
from tests.support.deltas import MTIME, Contents, make_delta, noise, only, restored

GOLDEN = Path(__file__).parents[2] / "golden" / "delta"
KIB = 1 << 10


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return Contents(tmp_path / "contents")


def patched(data: bytes, *changes: tuple[int, bytes]) -> bytes:
    result = bytearray(data)
    for at, piece in changes:
        result[at : at + len(piece)] = piece
    return bytes(result)


def paths(tree: Tree, digests: dict[Digest, tuple[File, ...]], old: Tree) -> dict[str, list[str]]:
    def of(found: Tree, digest: Digest) -> str:
        return next(path for path, entry in found.entries.items() if isinstance(entry, File) and entry.digest == digest)

    return {of(tree, new): [of(old, file.digest) for file in files] for new, files in digests.items()}


def test_a_changed_image_costs_what_changed(contents: Contents, tmp_path: Path) -> None:
    image = noise(1 << 20)
    old = contents.tree({"share/a.image": image, "share/config": b"one\n", "bin/same": noise(5000, 1)})
    news = noise(3000, 2)
    new = contents.tree({"share/a.image": patched(image, (300_000, news)), "share/config": b"two\n", "bin/same": noise(5000, 1)})
    made = make_delta(old, new, contents, tmp_path / "delta")
    assert 3000 < made.size_bytes < 5000
    assert restored(tmp_path / "delta", old, new, contents, tmp_path / "out")
    costs = {cost.path: cost for cost in file_costs(made.table)}
    assert costs["bin/same"].mode is FileMode.UNCHANGED
    assert costs["bin/same"].stored_bytes == 0
    assert costs["share/a.image"].mode is FileMode.FRAMES
    assert 3000 < costs["share/a.image"].stored_bytes < 4000
    assert sum(cost.stored_bytes for cost in costs.values()) == made.table.data_bytes


def test_blocks_that_moved_far_are_found(contents: Contents, tmp_path: Path) -> None:
    parts = [noise(256 * KIB, seed) for seed in range(8)]
    old = contents.tree({"a.image": b"".join(parts)})
    new = contents.tree({"a.image": b"".join([*parts[4:], *parts[:4]])})
    made = make_delta(old, new, contents, tmp_path / "delta", frame_size=128 * KIB)
    assert made.size_bytes < 20_000
    assert FileMode.WHOLE in {cost.mode for cost in file_costs(made.table)}
    assert restored(tmp_path / "delta", old, new, contents, tmp_path / "out")


def test_zeros_and_what_is_equal_are_stored_in_no_bytes_and_zeros_become_holes(contents: Contents, tmp_path: Path) -> None:
    image = noise(512 * KIB)
    old = contents.tree({"a.image": image})
    new = contents.tree({"a.image": image + bytes(4 << 20)})
    made = make_delta(old, new, contents, tmp_path / "delta", frame_size=128 * KIB)
    assert made.table.data_bytes == 0
    assert restored(tmp_path / "delta", old, new, contents, tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    assert path.stat().st_blocks * 512 < 1 << 20
    assert path.stat().st_mtime == MTIME


def test_a_file_under_another_name_is_not_stored(contents: Contents, tmp_path: Path) -> None:
    data = noise(200 * KIB)
    old, new = contents.tree({"old/name": data}), contents.tree({"new/other": data, "new/third": data})
    made = make_delta(old, new, contents, tmp_path / "delta")
    assert made.table.data_bytes == 0
    assert restored(tmp_path / "delta", old, new, contents, tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"boot/vmlinuz-6.1.140": b"a"}, {"boot/vmlinuz-6.1.147": b"b"}, {"boot/vmlinuz-6.1.147": ["boot/vmlinuz-6.1.140"]}),
        (
            {"share/kata-noble.image": b"a" * 99, "share/other.txt": b"z"},
            {"share/kata-noble-confidential.image": b"b" * 99},
            {"share/kata-noble-confidential.image": ["share/kata-noble.image"]},
        ),
        ({"bin/qemu": b"a"}, {"bin/virtiofsd": b"b"}, {"bin/virtiofsd": []}),
        ({"bin/qemu": b"a"}, {"bin/qemu": b"b"}, {"bin/qemu": ["bin/qemu"]}),
    ],
)
def test_old_files_of_similar_names_are_bases(
    contents: Contents, before: dict[str, bytes], after: dict[str, bytes], expected: dict[str, list[str]]
) -> None:
    old, new = contents.tree(before), contents.tree(after)
    assert paths(new, similar_files(old, new), old) == expected


def test_the_file_behind_the_same_link_is_a_base(contents: Contents) -> None:
    link = {"share/vmlinux.container": Symlink(target="linux-a-150")}
    old = contents.tree({"share/linux-a-150": b"a" * 50, "share/zzz": b"q"}, link)
    new = contents.tree({"share/completely": b"b" * 50}, {"share/vmlinux.container": Symlink(target="completely")})
    assert paths(new, similar_files(old, new), old) == {"share/completely": ["share/linux-a-150"]}


@pytest.mark.parametrize("jobs", [2, 3, 8])
def test_the_bytes_do_not_depend_on_the_number_of_threads(contents: Contents, tmp_path: Path, jobs: int) -> None:
    image = noise(700_000)
    old = contents.tree({"a.image": image, "b": b"1" * 3000})
    new = contents.tree({"a.image": patched(image, (5, b"xyz"), (500_000, noise(2000, 3))), "b": b"1" * 2999 + b"2"})
    make_delta(old, new, contents, tmp_path / "one")
    make_delta(old, new, contents, tmp_path / "many", jobs=jobs)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    expected = restored(tmp_path / "one", old, new, contents, tmp_path / "out1")
    assert restored(tmp_path / "one", old, new, contents, tmp_path / "outn", jobs=jobs) == expected


def test_an_exact_estimate_is_the_size_and_a_sampled_one_is_near(contents: Contents) -> None:
    image = noise(4 << 20)
    old = contents.tree({"a.image": image})
    changes = [(at, noise(1500, at)) for at in range(0, 4 << 20, 40_000)]
    new = contents.tree({"a.image": patched(image, *changes)})
    recipe = current_recipe(3, frame_size=1 << 16)
    find = contents.path
    exact = estimate_delta(old, new, find, find, recipe=recipe, every=1)
    sampled = estimate_delta(old, new, find, find, recipe=recipe, every=8)
    size = make_delta(old, new, contents, contents.folder / "delta").size_bytes
    assert exact.exact
    assert abs(exact.size_bytes - size) < 100  # the date in the table
    assert not sampled.exact
    assert sampled.sampled_bytes <= exact.sampled_bytes / 7
    assert 0.7 < sampled.size_bytes / size < 1.3


def golden_trees(contents: Contents) -> tuple[Tree, Tree]:
    rows = b"".join(b"row %d of a table that compresses\n" % i for i in range(20_000))
    old = contents.tree({"share/image": rows, "etc/config": b"debug = false\n", "bin/same": b"same\n" * 20})
    new = contents.tree(
        {"share/image": patched(rows, (100_000, b"NEWS")), "etc/config": b"debug = true\n", "bin/same": b"same\n" * 20, "e": b""},
        {"etc/link": Symlink(target="config"), "bin/twin": Hardlink(target=RelPath("bin/same"))},
    )
    return old, new


def test_version_1_stays_as_it_is(contents: Contents, tmp_path: Path) -> None:
    old, new = golden_trees(contents)
    golden = GOLDEN / "v1.delta"
    assert restored(golden, old, new, contents, tmp_path / "out").keys() == {
        new.entries[RelPath(name)].digest for name in ("share/image", "etc/config", "e")
    }
    table = load_table(golden, what="golden", expected_tree=new.digest)
    if table.recipe.library != library_version():
        pytest.skip(f"the golden bytes are libzstd {table.recipe.library}'s, this one is {library_version()}")
    make_delta(old, new, contents, tmp_path / "delta")
    assert (tmp_path / "delta").read_bytes() == golden.read_bytes()


# What is refused


def sample(contents: Contents, tmp_path: Path) -> tuple[Tree, Tree, Path]:
    image = noise(300_000)
    old = contents.tree({"a.image": image, "etc/x": b"1" * 500})
    new = contents.tree({"a.image": patched(image, (150_000, noise(2000, 9))), "etc/x": b"2" * 500})
    make_delta(old, new, contents, tmp_path / "delta")
    return old, new, tmp_path / "delta"


def refused(delta: Path, old: Tree, new: Tree, contents: Contents, out: Path) -> str:
    out.mkdir(exist_ok=True)
    with pytest.raises(IntegrityError) as error:
        restore_files(delta, only(old, contents), out, what="delta", expected_tree=new.digest)
    assert list(out.iterdir()) == []
    return str(error.value)


def test_a_delta_for_another_tree_is_refused_before_anything_is_written(contents: Contents, tmp_path: Path) -> None:
    old, _, delta = sample(contents, tmp_path)
    other = contents.tree({"a": b"1"})
    assert "is for the tree" in refused(delta, old, other, contents, tmp_path / "out")


def test_an_old_file_that_is_not_there_or_has_other_content_is_noticed(contents: Contents, tmp_path: Path) -> None:
    old, new, delta = sample(contents, tmp_path)
    assert "is not there" in refused(delta, contents.tree({}), new, contents, tmp_path / "out")
    (image,) = [e for p, e in old.entries.items() if p == "a.image" and isinstance(e, File)]
    place = Path(contents.path(image.digest) or "")
    place.write_bytes(patched(place.read_bytes(), (149_000, bytes(8000))))
    assert "gives another content" in refused(delta, old, new, contents, tmp_path / "out")
    place.write_bytes(b"short")
    assert "another length" in refused(delta, old, new, contents, tmp_path / "out")


def test_every_truncation_is_refused(contents: Contents, tmp_path: Path) -> None:
    old, new, delta = sample(contents, tmp_path)
    data = delta.read_bytes()
    for size in [*range(40), len(data) // 2, len(data) - 1]:
        delta.write_bytes(data[:size])
        refused(delta, old, new, contents, tmp_path / "out")
    delta.write_bytes(data + b"x")
    refused(delta, old, new, contents, tmp_path / "out")


def test_links_and_devices_are_no_deltas(contents: Contents, tmp_path: Path) -> None:
    old, new, delta = sample(contents, tmp_path)
    (tmp_path / "link").symlink_to(delta)
    assert "symbolic link" in refused(tmp_path / "link", old, new, contents, tmp_path / "out")
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in refused(tmp_path / "fifo", old, new, contents, tmp_path / "out")


def table_of(tree: Tree, old: Tree, frames: tuple[FrameRecipe, ...], frame_size: int = 1 << 16) -> DeltaTable:
    sources = tuple(
        deltaformat.Source(digest=entry.digest, size_bytes=entry.size_bytes)
        for entry in old.entries.values()
        if isinstance(entry, File)
    )
    return DeltaTable(
        old=old.digest, tree=tree, mtime=0, recipe=current_recipe(3, frame_size=frame_size), sources=sources, frames=frames
    )


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (FrameRecipe(0), FrameRecipe(0)),
        (FrameRecipe(10, (Range(1, 0, 1),)),),
        (FrameRecipe(10, (Range(0, 99_999, 2),)),),
        (FrameRecipe(0, (Range(0, 0, 50),)),),
        (FrameRecipe(0, (Range(0, 0, 50), Range(0, 0, 50))),),
        (FrameRecipe(10, (Range(0, 0, 801),)),),
        (FrameRecipe(5000),),
    ],
)
def test_a_table_that_goes_beyond_its_trees_is_refused(contents: Contents, frames: tuple[FrameRecipe, ...]) -> None:
    old, new = contents.tree({"a": noise(100_000)}), contents.tree({"a": noise(100, 1)})
    with pytest.raises(IntegrityError):
        table_of(new, old, frames)


def test_a_frame_gives_no_more_than_it_should(contents: Contents, tmp_path: Path) -> None:
    old, new = contents.tree({"a": noise(1000)}), contents.tree({"a": bytes(99) + b"1"})
    for content in (bytes(1 << 20), bytes(99) + b"12", b""):
        frame = compress(content, b"", level=3)
        table = table_of(new, old, (FrameRecipe(len(frame)),))
        (tmp_path / "delta").write_bytes(render_header(table) + frame)
        refused(tmp_path / "delta", old, new, contents, tmp_path / "out")


def test_more_than_the_limit_is_not_written(contents: Contents, tmp_path: Path) -> None:
    old, new, delta = sample(contents, tmp_path)
    with pytest.raises(ArchiveError, match="more than the 1000 allowed"):
        restore_files(
            delta,
            only(old, contents),
            tmp_path,
            what="delta",
            expected_tree=new.digest,
            limits=Limits(max_unpacked_bytes=1000),
        )


def test_another_version_says_so(contents: Contents, tmp_path: Path) -> None:
    old, new, delta = sample(contents, tmp_path)
    delta.write_bytes(b"kbdelta2" + delta.read_bytes()[8:])
    assert "another version" in refused(delta, old, new, contents, tmp_path / "out")


def test_encoding_notices_files_that_are_not_there(contents: Contents, tmp_path: Path) -> None:
    old, new, _ = sample(contents, tmp_path)
    with (tmp_path / "x").open("wb") as sink, pytest.raises(IntegrityError, match="at hand"):
        encode_delta(old, new, contents.path, lambda _: None, sink, recipe=current_recipe(3), mtime=0)


def test_frames_are_decoded_behind_their_prefix_only() -> None:
    prefix, data = noise(9000), noise(9000)[100:8000] + b"news"
    frame = compress(data, prefix, level=3)
    assert len(frame) < 100
    assert decompress(frame, prefix, length=len(data), what="frame") == data
    with pytest.raises(ArchiveError):
        decompress(frame, b"", length=len(data), what="frame")
    other = decompress(frame, noise(9000, 5), length=len(data), what="frame")
    assert hashlib.sha256(other).digest() != hashlib.sha256(data).digest()
    assert digest_bytes(data)
