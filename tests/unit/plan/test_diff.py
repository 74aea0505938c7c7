"""Differences of snapshots and trees."""

from __future__ import annotations

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.profile import Profile
from kata_bundle.core.record import replace
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink, Tree
from kata_bundle.manifest import load_catalog
from kata_bundle.plan.diff import Item, ItemKey, Snapshot, SnapshotKind, Subject, compare_snapshots, compare_trees, flatten
from kata_bundle.plan.lock import Lock, LockedComponent
from kata_bundle.plan.size import Weight
from kata_bundle.plan.snapshots import catalog_snapshot, lock_snapshot


def component(name, arch="x86_64"):
    return ItemKey(subject=Subject.COMPONENT, name=name, arch=arch)


def item(content, packed=None, size=10, **facts):
    return Item(
        facts=facts,
        weight=Weight(packed_bytes=size, unpacked_bytes=3 * size),
        packed=digest_bytes(str(packed or content).encode()),
        tree=digest_bytes(content.encode()),
    )


def snapshot(items, name="s"):
    return Snapshot(kind=SnapshotKind.BUNDLE, name=name, items=items)


def tree(**entries):
    return Tree.of({RelPath(path.replace("__", "/")): entry for path, entry in entries.items()})


def file(text, mode=0o644):
    return File(mode=mode, size_bytes=len(text), digest=digest_bytes(text.encode()))


def test_equal_sides_have_no_difference():
    side = snapshot({component("kernel"): item("k", version="1")})
    report = compare_snapshots(side, side)
    assert report.is_equal
    assert report.to_dict()["equal"] is True
    assert report.new_layers == Weight()


def test_added_removed_and_changed_items_are_told_apart_and_sorted():
    old = snapshot({component("b"): item("b", version="1"), component("c"): item("c")})
    new = snapshot({component("b"): item("b2", version="2"), component("a"): item("a", size=4)})
    report = compare_snapshots(old, new)
    assert [(d.key.name, d.change) for d in report.differences] == [("a", "added"), ("b", "changed"), ("c", "removed")]
    changed = report.differences[1]
    assert [(c.key, c.old, c.new) for c in changed.changes] == [("version", "1", "2")]
    assert report.old_weight == Weight(packed_bytes=20, unpacked_bytes=60)
    assert report.new_layers == Weight(packed_bytes=14, unpacked_bytes=42)
    assert report.of(Subject.COMPONENT, "added") == report.differences[:1]
    assert report.of(Subject.SHIM) == ()


def test_subjects_come_in_their_order_whatever_their_names():
    keys = [ItemKey(subject=subject, name="x") for subject in reversed(Subject)]
    report = compare_snapshots(snapshot({}), snapshot({key: Item(facts={}) for key in keys}))
    assert [d.key.subject for d in report.differences] == list(Subject)


def test_a_fact_that_only_one_side_has_is_a_change_even_when_it_is_null():
    key = component("a")
    old, new = snapshot({key: Item(facts={"x": None})}), snapshot({key: Item(facts={})})
    assert [(c.key, c.old, c.new) for c in compare_snapshots(old, new).differences[0].changes] == [("x", None, None)]


def test_the_same_content_packed_otherwise_is_said_to_be_that():
    key = component("a")
    old, new = snapshot({key: item("a", packed="p1")}), snapshot({key: item("a", packed="p2")})
    difference = compare_snapshots(old, new).differences[0]
    assert difference.is_repacked
    assert not compare_snapshots(old, snapshot({key: item("b")})).differences[0].is_repacked


def test_files_are_read_only_where_trees_differ():
    asked = []

    def read(key):
        asked.append(key.name)
        return tree(f=file("1")), tree(f=file("22"))

    old = snapshot({component("same"): item("s", packed="1"), component("other"): item("o"), component("gone"): item("g")})
    new = snapshot({component("same"): item("s", packed="2"), component("other"): item("o2")})
    report = compare_snapshots(old, new, read_trees=read)
    assert asked == ["gone", "other"]
    by_name = {d.key.name: d for d in report.differences}
    assert by_name["same"].files is None
    assert [(f.path, f.change, f.old_bytes, f.new_bytes) for f in by_name["other"].files] == [("f", "content", 1, 2)]


def test_every_way_in_which_a_path_can_differ_has_a_word():
    old = tree(
        gone=file("1"), mode=file("2"), content=file("3"), link=Symlink(target="a"), kind=file("4"), d=Directory(mode=0o755),
        a=file("5"), hard=Hardlink(target=RelPath("a")), same=file("6"),
    )  # fmt: skip
    new = tree(
        come=file("1"), mode=file("2", 0o755), content=file("33"), link=Symlink(target="b"), kind=Symlink(target="x"),
        d=Directory(mode=0o700), a=file("5"), b=file("7"), hard=Hardlink(target=RelPath("b")), same=file("6"),
    )  # fmt: skip
    found = {change.path: change.change for change in compare_trees(old, new)}
    assert found == {
        "b": "added",
        "come": "added",
        "content": "content",
        "d": "mode",
        "gone": "removed",
        "hard": "target",
        "kind": "type",
        "link": "target",
        "mode": "mode",
    }


