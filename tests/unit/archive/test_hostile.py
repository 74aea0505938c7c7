"""Every archive of the hostile corpus: scanned and extracted alike, refused with words or leaving exactly what it should."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kata_bundle.archive.layer import extract_layer, scan_layer
from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.tarreader import Limits
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.process import run
from tests.fixtures import hostile, rawtar


@contextmanager
def traced_memory() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the largest amount of memory in use by Python since then, in bytes."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def look(directory: Path) -> dict[str, bytes | str | None]:
    """What is below ``directory``, in the corpus's words."""
    seen: dict[str, bytes | str | None] = {}
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            seen[name] = f"-> {os.readlink(path)}"
        else:
            seen[name] = None if path.is_dir() else path.read_bytes()
    return seen


@pytest.mark.parametrize("case", hostile.CASES, ids=str)
def test_archive_is_refused_or_harmless(case: hostile.Case, tmp_path: Path) -> None:
    sentinel = hostile.Sentinel(tmp_path / "outside")
    target = tmp_path / "target"
    target.mkdir()
    data = case.make(os.fsencode(sentinel.directory))
    if case.refused is None:
        tree, _ = scan_layer(io.BytesIO(data), what="evil.tar.zst")
        extracted = extract_layer(io.BytesIO(data), target, what="evil.tar.zst")
        assert look(target) == case.leaves
        assert extracted.tree == tree == read_tree(target)
    else:
        with pytest.raises(ArchiveError, match=case.refused) as scanned:
            scan_layer(io.BytesIO(data), what="evil.tar.zst")
        with pytest.raises(ArchiveError) as refused:
            extract_layer(io.BytesIO(data), target, what="evil.tar.zst")
        assert str(refused.value) == str(scanned.value)
        assert str(refused.value).startswith("evil.tar.zst: ")
        assert str(refused.value).isprintable()
        # What came before the bad member may be there, half-written files may not.
        assert not [name for name in look(target) if ".kata-bundle-" in name]
    sentinel.check()


