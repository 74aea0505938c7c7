"""Files compared with what the catalog gives: current, changed, missing, left over; and written anew."""

from __future__ import annotations

import pytest

from kata_bundle.core.errors import UsageError
from kata_bundle.generate.artefacts import ARTEFACTS, compare_files, read_existing, write_files

from .conftest import ROOT

MARK = "<!-- ours -->\n"


def states(target, existing, wanted, mark=None):
    return [(state.path.name, state.state, state.line) for state in compare_files(target, existing, wanted, mark=mark)]


@pytest.mark.parametrize("name", [name for name, artefact in ARTEFACTS.items() if artefact.home])
def test_every_committed_file_is_what_the_catalog_gives(catalog, name):
    artefact = ARTEFACTS[name]
    target = ROOT / artefact.home
    existing = read_existing(target, is_folder=artefact.is_folder)
    found = compare_files(target, existing, artefact.render(catalog, existing), mark=artefact.mark)
    assert [str(state) for state in found if state.state != "current"] == [], "run: kata-bundle generate all"


@pytest.mark.parametrize("name", ARTEFACTS)
def test_rendering_twice_gives_the_same(catalog, name):
    assert ARTEFACTS[name].render(catalog, {}) == ARTEFACTS[name].render(catalog, {})


def test_each_state_is_told_with_the_first_line_that_differs(tmp_path):
    existing = {"same": "a\n", "other": "a\nb\nc\n", "longer": "a\n", "theirs": "mine", "old": MARK + "x"}
    wanted = {"same": "a\n", "other": "a\nB\nc\n", "longer": "a\nb\n", "new": "n"}
    assert states(tmp_path, existing, wanted, MARK) == [
        ("longer", "changed", 2),
        ("new", "missing", None),
        ("old", "left over", None),
        ("other", "changed", 2),
        ("same", "current", None),
    ]


def test_line_ends_and_the_last_newline_count(tmp_path):
    assert states(tmp_path, {"a": "x\r\n"}, {"a": "x\n"}) == [("a", "changed", 1)]
    assert states(tmp_path, {"a": "x"}, {"a": "x\n"}) == [("a", "changed", 2)]


def test_without_a_mark_other_files_are_nobodys_business(tmp_path):
    assert states(tmp_path, {"stranger": "x"}, {}) == []


def test_writing_makes_everything_current_and_leaves_strangers_alone(tmp_path):
    target = tmp_path / "new" / "folder"
    wanted = {"a.md": MARK + "a", "b.md": MARK + "b"}
    write_files(target, compare_files(target, {}, wanted, mark=MARK), wanted)
    (target / "theirs.md").write_text("mine")
    del wanted["b.md"]
    existing = read_existing(target, is_folder=True)
    write_files(target, compare_files(target, existing, wanted, mark=MARK), wanted)
    assert sorted(path.name for path in target.iterdir()) == ["a.md", "theirs.md"]
    assert (target / "a.md").stat().st_mode & 0o777 == 0o644


def test_a_current_file_is_not_touched(tmp_path):
    target = tmp_path / "a"
    target.write_text("x")
    before = target.stat().st_ino
    write_files(target, compare_files(target, {"": "x"}, {"": "x"}), {"": "x"})
    assert target.stat().st_ino == before


def test_a_single_file_has_the_empty_name(tmp_path):
    target = tmp_path / "sub" / "a.json"
    assert read_existing(target, is_folder=False) == {}
    write_files(target, compare_files(target, {}, {"": "x"}), {"": "x"})
    assert read_existing(target, is_folder=False) == {"": "x"}


def test_a_file_for_a_folder_a_folder_for_a_file_and_no_text_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        read_existing(tmp_path / "file", is_folder=True)
    with pytest.raises(UsageError, match="is a folder, expected a file"):
        read_existing(tmp_path, is_folder=False)
    with pytest.raises(UsageError, match="not UTF-8"):
        read_existing(tmp_path / "file", is_folder=False)
