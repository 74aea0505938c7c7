"""Source packages: what is pinned, the tree that the pinned files make, and patches applied where it is worked on."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
from dataclasses import replace

import pytest

from kata_bundle.build.actionfile import ActionDocument, action_recipe
from kata_bundle.build.debsource import SourceFile, SourceLock, SourcePin, parse_source_lock, unpack_source
from kata_bundle.build.debsourcepins import fetch_source, missing_source_pins, refresh_source_pins
from kata_bundle.build.kinds import render_script
from kata_bundle.build.rules import Rule
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError, LockError, PinMissingError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Hardlink
from tests.fixtures.debs import link, program, tar_of

PATCH = b"--- a/hello.c\n+++ b/hello.c\n@@ -1,2 +1,2 @@\n-old\n+new\n same\n"
ORIG = lzma.compress(
    tar_of(
        [
            ("tool-1.0/", None),
            program("tool-1.0/hello.c", b"old\nsame\n", 0o644),
            program("tool-1.0/configure", b"#!/bin/sh\n"),
            program("tool-1.0/debian/rules", b"upstream's own\n"),
            link("tool-1.0/twin", "tool-1.0/hello.c", tarfile.LNKTYPE),
        ]
    )
)
EXTRA = gzip.compress(tar_of([program("whatever/part.c", b"part\n", 0o644)]), mtime=0)
DEBIAN = lzma.compress(
    tar_of(
        [
            program("debian/patches/series", b"# in order\n\nfix.patch -p1\n", 0o644),
            program("debian/patches/fix.patch", PATCH, 0o644),
            program("debian/control", b"Source: tool\n", 0o644),
        ]
    )
)
DSC = b"a description"
FILES = {
    "tool_1.0-2.dsc": DSC,
    "tool_1.0.orig.tar.xz": ORIG,
    "tool_1.0.orig-extra.tar.gz": EXTRA,
    "tool_1.0-2.debian.tar.xz": DEBIAN,
}


def pin_of(files=FILES, *, name="tool", format="3.0 (quilt)"):  # noqa: A002
    described = [SourceFile(name=n, size_bytes=len(data), digest=digest_bytes(data)) for n, data in files.items()]
    return SourcePin(suite="trixie", name=name, version="1:1.0-2", format=format, files=tuple(sorted(described)))


class Mirror:
    """What a mirror has of source packages; ``tampered`` maps names of files to other bytes that a download gives."""

    def __init__(self, *served, files=FILES, tampered=()):
        self.served, self.files, self.tampered, self.asked = served, files, dict(tampered), []

    def find_source(self, suite, name, version=None):
        self.asked.append(name)
        return next((p for p in self.served if (p.suite, p.name) == (suite, name) and version in {None, p.version}), None)

    def download_source(self, suite, name, version, files, folder):
        for file in files:
            (folder / file).write_bytes(self.tampered.get(file, self.files[file]))


def made(store, pin=None, mirror=None):
    pin = pin or pin_of()
    fetch_source(pin, store, mirror or Mirror(pin))
    return unpack_source(pin, store)


def text(store, tree, path):
    entry = tree.entries[RelPath(path)]
    assert isinstance(entry, File)
    return store.read(entry.digest)


def test_the_tree_is_upstreams_with_the_distributions_folder_in_place_of_its_own(store):
    tree = made(store)
    assert text(store, tree, "hello.c") == b"old\nsame\n", "patches come later"
    assert text(store, tree, "extra/part.c") == b"part\n"
    assert text(store, tree, "debian/control") == b"Source: tool\n"
    assert "debian/rules" not in tree.entries
    assert tree.entries[RelPath("twin")] == Hardlink(target=RelPath("hello.c"))
    assert tree.entries[RelPath("configure")].mode == 0o755


def test_it_is_made_once_and_the_mirror_asked_once(store):
    mirror = Mirror(pin_of())
    first, second = made(store, mirror=mirror), made(store, mirror=mirror)
    assert first == second
    assert mirror.asked == ["tool"]


def test_the_description_is_pinned_but_not_needed(store):
    pin = pin_of()
    assert [file.name for file in pin.parts] == sorted(name for name in FILES if not name.endswith(".dsc"))
    made(store, pin)
    assert store.size(digest_bytes(DSC)) is None
    assert pin.to_key() == pin_of({**FILES, "tool_1.0-2.dsc": b"signed anew"}).to_key()


def test_one_archive_is_a_native_package(store):
    files = {"tool_2.tar.xz": ORIG, "tool_2.dsc": DSC}
    pin = pin_of(files, format="3.0 (native)")
    tree = made(store, pin, Mirror(pin, files=files))
    assert text(store, tree, "debian/rules") == b"upstream's own\n"


@pytest.mark.parametrize("name", ["tool_1.0.orig.tar.xz", "tool_1.0-2.debian.tar.xz"])
def test_other_bytes_than_were_pinned_are_refused(store, name):
    with pytest.raises(IntegrityError, match=name.replace("+", r"\+")):
        made(store, mirror=Mirror(pin_of(), tampered={name: FILES[name] + b"x"}))
    assert store.size(digest_bytes(FILES[name] + b"x")) is None


def test_a_version_with_other_files_than_its_pin_is_an_attack_or_an_accident(store):
    other = pin_of({**FILES, "tool_1.0.orig.tar.xz": b"other"})
    with pytest.raises(IntegrityError, match="other files than its pin"):
        made(store, mirror=Mirror(other))


def test_a_version_that_is_gone_names_the_command_that_replaces_it(store):
    with pytest.raises(PinMissingError, match=r"tool 1:1.0-2 \(source, trixie\)"):
        made(store, mirror=Mirror())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "2.0"}, 'is of format "2.0"'),
        ({"format": "3.0 (native)"}, "not native"),
        ({"format": "1.0"}, "not native"),
        ({"files": {"tool_1.0.orig.tar.gz": b"", "tool_1.0-2.diff.gz": b""}, "format": "1.0"}, "with a diff"),
        ({"files": {"tool_1.0.orig.tar.xz": b""}}, "not complete"),
        ({"files": {**FILES, "tool_1.0.orig.tar.gz": b""}}, "not complete"),
        ({"files": {**FILES, "tool_1.0.orig-extra.tar.xz": b""}}, "not complete"),
        ({"files": {**FILES, "../tool_1.0.orig-x.tar.xz": b""}}, "name is none"),
        ({"files": {**FILES, "other_1.0.orig-x.tar.xz": b""}}, "name is none"),
        ({"files": {**FILES, "tool_a b": b""}}, "name is none"),
    ],
)
def test_what_no_tree_can_be_made_of_is_refused_when_it_is_pinned(changes, message):
    with pytest.raises(LockError, match=message):
        pin_of(**changes)


@pytest.mark.parametrize(
    "members",
    [
        [program("debian/../../x", b"x")],
        [program("elsewhere/x", b"x"), program("debian/control", b"x")],
        [link("debian/x", "debian/../../y", tarfile.LNKTYPE)],
    ],
)
def test_hostile_names_are_refused(store, members):
    files = {**FILES, "tool_1.0-2.debian.tar.xz": lzma.compress(tar_of(members))}
    pin = pin_of(files)
    with pytest.raises((ArchiveError, IntegrityError)):
        made(store, pin, Mirror(pin, files=files))


def test_a_device_is_refused(store):
    device = tarfile.TarInfo("tool-1.0/null")
    device.type = tarfile.CHRTYPE
    files = {**FILES, "tool_1.0.orig.tar.xz": lzma.compress(tar_of([(device, None)]))}
    pin = pin_of(files)
    with pytest.raises(ArchiveError):
        made(store, pin, Mirror(pin, files=files))


def test_the_lock_reads_back_as_it_was_written(tmp_path):
    lock = SourceLock().with_pins([pin_of(), pin_of({f"zz{n[4:]}": d for n, d in FILES.items()}, name="zz")])
    assert parse_source_lock(lock.to_toml(), what="lock") == lock
    for wrong in ("version = 2\n", "version = 1\nx = 1\n", lock.to_toml().replace(' "', ' "x ', 1), lock.to_toml() * 2, "{"):
        with pytest.raises(LockError, match="lock"):
            parse_source_lock(wrong, what="lock")
    table = lock.to_toml().partition("[[sources]]")[2]
    with pytest.raises(LockError, match="pinned twice"):
        parse_source_lock(f"{lock.to_toml()}\n[[sources]]{table}", what="lock")


DOCUMENT = {
    "kind": "make",
    "arches": ["x86_64"],
    "notes": "n",
    "toolchain": "c",
    "version_of": "tool",
    "sources": [{"name": "tool", "suite": "trixie", "debian_source": "tool"}],
    "steps": [["true"]],
}


def recipe_of(**changes):
    found = []
    return action_recipe(ActionDocument.model_validate({**DOCUMENT, **changes}), (), "here", found), found


def test_a_recipe_names_a_source_package_by_suite_and_name():
    recipe, found = recipe_of()
    assert found == []
    assert (recipe.sources[0].source_package, recipe.sources[0].is_patched) == ("tool", True)
    assert recipe.to_key()["sources"][0]["source_package"] == "tool"
    _, found = recipe_of(work="empty")
    assert "patches = false" in found[0]
    _, found = recipe_of(work="empty", sources=[{**DOCUMENT["sources"][0], "patches": False}])
    assert found == []
    _, found = recipe_of(sources=[{"name": "tool", "debian_source": "tool"}])
    assert any("suite: is missing" in one for one in found)


def test_pins_are_made_replaced_and_dropped():
    rules = {"x": Rule(component="x", recipes={Arch.X86_64: recipe_of()[0]})}
    old, new = pin_of(), replace(pin_of(), version="1:1.0-3")
    made_lock = refresh_source_pins(rules, SourceLock(), Mirror(new, old))
    assert made_lock.pins == (new,)
    lock = SourceLock((old,))
    assert refresh_source_pins(rules, lock, Mirror(new, old)) == lock
    assert refresh_source_pins(rules, lock, Mirror(new)).pins == (new,)
    assert refresh_source_pins(rules, lock, Mirror(new, old), only_missing=False).pins == (new,)
    assert refresh_source_pins({}, lock, Mirror(), only_missing=False).pins == ()
    assert missing_source_pins(rules, lock, Mirror(new)) == (old,)
    with pytest.raises(LockError, match="not pinned"):
        missing_source_pins(rules, SourceLock(), Mirror(new))
    with pytest.raises(LockError, match="no source package"):
        refresh_source_pins(rules, SourceLock(), Mirror())


def carried_out(tmp_path, store, tree, recipe):
    """Run the recipe's script where there are no walls, as its first lines find it."""
    from kata_bundle.build.sandbox.checkout import write_tree

    place = tmp_path / "build"
    (place / "src" / "tool").mkdir(parents=True)
    write_tree(store, tree, place / "src" / "tool")
    (place / "run").write_bytes(render_script(recipe, component="kernel", arch=Arch.X86_64, version="1"))
    (tmp_path / "t").mkdir()
    env = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path / "t")}
    return subprocess.run(["sh", "run"], cwd=place, env=env, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
def test_patches_are_applied_in_the_copy_that_the_steps_begin_in(tmp_path, store):
    recipe, _ = recipe_of(steps=[["cp", "-p", "hello.c", "configure", "{out}/"]])
    done = carried_out(tmp_path, store, made(store), recipe)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "build" / "out" / "opt" / "kata"
    assert (out / "hello.c").read_text() == "new\nsame\n"
    assert (out / "hello.c").stat().st_mtime == (out / "configure").stat().st_mtime, "no program is older than its source"
    unpatched, _ = recipe_of(steps=[["true"]], sources=[{**DOCUMENT["sources"][0], "patches": False}])
    assert b"patch" not in render_script(unpatched, component="kernel", arch=Arch.X86_64, version="1")


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
def test_a_patch_that_does_not_fit_is_named(tmp_path, store):
    wrong = lzma.compress(
        tar_of([("debian/patches/series", b"fix.patch"), ("debian/patches/fix.patch", PATCH.replace(b"-old", b"-odd"))])
    )
    files = {**FILES, "tool_1.0-2.debian.tar.xz": wrong}
    pin = pin_of(files)
    done = carried_out(tmp_path, store, made(store, pin, Mirror(pin, files=files)), recipe_of()[0])
    assert done.returncode == 1
    assert "debian/patches/fix.patch does not apply" in done.stderr


def test_an_archive_that_is_no_archive_is_refused(store):
    files = {**FILES, "tool_1.0.orig.tar.xz": io.BytesIO(b"\xfd7zXZ\x00broken").getvalue()}
    pin = pin_of(files)
    with pytest.raises(ArchiveError):
        made(store, pin, Mirror(pin, files=files))
