from __future__ import annotations

import pytest

from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.relpath import MAX_NAME, MAX_PATH, parents, parse_relpath, printable, resolve_link


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "a"), ("./a/b", "a/b"), ("a//b/", "a/b"), ("a/./b", "a/b"), ("…/ß", "…/ß"), ("a" * MAX_NAME, "a" * MAX_NAME)],
)
def test_paths_are_normalised(text, expected):
    assert parse_relpath(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", ".", "./", "/a", "..", "a/..", "../a", "a/../b", "a\0b", "a" * (MAX_NAME + 1), "/".join(["a" * 200] * 21), "ß" * 128],
)
def test_paths_that_leave_or_cannot_exist_are_refused(text):
    with pytest.raises(ArchiveError):
        parse_relpath(text)


def test_the_longest_path_linux_takes_is_accepted():
    path = "/".join(["a" * 255] * 15 + ["b" * 255])
    assert len(path) == MAX_PATH
    assert parse_relpath(path) == path


def test_parents_come_outermost_first():
    assert parents(parse_relpath("a/b/c")) == ["a", "a/b"]
    assert parents(parse_relpath("a")) == []


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [("a/l", "b", "a/b"), ("a/l", "../b", "b"), ("a/b/l", "../../c/./d", "c/d"), ("a/l", "..", None), ("l", ".", None)],
)
def test_a_link_is_resolved_where_it_stands(path, target, expected):
    assert resolve_link(parse_relpath(path), target) == expected


@pytest.mark.parametrize(("path", "target"), [("l", ".."), ("a/l", "../../b"), ("l", "/etc"), ("a/l", "b/../../../c")])
def test_a_link_out_of_the_tree_is_refused(path, target):
    with pytest.raises(ArchiveError, match=r"outside the tree|absolute target"):
        resolve_link(parse_relpath(path), target)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bin/ünï 日本", "bin/ünï 日本"),
        ("a\nmissing b", "a\\nmissing b"),
        ("\x1b[2J", "\\x1b[2J"),
        (b"\xff".decode("utf-8", "surrogateescape"), "\\udcff"),
        ("\u202egnp", "\\u202egnp"),
    ],
)
def test_names_are_shown_on_one_line_and_move_no_cursor(text, shown):
    assert printable(text) == shown
