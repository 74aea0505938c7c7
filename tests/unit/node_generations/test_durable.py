"""A durable install has every file and directory of the new generation flushed before anything points to it."""

from __future__ import annotations

import os

import pytest

from kata_bundle.core.fsops import FileOps
from kata_bundle.core.record import replace
from kata_bundle.node.install import install
from tests.fixtures.faults import edits, host_files, overlay


@pytest.fixture
def flushed(monkeypatch):
    """Inodes that were flushed so far."""
    seen: set[int] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        seen.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def switch(world, source, flushed, number, *, durable):
    """Install; return the paths of the generation that were not flushed when ``current`` was about to lead there."""
    unflushed: set[str] = set()
    moments = []

    def before(verb: str, path: str) -> None:
        if verb == "rename" and path == world.site.current:
            moments.append(verb)
            folder = world.site.generation(number)
            for parent, directories, files in os.walk(folder):
                names = [os.path.join(parent, name) for name in (*directories, *files)]
                unflushed.update(path for path in (parent, *names) if os.lstat(path).st_ino not in flushed)

    wanted = replace(world.desired(source, "qemu", "clh"), overlay=overlay, edits=edits("1"))
    done = install(world.machine(FileOps(before)), wanted, durable=durable)
    assert moments
    assert done.receipt.generation == number
    links = {path for path in unflushed if os.path.islink(path)}
    return unflushed - links


def test_every_file_and_directory_is_flushed_before_the_switch(world, v1, v2, flushed):
    host_files(world.root)
    assert switch(world, v1, flushed, 1, durable=True) == set()
    # Files that the new generation shares with the old one were flushed with that.
    assert switch(world, v2, flushed, 2, durable=True) == set()


def test_administrators_files_are_flushed_too(world, v1, v2, flushed):
    host_files(world.root)
    switch(world, v1, flushed, 1, durable=True)
    (world.folder / "share/defaults/kata-containers/runtimes/qemu/config.d/60-mine.toml").write_text("a = 1\n")
    assert switch(world, v2, flushed, 2, durable=True) == set()


def test_without_it_only_what_undoing_needs_is_flushed(world, v1, flushed):
    host_files(world.root)
    left = switch(world, v1, flushed, 1, durable=False)
    assert any(path.endswith("bin/kata-runtime") for path in left)
    objects = {os.lstat(entry.path).st_ino for entry in os.scandir(world.site.objects)}
    before = {record.before.digest for record in _receipt(world).edits if record.before is not None}
    after = {record.after for record in _receipt(world).edits if record.after is not None}
    needed = {os.lstat(world.machine().objects.path(digest)).st_ino for digest in before | after}
    assert needed <= flushed & objects
    assert os.lstat(world.site.receipt(1)).st_ino in flushed


def _receipt(world):
    from kata_bundle.node.state import load_state

    receipt = load_state(world.site).receipt
    assert receipt is not None
    return receipt


def test_a_scratch_root_is_not_flushed_unless_asked(world, v1, flushed):
    """The default flushes what a machine runs from; here the root is a folder."""
    wanted = world.desired(v1, "qemu")
    install(world.machine(), wanted)
    assert os.lstat(world.folder / "bin/kata-runtime").st_ino not in flushed
