"""The record of file times: written and read back, and what is done when files change under an install's hands."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.core.errors import BundleError
from kata_bundle.core.fsops import FileOps
from kata_bundle.node.install import install
from kata_bundle.node.seen import Record, is_same_file, load_record, signature, still_true
from kata_bundle.node.state import load_state
from kata_bundle.node.verify import verify
from tests.fixtures.node import snapshot

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)
PATHS = st.dictionaries(TEXT, st.sampled_from(["-", "100644,0,0,5,6,7,8,9"]), max_size=4)


@given(
    st.integers(0, 99), TEXT, PATHS, TEXT, st.lists(st.tuples(st.sampled_from(["a", "b-c"]), TEXT), max_size=3), TEXT,
    st.lists(TEXT, max_size=3), PATHS, st.dictionaries(TEXT, TEXT, max_size=3),
)  # fmt: skip
def test_a_record_reads_back_as_it_was_written(generation, boot, stats, facts, request, answer, said, kinds, names):
    made = Record(
        generation=generation, boot=boot, stats=stats, facts=facts, request=tuple(request), answer=answer, said=said,
        kinds=kinds, names=names,
    )  # fmt: skip
    read = Record.from_bytes(made.to_bytes())
    assert read is not None
    for name in Record.__slots__:
        assert getattr(read, name) == getattr(made, name), name


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 7))
def test_no_bytes_are_more_than_an_unusable_record(noise, at, bit):
    assert Record.from_bytes(noise) is None
    data = bytearray(Record(generation=1, boot="b", stats={"/a b": "-"}, request=(("x", "y z"),), facts="f").to_bytes())
    data[at % len(data)] ^= 1 << bit
    read = Record.from_bytes(bytes(data))
    assert read is None or isinstance(read.generation, int)


def test_a_record_of_another_boot_is_not_believed(tmp_path):
    for boot in ("-", "other"):
        record = Record(generation=1, boot=boot, stats={}, request=(), facts="f")
        assert not still_true(record, (), "f")


def test_what_is_no_regular_file_is_no_record(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("fifo", "link", "missing", "."):
        assert load_record(str(tmp_path / name)) is None


def test_signatures_tell_changes_of_the_inode_apart_from_changes_of_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    before = signature(str(path))
    os.link(path, tmp_path / "second")
    assert signature(str(path)) != before
    assert is_same_file(signature(str(path)), before)
    path.write_text("y")
    os.utime(path, ns=(5, 5))
    assert not is_same_file(signature(str(path)), before)
    assert not is_same_file("-", "-")


@pytest.mark.parametrize("linked", [True, False])
def test_a_file_that_changes_while_it_is_taken_over_stops_the_install(world, v1, v2, put, monkeypatch, linked):
    """Between comparing a file and linking or copying it an administrator edits it in place."""
    put(v1, "qemu")
    place = world.folder / "bin/qemu-system-x86_64"
    if not linked:

        def no_link(*arguments: object, **more: object) -> None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(os, "link", no_link)

    def before(verb: str, path: str) -> None:
        if verb in {"link", "copy"} and path.endswith("bin/qemu-system-x86_64"):
            place.write_bytes(b"edit" * 50)

    with pytest.raises(BundleError, match="was changed while the install ran"):
        install(world.machine(FileOps(before)), world.desired(v2, "qemu"))
    receipt = load_state(world.site).receipt
    assert receipt.generation == 1
    assert verify(world.machine(), receipt).changed == ("/opt/kata/bin/qemu-system-x86_64",)
    monkeypatch.undo()
    done = install(world.machine(), world.desired(v2, "qemu"))
    assert verify(world.machine(), done.receipt).is_clean


def test_a_record_that_cannot_be_written_does_no_harm(world, v1):
    def before(verb: str, path: str) -> None:
        if path.startswith(world.site.seen):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    done = install(world.machine(FileOps(before)), world.desired(v1, "qemu"))
    assert verify(world.machine(), done.receipt).is_clean
    assert load_record(world.site.seen) is None
    assert ".kata-bundle/seen" not in {name[-17:] for name in snapshot(world.root)}
