"""The made-up corpus: the same bytes every time, two releases that differ in places; the lock names what the full one needs."""

from __future__ import annotations

from bench import parts, smoke
from bench.debs import RELEASES, load_lock
from kata_bundle.archive.readtree import read_tree


def laid_out(release, folder):
    folder.mkdir()
    smoke.lay_out(release, "amd64", folder)
    return {path.name: read_tree(path).digest for path in folder.iterdir()}


def test_the_same_bytes_every_time_and_other_ones_in_the_next_release(tmp_path):
    first, again, other = laid_out("r1", tmp_path / "a"), laid_out("r1", tmp_path / "b"), laid_out("r2", tmp_path / "c")
    assert first == again
    assert set(first) == set(parts.COMPONENTS["amd64"])
    assert {name for name in first if first[name] == other[name]} == {"nydus", "virtiofsd", "shim-v2-rust"}


def test_shims_need_nothing_that_is_not_there():
    for arch, shims in parts.SHIMS.items():
        assert {name for components in shims.values() for name in components} == set(parts.COMPONENTS[arch])


def test_the_lock_has_every_group_of_both_releases():
    lock = load_lock()
    for arch, groups in parts.GROUPS.items():
        for release in RELEASES:
            assert set(lock[arch][release]) == set(groups)
            for group, names in groups.items():
                missing = set(names.split()) - set(lock[arch][release][group])
                assert not missing or group.startswith("kernel"), (arch, release, group, missing)
        changed = [name for name, package in lock[arch]["r1"]["base"].items() if lock[arch]["r2"]["base"].get(name) != package]
        assert changed
