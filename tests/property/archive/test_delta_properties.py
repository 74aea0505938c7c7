"""What holds for the delta between any two trees, and for every damage to it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.archive.deltaapply import load_table, restore_files
from kata_bundle.archive.deltacosts import file_costs
from kata_bundle.archive.deltaencode import current_recipe, estimate_delta
from kata_bundle.archive.tarreader import Limits
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Entry, File, Tree
from tests.property.archive.strategies import trees
from tests.support.deltas import Contents, make_delta, only, restored

RELAXED = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
Made = tuple[Tree, Mapping[Digest, bytes]]


@st.composite
def successors(draw: st.DrawFn, made: Made) -> Made:
    """Return another tree that shares paths and parts of contents with ``made``, or nothing."""
    tree, contents = made
    other, more = draw(trees())
    entries: dict[RelPath, Entry] = dict(other.entries)
    found = dict(more)
    for path, entry in tree.entries.items():
        if isinstance(entry, File) and "/" not in path and draw(st.booleans()):
            data = contents[entry.digest]
            at = draw(st.integers(0, len(data)))
            news = draw(st.binary(max_size=50))
            changed = draw(
                st.sampled_from([data[:at] + news + data[at:], data[:at] + news + data[at + len(news) :], data[at:] * 2])
            )
            digest = digest_bytes(changed)
            found[digest] = changed
            if path not in entries or isinstance(entries[path], File):
                entries[path] = File(mode=0o600, size_bytes=len(changed), digest=digest)
    try:
        return Tree.of(entries), found
    except IntegrityError:  # a file where the other tree needs a directory
        return other, more


PAIRS = trees().flatmap(lambda made: st.tuples(st.just(made), successors(made)))


@RELAXED
@given(PAIRS, st.sampled_from([1 << 12, 1 << 14, 1 << 16, 1 << 21]), st.integers(1, 4))
def test_any_two_trees_have_a_delta_that_gives_the_second(pair: tuple[Made, Made], frame_size: int, jobs: int) -> None:
    (old, before), (new, after) = pair
    with tempfile.TemporaryDirectory() as name:
        contents = Contents(Path(name) / "contents")
        for data in (*before.values(), *after.values()):
            contents.put(data)
        delta = Path(name) / "delta"
        made = make_delta(old, new, contents, delta, frame_size=frame_size, jobs=jobs)
        assert (made.size_bytes, made.digest) == (delta.stat().st_size, digest_bytes(delta.read_bytes()))
        assert load_table(delta, what="delta", expected_tree=new.digest) == made.table
        found = restored(delta, old, new, contents, Path(name) / "out", jobs=jobs)
        known = {entry.digest for entry in old.entries.values() if isinstance(entry, File)}
        wanted = {entry.digest for entry in new.entries.values() if isinstance(entry, File)}
        assert found == {digest: after[digest] for digest in wanted - known}
        assert made.table.tree == new
        assert sum(cost.stored_bytes for cost in file_costs(made.table)) == made.table.data_bytes
        find = contents.path
        estimate = estimate_delta(old, new, find, find, recipe=current_recipe(3, frame_size=frame_size), every=1)
        assert estimate.exact
        assert estimate.table.frames == made.table.frames


@RELAXED
@given(PAIRS, st.data())
def test_a_damaged_delta_is_refused_or_still_gives_the_tree(pair: tuple[Made, Made], data: st.DataObject) -> None:
    (old, before), (new, after) = pair
    with tempfile.TemporaryDirectory() as name:
        contents = Contents(Path(name) / "contents")
        for content in (*before.values(), *after.values()):
            contents.put(content)
        delta, out = Path(name) / "delta", Path(name) / "out"
        make_delta(old, new, contents, delta, frame_size=1 << 14)
        whole = delta.read_bytes()
        out.mkdir()
        for _ in range(10):
            broken = bytearray(whole)
            at = data.draw(st.integers(0, len(whole) - 1))
            match data.draw(st.sampled_from(["flip", "drop", "insert", "cut"])):
                case "flip":
                    broken[at] ^= 1 << data.draw(st.integers(0, 7))
                case "drop":
                    del broken[at]
                case "insert":
                    broken[at:at] = data.draw(st.binary(min_size=1, max_size=5))
                case _:
                    del broken[at:]
            delta.write_bytes(broken)
            try:
                made = restore_files(
                    delta,
                    only(old, contents),
                    out,
                    what="delta",
                    expected_tree=new.digest,
                    jobs=2,
                    limits=Limits(max_unpacked_bytes=1 << 28),
                )
            except IntegrityError:
                assert list(out.iterdir()) == []
                continue
            for digest, path in made.files.items():
                assert path.read_bytes() == after[digest]
                path.unlink()


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_crash_the_reader(data: bytes, has_magic: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        delta = Path(name) / "delta"
        delta.write_bytes((b"kbdelta1" if has_magic else b"") + data)
        try:
            load_table(delta, what="delta")
        except IntegrityError:
            pass
        else:  # pragma: no cover - would need a valid zstd frame by chance
            raise AssertionError