def test_directories_that_come_or_go_with_their_files_are_not_named_themselves():
    assert [c.path for c in compare_trees(tree(a__b=file("1")), tree(c__d=file("1")))] == ["a/b", "c/d"]


def test_a_tree_against_none_is_all_added_or_removed():
    content = tree(a=file("1"), b=Symlink(target="a"))
    assert [(c.path, c.change, c.new_bytes) for c in compare_trees(None, content)] == [("a", "added", 1), ("b", "added", None)]
    assert [c.change for c in compare_trees(content, None)] == ["removed", "removed"]
    assert compare_trees(None, None) == ()


def test_a_name_that_is_no_text_is_shown_with_its_bytes():
    odd = Tree.of({RelPath("a\udcff"): file("1")})
    assert [c.path for c in compare_trees(None, odd)] == ["a\\xff"]


def test_nested_facts_are_flattened_and_empty_ones_kept():
    assert flatten({"a": {"b": {"c": 1}}, "d": [], "e": {}}) == {"a.b.c": 1, "d": [], "e": {}}


@pytest.fixture(scope="module")
def catalog():
    found, _ = load_catalog()
    assert found is not None
    return found


def test_a_catalog_equals_itself_and_has_every_shim_component_and_class(catalog):
    side = catalog_snapshot(catalog, "a")
    assert compare_snapshots(side, catalog_snapshot(catalog, "b")).is_equal
    subjects = [key.subject for key in side.items]
    assert subjects.count(Subject.SHIM) == len(catalog.shims)
    assert subjects.count(Subject.COMPONENT) == len(catalog.components)
    assert subjects.count(Subject.RUNTIME_CLASS) == len(catalog.runtime_classes)


def test_every_kind_of_change_of_a_catalog_is_seen(catalog):
    def changed(**fields):
        report = compare_snapshots(catalog_snapshot(catalog, "old"), catalog_snapshot(replace(catalog, **fields), "new"))
        return [(d.key.subject, d.key.name, [c.key for c in d.changes]) for d in report.differences]

    shim = replace(catalog.shims["qemu"], gpu=True)
    assert changed(shims={**catalog.shims, "qemu": shim}) == [(Subject.SHIM, "qemu", ["gpu"])]
    kernel = replace(catalog.components["kernel"], version_keys=("x",))
    assert changed(components={**catalog.components, "kernel": kernel}) == [(Subject.COMPONENT, "kernel", ["version_keys"])]
    heavier = replace(catalog.runtime_classes["qemu"], memory="1Gi")
    assert changed(runtime_classes={**catalog.runtime_classes, "qemu": heavier}) == [
        (Subject.RUNTIME_CLASS, "kata-qemu", ["memory"])
    ]
    default = replace(catalog.default_class, name="k")
    assert changed(default_class=default) == [(Subject.DEFAULTS, "RuntimeClass", ["name"])]
    release = replace(catalog.release, size_limit_bytes=1)
    assert changed(release=release) == [(Subject.RELEASE, "release", ["size_limit_bytes"])]
    rows = {**catalog.component_map.shims, "fc": {"x86_64": ("kernel",)}}
    component_map = replace(catalog.component_map, shims=rows)
    assert changed(component_map=component_map) == [(Subject.SHIM, "fc", ["components.x86_64", "components.aarch64"])]
    arches = {arch: replace(entry, default_shim="clh") for arch, entry in list(catalog.arches.items())[:1]}
    assert changed(arches={**catalog.arches, **arches}) == [(Subject.DEFAULTS, "x86_64", ["default_shim"])]


def test_locks_differ_by_shims_pins_and_rule_keys():
    def lock(shims, **components):
        made = {
            name: LockedComponent(kind="deb", rule_key=digest_bytes(key.encode()), pins=pins)
            for name, (key, pins) in components.items()
        }
        return lock_snapshot(Lock(profile=Profile.PACKAGES, shims={"x86_64": shims}, components={"x86_64": made}), "l")

    old = lock(("qemu",), kernel=("k1", ("linux 1",)), qemu=("q", ("qemu 9",)))
    new = lock(("qemu", "fc"), kernel=("k2", ("linux 2",)), qemu=("q", ("qemu 9",)))
    report = compare_snapshots(old, new)
    assert report.kind is SnapshotKind.LOCK
    assert [(d.key.subject, d.key.name, d.change) for d in report.differences] == [
        (Subject.SHIM, "fc", "added"),
        (Subject.COMPONENT, "kernel", "changed"),
    ]
    assert report.differences[1].fact("pins").new == ["linux 2"]
    assert report.differences[1].fact("kind") is None
    assert report.new_weight is None
