"""How differences are told: text for a terminal, Markdown for a release note."""

from __future__ import annotations

from kata_bundle.cli.diff_markdown import diff_markdown
from kata_bundle.cli.diff_text import change_text, diff_text, growth_text, value_text
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Symlink, Tree
from kata_bundle.plan.diff import Change, Item, ItemKey, Snapshot, SnapshotKind, Subject, compare_snapshots
from kata_bundle.plan.size import Weight

KERNEL = ItemKey(subject=Subject.COMPONENT, name="kernel", arch="x86_64")


def item(content, *, size=10, packed=None, **facts):
    return Item(
        facts=facts,
        weight=Weight(packed_bytes=size, unpacked_bytes=2 * size),
        packed=digest_bytes((packed or content).encode()),
        tree=digest_bytes(content.encode()),
    )


def report(old, new, trees=None):
    def snapshot(items, name):
        return Snapshot(kind=SnapshotKind.BUNDLE, name=name, items=items)

    return compare_snapshots(snapshot(old, "old"), snapshot(new, "new"), read_trees=None if trees is None else lambda _key: trees)


def tree(**files):
    return Tree.of(
        {
            RelPath(name): value
            if isinstance(value, Symlink)
            else File(mode=0o644, size_bytes=value, digest=digest_bytes(b"%d" % value))
            for name, value in files.items()
        }
    )


def test_sizes_name_what_lies_between():
    assert growth_text(1024, 2048) == "1.0 KiB → 2.0 KiB (+1.0 KiB)"
    assert growth_text(2048, 1024) == "2.0 KiB → 1.0 KiB (-1.0 KiB)"
    assert growth_text(5, 5) == "5 B (the same)"


def test_lists_are_told_by_what_came_and_went_and_values_by_both():
    assert change_text(Change(key="k", old=["a", "b"], new=["b", "c"])) == "+c, -a"
    assert change_text(Change(key="k", old=["a", "b"], new=["b", "a"])) == "another order"
    assert change_text(Change(key="k", old=None, new=True)) == "none → yes"
    assert change_text(Change(key="k", old=False, new=3)) == "no → 3"
    assert value_text({"a": [1, "b"], "c": None}) == "a 1, b, c none"
    assert value_text([]) == value_text({}) == "none"


def test_control_characters_of_a_bundle_do_not_reach_the_terminal():
    key = ItemKey(subject=Subject.RUNTIME_CLASS, name="x\x1b[31m")
    changed = report(
        {KERNEL: item("a", version="1")}, {KERNEL: item("b", version="2\x1b[2J"), key: Item(facts={"memory": "\r", "cpu": "1"})}
    )
    for text in (diff_text(changed, files=5), diff_markdown(changed, files=5)):
        assert "\x1b" not in text
        assert "\r" not in text
    assert "�" in diff_text(changed, files=5)


def test_a_component_is_told_with_version_size_and_its_greatest_files():
    old, new = tree(a=1, b=50_000, c=7, d=Symlink(target="a")), tree(a=2, b=90_000, d=Symlink(target="b"), e=3)
    changed = report({KERNEL: item("o", version="6.1")}, {KERNEL: item("n", version="6.2", size=30)}, (old, new))
    text = diff_text(changed, files=2)
    assert "~ kernel (x86_64)" in text
    assert "version: 6.1 → 6.2" in text
    assert "size: packed 10 B → 30 B (+20 B), unpacked 20 B → 60 B (+40 B)" in text
    assert "~ b  48.8 KiB → 87.9 KiB (+39.1 KiB)" in text
    assert "- c  7 B" in text
    assert "and 3 files more" in text
    everything = diff_text(changed, files=10)
    assert "+ e  3 B" in everything
    assert "~ d  other target" in everything
    assert "more" not in everything


def test_a_component_made_from_other_inputs_or_repacked_says_so():
    other_key = report({KERNEL: item("a", rule_key="1")}, {KERNEL: item("a", rule_key="2")})
    assert "made from other inputs" in diff_text(other_key, files=5)
    assert "made from other inputs" in diff_markdown(other_key, files=5)
    repacked = report({KERNEL: item("a", packed="p")}, {KERNEL: item("a", packed="q")})
    assert "same content, repacked" in diff_text(repacked, files=5)
    assert "| `kernel (x86_64)` | layer | same content, repacked |" in diff_markdown(repacked, files=5)


def test_a_release_note_counts_files_and_folds_them_away():
    old, new = tree(a=1, b=2, c=3), tree(a=9, b=8, d=4)
    changed = report({KERNEL: item("o")}, {KERNEL: item("n")}, (old, new))
    text = diff_markdown(changed, files=1)
    assert "| content | 1 file added, 1 file removed, 2 files changed |" in text
    assert "<details><summary>Files of kernel (x86_64)</summary>" in text
    assert "```diff\n! a  1 B → 9 B (+8 B)\n# and 3 files more\n```" in text
    assert "<details>" not in diff_markdown(changed, files=0)


def test_content_that_was_not_read_is_said_to_differ():
    changed = report({KERNEL: item("o", tree="1")}, {KERNEL: item("n", tree="2")})
    assert "| content | differs |" in diff_markdown(changed, files=5)


def test_added_and_removed_things_are_listed_with_a_few_facts():
    shim = ItemKey(subject=Subject.SHIM, name="fc", arch="x86_64")
    klass = ItemKey(subject=Subject.RUNTIME_CLASS, name="kata-fc")
    bare = ItemKey(subject=Subject.SHIM, name="qemu", arch="x86_64")
    added = report(
        {KERNEL: item("k", version="6.1")},
        {
            shim: Item(facts={"components": ["a", "b"]}),
            bare: Item(facts={}),
            klass: Item(facts={"overhead.memory": "1Mi", "overhead.cpu": "1m"}),
        },
    )
    text = diff_text(added, files=5)
    assert "+ fc (x86_64)  a, b" in text
    assert "+ qemu (x86_64)\n" in text
    assert "- kernel (x86_64)  6.1; 10 B packed, 20 B unpacked" in text
    assert "+ kata-fc  overhead 1Mi, 1m" in text
    note = diff_markdown(added, files=5)
    assert "Added:\n\n- `fc (x86_64)`: a, b\n- `qemu (x86_64)`\n" in note
    assert "Removed:\n\n- `kernel (x86_64)`: 6.1; 10 B packed, 20 B unpacked" in note


def test_equal_sides_say_so_in_every_form():
    same = report({KERNEL: item("a")}, {KERNEL: item("a")})
    assert diff_text(same, files=5) == "old and new are equal"
    assert diff_markdown(same, files=5) == "# Changes from `old` to `new`\n\nNothing differs.\n"
