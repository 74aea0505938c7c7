from __future__ import annotations

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink, Tree, compare, merge


def file(content: bytes = b"x", mode: int = 0o644) -> File:
    return File(mode=mode, size_bytes=len(content), digest=digest_bytes(content))


def tree(**entries) -> Tree:
    return Tree.of({RelPath(path.replace("__", "/")): entry for path, entry in entries.items()})


def test_implied_directories_are_part_of_the_tree():
    assert list(tree(a__b__c=file()).entries) == ["a", "a/b", "a/b/c"]
    assert tree(a__b=file()).digest == tree(a=Directory(mode=0o755), a__b=file()).digest


def test_order_of_arrival_does_not_matter():
    one = Tree.of({RelPath("b"): file(), RelPath("a"): Symlink(target="b")})
    two = Tree.of({RelPath("a"): Symlink(target="b"), RelPath("b"): file()})
    assert one.digest == two.digest
    assert one.to_json() == two.to_json()


def test_paths_sort_by_bytes_not_by_components():
    assert list(tree(a=Directory(), a__b=file(), **{"a-b": file()}).entries) == ["a", "a-b", "a/b"]


@pytest.mark.parametrize(
    "other",
    [file(b"y"), file(mode=0o755), Symlink(target="x"), Directory()],
)
def test_content_mode_and_type_all_change_the_identity(other):
    assert tree(a=file()).digest != tree(a=other).digest


def test_the_identity_is_stable_across_releases():
    golden = tree(bin__tool=file(b"tool\n", 0o755), share__link=Symlink(target="../bin/tool"))
    assert golden.digest == "sha256:" + GOLDEN


GOLDEN = "e35900e92a199b660b75e78ae14901467a008ca64e6c0110bda5ec8a91274232"


def test_the_first_name_of_a_hard_linked_file_is_the_file_whatever_the_archive_said():
    one = Tree.of({RelPath("z"): file(), RelPath("a"): Hardlink(target=RelPath("z"))})
    two = Tree.of({RelPath("a"): file(), RelPath("z"): Hardlink(target=RelPath("a"))})
    assert one.digest == two.digest
    assert one.entries[RelPath("z")] == Hardlink(target=RelPath("a"))


def test_chains_of_hard_links_lead_to_their_file():
    chain = {RelPath("c"): Hardlink(target=RelPath("b")), RelPath("b"): Hardlink(target=RelPath("a")), RelPath("a"): file()}
    assert Tree.of(chain).entries[RelPath("c")] == Hardlink(target=RelPath("a"))


@pytest.mark.parametrize(
    "entries",
    [
        {"a": Hardlink(target=RelPath("a"))},
        {"a": Hardlink(target=RelPath("b")), "b": Hardlink(target=RelPath("a"))},
        {"a": Hardlink(target=RelPath("gone"))},
        {"a": Hardlink(target=RelPath("d")), "d": Directory()},
        {"a": file(), "a/b": file()},
        {"a": Symlink(target="b"), "a/c": file()},
    ],
)
def test_impossible_trees_cannot_be_built(entries):
    with pytest.raises(IntegrityError):
        Tree.of({RelPath(p): e for p, e in entries.items()})


def test_json_round_trip_and_sizes():
    one = tree(a=file(b"12345"), b=Hardlink(target=RelPath("a")), d=Directory(mode=0o555), l=Symlink(target="a"))
    assert Tree.from_json(one.to_json()) == one
    assert (one.size_bytes, one.file_count) == (5, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":2,"entries":{}}',
        b'{"version":1,"entries":[]}',
        b'{"version":1,"entries":{"a":{"type":"device"}}}',
        b'{"version":1,"entries":{"a":{"type":"file","mode":"0644","size":-1,"digest":"sha256:' + b"0" * 64 + b'"}}}',
        b'{"version":1,"entries":{"a":{"type":"file","mode":"99","size":1,"digest":"sha256:' + b"0" * 64 + b'"}}}',
        b'{"version":1,"entries":{"../a":{"type":"directory","mode":"0755"}}}',
        b'{"version":1,"entries":{"a/b":{"type":"directory","mode":"0755"}}}\n',
        b'{"entries":{},"version":1}',
        b'{"version":1,"version":1,"entries":{}}',
    ],
)
def test_documents_that_are_no_canonical_tree_are_refused(data):
    with pytest.raises(IntegrityError):
        Tree.from_json(data)


def test_compare_names_missing_extra_and_changed():
    difference = compare(tree(a=file(), b=file(), c=file()), tree(b=file(b"other"), c=file(), d=file()))
    assert (difference.missing, difference.extra, difference.changed) == (("a",), ("d",), ("b",))
    assert difference
    assert not compare(tree(a=file()), tree(a=file()))


def test_merge_takes_equal_files_once_and_names_both_owners_of_a_conflict():
    assert list(merge([("one", tree(a=file())), ("two", tree(a=file(), b=file()))]).entries) == ["a", "b"]
    with pytest.raises(IntegrityError, match='"a" differs between components "one" and "two"'):
        merge([("one", tree(a=file())), ("two", tree(a=file(b"y")))])
