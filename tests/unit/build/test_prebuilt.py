"""Prebuilt tarballs: kept byte for byte, all or none."""

from __future__ import annotations

import hashlib
import os

import pytest
import zstandard

from kata_bundle.build.prebuilt import import_directory, imported_layer
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.relpath import RelPath
from tests.fixtures.debs import link, program, tar_of
from tests.fixtures.hostile import CASES

KNOWN = ("kernel", "qemu", "nydus", "agent")
X86 = Arch.X86_64


def tarball(folder, name, members, *, level=3) -> bytes:
    data = zstandard.ZstdCompressor(level=level).compress(tar_of(members))
    (folder / f"kata-static-{name}.tar.zst").write_bytes(data)
    return data


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "tarballs"
    path.mkdir()
    (path / "shim-components.json").write_text("{}")
    (path / "notes.txt").write_text("x")
    return path


def files(store) -> dict[str, int]:
    return {
        str(p.relative_to(store.root)): p.stat().st_ino for p in store.root.rglob("*") if p.is_file() and p.parent.name != "locks"
    }


@pytest.mark.parametrize("prefix", ["./opt/kata/", "opt/kata/"])
def test_bytes_are_kept_and_the_content_understood(folder, store, prefix):
    data = tarball(folder, "nydus", [program(f"{prefix}libexec/nydusd", b"daemon"), link(f"{prefix}libexec/x", "nydusd")])
    (imported,) = import_directory(folder, store, X86, known=KNOWN)
    record = imported.record
    assert (record.component, record.arch, record.origin, record.recipe) == ("nydus", X86, "foreign", None)
    assert (record.rule_key, record.hermetic, imported.is_known) == (None, False, False)
    assert store.read(record.packed) == data
    assert record.packed == "sha256:" + hashlib.sha256(data).hexdigest()
    assert RelPath("libexec/nydusd") in store.get_tree(record.tree).entries
    assert imported_layer(store, "nydus", X86) == record
    assert imported_layer(store, "nydus", Arch.AARCH64) is None
    assert imported_layer(store, "qemu", X86) is None


def test_both_prefixes_give_one_tree(folder, store, tmp_path):
    trees = set()
    for prefix in ("./opt/kata/", "opt/kata/"):
        tarball(folder, "nydus", [(f"{prefix}libexec/nydusd", b"daemon")])
        trees.add(import_directory(folder, store, X86, known=KNOWN)[0].record.tree)
    assert len(trees) == 1


def test_the_last_import_of_a_component_counts_and_others_stay(folder, store):
    tarball(folder, "nydus", [("opt/kata/a", b"1")])
    tarball(folder, "qemu", [("opt/kata/b", b"1")])
    first = import_directory(folder, store, X86, known=KNOWN)
    assert [i.record.component for i in first] == ["nydus", "qemu"]
    os.unlink(folder / "kata-static-qemu.tar.zst")
    tarball(folder, "nydus", [("opt/kata/a", b"2")])
    (second,) = import_directory(folder, store, X86, known=KNOWN)
    assert imported_layer(store, "nydus", X86) == second.record != first[0].record
    assert imported_layer(store, "qemu", X86) == first[1].record
    # And back again: the newest import decides, not the newest file.
    tarball(folder, "nydus", [("opt/kata/a", b"1")])
    assert import_directory(folder, store, X86, known=KNOWN)[0].is_known is False
    assert imported_layer(store, "nydus", X86) == first[0].record


def test_the_same_import_again_does_nothing(folder, store):
    tarball(folder, "nydus", [("opt/kata/a", b"1")])
    import_directory(folder, store, X86, known=KNOWN)
    blobs = {k: v for k, v in files(store).items() if k.startswith("blobs")}
    assert [i.is_known for i in import_directory(folder, store, X86, known=KNOWN)] == [True]
    assert {k: v for k, v in files(store).items() if k.startswith("blobs")} == blobs


def test_a_trial_tells_and_stores_nothing(folder, store):
    tarball(folder, "nydus", [("opt/kata/a", b"1")])
    before = files(store)
    (imported,) = import_directory(folder, store, X86, known=KNOWN, dry_run=True)
    assert imported.to_dict()["known"] is False
    assert files(store) == before


def test_everything_wrong_is_said_at_once_and_nothing_is_taken(folder, store, tmp_path):
    tarball(folder, "nydus", [("opt/kata/a", b"1")])
    tarball(folder, "kernl", [("opt/kata/a", b"1")])
    tarball(folder, "qemu", [("opt/kata/../../etc/x", b"1")])
    (folder / "kata-static-agent.tar.xz").write_bytes(b"")
    (folder / "kata-static-kernel.tar.zst").symlink_to(tmp_path / "elsewhere")
    (folder / "kata-static-..tar.zst").write_bytes(b"")
    before = files(store)
    with pytest.raises(IntegrityError) as caught:
        import_directory(folder, store, X86, known=KNOWN)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert len(lines) == 5, lines
    assert "there is no component 'kernl'; did you mean \"kernel\"?" in " ".join(lines)
    assert any(line.startswith("kata-static-agent.tar.xz: only .tar.zst") for line in lines)
    assert any(line.startswith("kata-static-kernel.tar.zst: not a regular file") for line in lines)
    assert any("kata-static-qemu.tar.zst" in line and '".."' in line for line in lines)
    assert files(store) == before


@pytest.mark.parametrize("case", [case for case in CASES if case.refused], ids=str)
def test_hostile_archives_are_refused(folder, store, case, tmp_path):
    (folder / "kata-static-nydus.tar.zst").write_bytes(case.make(bytes(tmp_path / "outside")))
    before = files(store)
    with pytest.raises(IntegrityError, match=r"kata-static-nydus\.tar\.zst"):
        import_directory(folder, store, X86, known=KNOWN)
    assert files(store) == before


def test_a_tarball_without_anything_below_opt_kata_is_refused(folder, store):
    tarball(folder, "nydus", [("usr/bin/x", b"1")])
    with pytest.raises(IntegrityError, match="has no members below opt/kata"):
        import_directory(folder, store, X86, known=KNOWN)


def test_a_folder_without_tarballs_is_a_mistake(folder, store):
    with pytest.raises(UsageError, match="has no kata-static-<component>"):
        import_directory(folder, store, X86, known=KNOWN)


def test_a_file_that_changes_while_it_is_imported_is_refused(folder, store, monkeypatch):
    tarball(folder, "nydus", [("opt/kata/a", b"1")])
    real = store.lock

    def change(name):
        tarball(folder, "nydus", [("opt/kata/a", b"2")])
        return real(name)

    monkeypatch.setattr(store, "lock", change)
    with pytest.raises(IntegrityError, match="expected sha256:"):
        import_directory(folder, store, X86, known=KNOWN)
    assert imported_layer(store, "nydus", X86) is None
