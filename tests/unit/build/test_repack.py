"""From packages to a component: every mapping finds something, no two claim one path, nothing leaves the component."""

from __future__ import annotations

import io
import tarfile

import pytest

from kata_bundle.build.repack import Repacker
from kata_bundle.build.rules import DebRecipe, FileMapping, Link, Package, Transform
from kata_bundle.core.errors import ArchiveError, BuildError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Symlink
from tests.fixtures.debs import deb, link, program
from tests.unit.build.test_kernelimage import CODECS, KERNEL, bzimage

MEMBERS = [
    ("./", None),
    ("./usr/", None),
    ("./usr/bin/", None),
    program("./usr/bin/tool", b"tool"),
    ("./usr/share/", None),
    ("./usr/share/data/", None),
    ("./usr/share/data/a.bin", b"a"),
    ("./usr/share/data/b.bin", b"b"),
    ("./usr/share/data/sub/", None),
    ("./usr/share/data/sub/c", b"c"),
    link("./usr/share/data/latest", "b.bin"),
    ("./boot/vmlinuz-6.1+x", bzimage(CODECS["zstd"](KERNEL))),
]


def repack(store, files, links=(), members=MEMBERS, package="tool"):
    mappings = tuple(FileMapping(package="tool", source=f[0], target=f[1], transform=(*f, None)[2]) for f in files)
    recipe = DebRecipe(
        suite="trixie",
        packages=(Package(name="tool"),),
        version_of="tool",
        files=mappings,
        links=tuple(Link(at=RelPath(at), target=target) for at, target in links),
        notes="",
    )
    repacker = Repacker(recipe, "demo", store)
    repacker.add_package(package, io.BytesIO(deb(members)), what="package tool 1")
    return repacker.finish()


def shape(tree) -> dict[str, object]:
    return {
        path: "dir" if isinstance(e, Directory) else e.target if isinstance(e, Symlink) else (f"{e.mode:o}", e.size_bytes)
        for path, e in tree.entries.items()
    }


def test_a_file_keeps_only_its_executable_bit(store):
    members = [program("./usr/bin/tool", b"x", 0o4755), program("./usr/bin/conf", b"x", 0o640)]
    tree = repack(store, [("usr/bin/tool", "bin/tool"), ("usr/bin/conf", "etc/conf")], members=members)
    assert shape(tree) == {"bin": "dir", "bin/tool": ("755", 1), "etc": "dir", "etc/conf": ("644", 1)}


def test_content_arrives_in_the_store(store):
    tree = repack(store, [("usr/bin/tool", "bin/tool")])
    entry = tree.entries[RelPath("bin/tool")]
    assert isinstance(entry, File)
    assert store.read(entry.digest) == b"tool"


def test_a_star_carries_what_it_stood_for(store):
    tree = repack(store, [("usr/share/data/*.bin", "share/x-*.img")])
    assert [p for p in tree.entries if "." in p] == ["share/x-a.img", "share/x-b.img"]


def test_a_directory_takes_everything_below_it(store):
    tree = repack(store, [("usr/share/data/", "share/d/")])
    assert shape(tree) == {
        "share": "dir",
        "share/d": "dir",
        "share/d/a.bin": ("644", 1),
        "share/d/b.bin": ("644", 1),
        "share/d/latest": "b.bin",
        "share/d/sub": "dir",
        "share/d/sub/c": ("644", 1),
    }


def test_one_member_can_become_several_files(store):
    tree = repack(
        store,
        [("boot/vmlinuz-*", "k/vmlinuz-*"), ("boot/vmlinuz-*", "k/vmlinux-*", Transform.VMLINUX_FROM_BZIMAGE)],
        [("k/vmlinux.container", "vmlinux-*"), ("k/vmlinuz.container", "vmlinuz-*"), ("up", "k/vmlinux-*")],
    )
    kernel = tree.entries[RelPath("k/vmlinux-6.1+x")]
    assert isinstance(kernel, File)
    assert store.read(kernel.digest) == KERNEL
    assert shape(tree)["k/vmlinux.container"] == "vmlinux-6.1+x"
    assert shape(tree)["k/vmlinuz.container"] == "vmlinuz-6.1+x"
    assert shape(tree)["up"] == "k/vmlinux-6.1+x"


@pytest.mark.parametrize(
    ("files", "links", "words"),
    [
        ([("usr/bin/tool", "a"), ("usr/bin/gone", "b"), ("opt/", "c/")], (), '"usr/bin/gone" in package "tool"\n .*"opt/" in'),
        ([("usr/share/data/*.txt", "x/*.txt")], (), "lack what the rule takes"),
        ([("usr/share/data/sub", "x")], (), "is a directory"),
        ([("usr/share/data/latest", "x")], (), 'is a link to "b.bin"; name the file itself'),
        ([("usr/bin/tool", "x"), ("usr/share/data/a.bin", "x")], (), 'two mappings of the rule make "x"'),
        ([("usr/bin/tool", "x"), ("usr/share/data/a.bin", "y")], [("x", "y")], 'two mappings of the rule make "x"'),
        ([("usr/bin/tool", "x")], [("y", "z")], 'points to "z", which it does not have'),
        ([("usr/share/data/*.bin", "*.bin")], [("y", "*.bin")], "wants one file .*found a.bin, b.bin"),
        ([("usr/bin/tool", "x")], [("y", "z*")], "found none"),
        ([("usr/bin/tool", "x", Transform.VMLINUX_FROM_BZIMAGE)], (), "not a bzImage"),
    ],
)
def test_a_rule_that_does_not_fit_its_package_stops_the_build(store, files, links, words):
    with pytest.raises(BuildError, match=words):
        repack(store, files, links)


def test_only_the_named_package_is_looked_at(store):
    with pytest.raises(BuildError, match="lack what the rule takes"):
        repack(store, [("usr/bin/tool", "x")], package="other")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("./../../etc/cron.d/x", b"x")], '".."'),
        ([("/etc/x", b"x")], "absolute"),
        ([link("./usr/share/data/x", "../../../../etc/passwd")], "points outside the tree"),
        ([link("./usr/share/data/x", "/etc/passwd")], "absolute target"),
    ],
)
def test_members_and_links_cannot_leave_the_component(store, members, words):
    with pytest.raises(ArchiveError, match=words):
        repack(store, [("usr/share/data/", "d/")], members=members)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_only_files_links_and_directories_are_taken(store, kind):
    members = [("./usr/share/data/a", b"a"), link("./usr/share/data/x", "./usr/share/data/a", kind)]
    with pytest.raises((BuildError, ArchiveError)):
        repack(store, [("usr/share/data/", "d/")], members=members)