def test_corpus_names_are_unique() -> None:
    names = [case.name for case in hostile.CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", [case for case in hostile.CASES if case.refused is None], ids=str)
def test_archive_of_unexpected_bytes_writes_nothing(case: hostile.Case, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    data = case.make(os.fsencode(tmp_path))
    with pytest.raises(IntegrityError, match="expected sha256"):
        extract_layer(io.BytesIO(data), target, what="evil", expected_packed=digest_bytes(data + b"x"))
    assert look(target) == {}


def test_decompression_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    bomb = rawtar.rle_bomb(1 << 40 >> 4)
    assert len(bomb) < 3 << 20
    with pytest.raises(ArchiveError, match=r"unpacks to more than the 1048576 bytes allowed"):
        # The first bytes are zeros, so for tar it would be an empty archive with 64 GiB of padding.
        extract_layer(io.BytesIO(bomb), tmp_path, what="bomb", limits=Limits(max_unpacked_bytes=1 << 20))


def test_zeros_without_end_after_the_archive_are_not_waited_for() -> None:
    """What tar takes for padding would keep a reader busy for minutes, with limits that real components need."""
    bomb = rawtar.packed(rawtar.tar(rawtar.member(b"opt/kata/a"))) + rawtar.rle_bomb(64 << 30)
    with pytest.raises(ArchiveError, match="more than 64 MiB of zeros after the end-of-archive blocks"):
        scan_layer(io.BytesIO(bomb), what="bomb")
    padded = rawtar.packed(rawtar.tar(rawtar.member(b"opt/kata/a")) + bytes(32 << 20))
    scan_layer(io.BytesIO(padded), what="padded")


def test_bomb_inside_a_member_stops_at_the_limit(tmp_path: Path) -> None:
    start = rawtar.header(b"opt/kata/a", size=1 << 20)
    frames = rawtar.packed(start) + rawtar.rle_bomb(1 << 30)
    with pytest.raises(ArchiveError, match="unpacks to more"):
        extract_layer(io.BytesIO(frames), tmp_path, what="bomb", limits=Limits(max_unpacked_bytes=1 << 20))
    assert look(tmp_path) == {}


def test_member_larger_than_the_limit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    data = rawtar.packed(rawtar.tar(rawtar.member(b"opt/kata/a", b"x" * 2000)))
    with pytest.raises(ArchiveError, match=r"size of 2000 bytes|more unpacked bytes declared"):
        extract_layer(io.BytesIO(data), tmp_path, what="big", limits=Limits(max_unpacked_bytes=1000))
    assert look(tmp_path) == {}


def test_a_hundred_thousand_empty_members_are_read() -> None:
    data = rawtar.packed(rawtar.tar(*(rawtar.header(b"opt/kata/%d/%d" % (i // 1000, i)) for i in range(100_000))))
    tree, layer = scan_layer(io.BytesIO(data), what="many")
    assert tree.file_count == 100_000
    assert layer.unpacked_size_bytes == 512 * 100_002


def test_members_cost_little_memory(tmp_path: Path) -> None:
    data = rawtar.packed(rawtar.tar(*(rawtar.header(b"opt/kata/%d/%d" % (i // 1000, i)) for i in range(5000))))
    with traced_memory() as peak:
        scan_layer(io.BytesIO(data), what="many")
    assert peak() < 5000 * 2000


def test_memory_does_not_grow_with_the_size_of_files(tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 48
    data = rawtar.packed(rawtar.tar(rawtar.member(b"opt/kata/big", content)))
    with traced_memory() as peak:
        extract_layer(io.BytesIO(data), tmp_path, what="big")
    assert peak() < 8 << 20


def test_more_members_than_allowed_are_refused() -> None:
    data = rawtar.packed(rawtar.tar(*(rawtar.header(b"opt/kata/%d" % i) for i in range(11))))
    scan_layer(io.BytesIO(data), what="many", limits=Limits(max_members=11))
    with pytest.raises(ArchiveError, match="more than the 10 members allowed"):
        scan_layer(io.BytesIO(data), what="many", limits=Limits(max_members=10))


def test_members_outside_the_prefix_count_too() -> None:
    data = rawtar.packed(rawtar.tar(*(rawtar.header(b"%d" % i) for i in range(11))))
    with pytest.raises(ArchiveError, match="more than the 10 members allowed"):
        scan_layer(io.BytesIO(data), what="many", limits=Limits(max_members=10))


def test_directories_implied_by_deep_names_cannot_fill_the_memory() -> None:
    """A name of 4 KiB implies 2,000 directories with names of 4 MiB together: a thousand such names would take gigabytes."""
    deep = (rawtar.gnu_long(b"opt/kata/%d" % i + b"/a" * 2000) + rawtar.member(b"x") for i in range(1000))
    with pytest.raises(ArchiveError, match="the tree gets too large"):
        scan_layer(io.BytesIO(rawtar.packed(rawtar.tar(*deep))), what="deep")


def test_global_headers_count_as_members() -> None:
    data = rawtar.packed(rawtar.tar(*[rawtar.pax(rawtar.record(b"comment", b"x"), b"g")] * 11))
    with pytest.raises(ArchiveError, match="more than the 10 members allowed"):
        scan_layer(io.BytesIO(data), what="many", limits=Limits(max_members=10))


def test_a_very_deep_name_is_extracted_and_read_back(tmp_path: Path) -> None:
    name = "a/" * 2000 + "f"
    data = rawtar.packed(rawtar.tar(rawtar.gnu_long(b"opt/kata/" + name.encode()), rawtar.member(b"x", b"deep")))
    extracted = extract_layer(io.BytesIO(data), tmp_path, what="deep")
    assert len(extracted.tree.entries) == 2001
    assert read_tree(tmp_path) == extracted.tree
    run(["rm", "-rf", str(tmp_path / "a")])  # Python's own removal gives up at such a depth
