"""TOML edits keep every untouched key, comment and byte of any document, and say exactly what was asked."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.node.tomledit import TomlFile, copy_keys, element_key, remove_keys, replaced_key, set_keys
from kata_bundle.node.tomlscan import Kind, scan
from kata_bundle.node.tomltext import (
    TomlError,
    format_path,
    parse_path,
    quote_key,
    render_document,
    render_value,
    same_value,
    split_path,
)

KEYS = st.one_of(
    st.sampled_from(
        ["a", "b", "plugins", "runtimes", "io.containerd.cri.v1.runtime", "kata-qemu", "1", "ключ", 'quo"te', "", "x y", "#"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.datetimes(timezones=st.none()),
    st.dates(),
    st.times(),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=6
)
COMMENTS = st.sampled_from(["", "", "", "# note", "  # [not.a.table]", '# key = "value"', "# ☃ [[x]]"])


def _spell(draw: st.DrawFn, value: Any, *, multi_line: bool) -> str:
    """Return one of the ways to write ``value``."""
    if isinstance(value, list) and multi_line and draw(st.booleans()):
        comma = draw(st.booleans())
        lines = ["["]
        for at, item in enumerate(value):
            last = at == len(value) - 1
            lines.append(f"    {_spell(draw, item, multi_line=False)}{',' if comma or not last else ''}{draw(COMMENTS)}")
        return "\n".join([*lines, "  ]"])
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(draw, key)} = {_spell(draw, item, multi_line=False)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and draw(st.booleans()):
        if "'" not in value and value.isprintable():
            return f"'{value}'"
        if multi_line and "\r" not in value and all(c == "\n" or c.isprintable() for c in value):
            return '"""\n' + value.replace("\\", "\\\\").replace('"', '\\"') + '"""'
    return render_value(value)


def _key(draw: st.DrawFn, key: str) -> str:
    if "'" not in key and key.isprintable() and draw(st.booleans()):
        return f"'{key}'"
    return quote_key(key)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid TOML: headers in any order, dotted keys, inline tables, arrays of tables, comments, blanks, either line end."""
    lines: list[str] = []

    def emit(text: str) -> None:
        lines.extend([""] * draw(st.integers(0, 1)))
        if comment := draw(COMMENTS):
            lines.append(comment)
        lines.append(text)

    def pairs(names: list[str]) -> None:
        for name in names:
            indent = draw(st.sampled_from(["", "", "  ", "\t"]))
            if draw(st.integers(0, 3)) == 0:
                inner = draw(st.lists(KEYS, min_size=1, max_size=2, unique=True))
                for key in inner:
                    spelled = f"{_key(draw, name)} . {_key(draw, key)}"
                    emit(f"{indent}{spelled} = {_spell(draw, draw(VALUES), multi_line=True)} {draw(COMMENTS)}")
            else:
                emit(f"{indent}{_key(draw, name)} = {_spell(draw, draw(VALUES), multi_line=True)} {draw(COMMENTS)}")

    names = draw(st.lists(KEYS, max_size=6, unique=True))
    split = draw(st.integers(0, len(names)))
    pairs(names[:split])
    headers = [(name,) for name in names[split:]]
    for name in names[split:]:
        inner = draw(st.lists(KEYS, max_size=2, unique=True))
        headers.extend((name, key) if draw(st.booleans()) else (name, key, draw(KEYS)) for key in inner)
    seen: set[tuple[str, ...]] = set()
    for header in draw(st.permutations(headers)):
        array = len(header) == 1 and draw(st.integers(0, 4)) == 0 and not any(other[0] == header[0] for other in seen)
        for _ in range(2 if array else 1):
            emit(("[[{}]]" if array else "[{}]").format(".".join(_key(draw, part) for part in header)) + draw(COMMENTS))
            pairs(draw(st.lists(KEYS.filter(lambda key: len(key) != 1), max_size=3, unique=True)))
        seen.add(header)
    text = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n", "\n# end"]))
    return text.replace("\n", "\r\n") if draw(st.integers(0, 4)) == 0 and "\r" not in text else text


def valid(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def paths(data: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [at] if at else []
    if isinstance(data, dict):
        for key, item in data.items():
            found += paths(item, (*at, key))
    return found


def lookup(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


def refusal(function: Callable[..., None], *arguments: Any) -> TomlError | None:
    try:
        function(*arguments)
    except TomlError as error:
        return error
    return None


def comment_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith("#")]


def subsequence(part: list[str], whole: list[str]) -> bool:
    remaining = iter(whole)
    return all(any(line == other for other in remaining) for line in part)


SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


@SETTINGS
@given(documents(), st.data())
def test_changing_a_value_replaces_that_value_and_no_other_byte(text: str, data: st.DataObject) -> None:
    before = valid(text)
    if before is None:
        return
    leaves = [path for path in paths(before) if not isinstance(lookup(before, path), dict)]
    if not leaves:
        return
    path = data.draw(st.sampled_from(leaves))
    value = data.draw(SCALARS)
    tables = isinstance(lookup(before, path), list) and any(isinstance(item, dict) for item in lookup(before, path))
    file = TomlFile.parse(text)
    if (error := refusal(file.set, path, value)) is not None:
        assert error.kind == "refused"
        assert tables, "only an array of tables may be refused"
        return
    after = file.render()
    expected = copy.deepcopy(before)
    lookup(expected, path[:-1])[path[-1]] = value
    assert same_value(tomllib.loads(after), expected)
    # Every other statement, with its indentation and comment, is still there and in its place; so is every comment line.
    holder = [one for one in scan(text) if one.kind is Kind.PAIR and path[: len(one.path)] == one.path and not one.in_array]
    others = [text[one.start : one.end] for one in scan(text) if one not in holder]
    kept = [
        after[one.start : one.end]
        for one in scan(after)
        if one.in_array or one.kind is not Kind.PAIR or path[: len(one.path)] != one.path
    ]
    assert kept == others
    if '"""' not in text and "    " not in text:
        assert comment_lines(after) == comment_lines(text)
    file.set(path, value)
    assert file.render() == after


@SETTINGS
@given(documents(), st.lists(KEYS, min_size=1, max_size=4), VALUES)
def test_adding_a_key_adds_lines_and_keeps_all_others_in_order(text: str, path: list[str], value: Any) -> None:
    before = valid(text)
    if before is None:
        return
    expected = copy.deepcopy(before)
    table: Any = expected
    for part in path[:-1]:
        table = table.setdefault(part, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict) or path[-1] in table:
        return
    table[path[-1]] = value
    file = TomlFile.parse(text)
    file.set(path, value)
    after = file.render()
    assert same_value(tomllib.loads(after), expected)
    inside_inline = not subsequence([line for line in text.splitlines() if line.strip()], after.splitlines())
    # Only a key that has to go inside an inline table changes a line.
    assert not inside_inline or "{" in text
    again = TomlFile.parse(after)
    again.set(path, value)
    assert again.render() == after


@SETTINGS
@given(documents(), st.data())
def test_deleting_takes_lines_away_and_keeps_all_others_in_order(text: str, data: st.DataObject) -> None:
    before = valid(text)
    if not before:
        return
    path = data.draw(st.sampled_from(paths(before)))
    file = TomlFile.parse(text)
    file.delete(path)
    after = file.render()
    assert not TomlFile.parse(after).contains(path)
    rest = copy.deepcopy(before)
    del lookup(rest, path[:-1])[path[-1]]
    for other in paths(rest):
        value = lookup(rest, other)
        if not isinstance(value, dict):
            assert same_value(lookup(tomllib.loads(after), other), value)
    assert subsequence([line for line in after.splitlines() if line.strip()], text.splitlines()) or "{" in text
    if not isinstance(lookup(before, path), dict | list) and '"""' not in text:
        assert comment_lines(after) == comment_lines(text)
    file.delete(path)
    assert file.render() == after


@SETTINGS
@given(documents(), st.lists(KEYS, min_size=1, max_size=3), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_appending_and_removing_an_element_is_idempotent_and_reversible(text: str, path: list[str], word: str) -> None:
    if valid(text) is None:
        return
    file = TomlFile.parse(text)
    if (error := refusal(file.append, path, word)) is not None:
        of_tables = error.kind == "refused" and "array of tables" in str(error)
        assert of_tables or error.kind in {"not_an_array", "not_a_table", "is_a_table"}
        return
    present = TomlFile.parse(text).get_array(path)
    once = file.render()
    file.append(path, word)
    assert file.render() == once
    assert file.get_array(path) == (present if word in present else [*present, word]) or any(item != item for item in present)
    file.remove(path, word)
    assert word not in file.get_array(path)
    file.remove(path, word)


@SETTINGS
@given(documents(), st.data())
def test_an_element_taken_from_an_array_leaves_the_others_and_their_comments(text: str, data: st.DataObject) -> None:
    before = valid(text)
    if not before:
        return
    arrays = [path for path in paths(before) if isinstance(lookup(before, path), list)]
    arrays = [path for path in arrays if any(isinstance(item, str) for item in lookup(before, path))]
    if not arrays:
        return
    path = data.draw(st.sampled_from(arrays))
    word = data.draw(st.sampled_from([item for item in lookup(before, path) if isinstance(item, str)]))
    file = TomlFile.parse(text)
    file.remove(path, word)
    assert same_value(file.get_array(path), [item for item in lookup(before, path) if item != word])


@SETTINGS
@given(documents(), st.dictionaries(st.tuples(st.just("ours"), KEYS, KEYS), SCALARS, max_size=4), st.text("abc", max_size=3))
def test_removing_what_was_added_gives_the_original_bytes(text: str, values: dict[tuple[str, ...], Any], word: str) -> None:
    if valid(text) is None or {"ours", "ours-list"} & set(tomllib.loads(text)) or text.lstrip(" \t").startswith(("\n", "\r")):
        return
    original = text.encode()
    edited = set_keys(
        original, {**{format_path(path): value for path, value in values.items()}, element_key("ours-list", word): ""}
    )
    keys = ["ours", element_key("ours-list", word)]
    undone = remove_keys(edited, keys)
    newline = b"\r\n" if b"\r\n" in original else b"\n"
    assert undone == original or undone == original + newline
    if values:
        restored = copy_keys(original, edited, [format_path(path) for path in values])
        assert remove_keys(restored, ["ours"]) in {original, original + newline}


@SETTINGS
@given(documents(), st.data())
def test_a_replaced_value_comes_back_unless_somebody_changed_it(text: str, data: st.DataObject) -> None:
    before = valid(text)
    if not before:
        return
    plain = (bool, int, str)
    leaves = [path for path in paths(before) if type(lookup(before, path)) in plain]
    if not leaves:
        return
    path = data.draw(st.sampled_from(leaves))
    new, third = data.draw(st.text("xyz", min_size=1)), data.draw(st.integers())
    key = replaced_key(path, new=new, old=lookup(before, path))
    edited = set_keys(text.encode(), {format_path(path): new})
    assert same_value(tomllib.loads(remove_keys(edited, [key]).decode()), before) or lookup(before, path) == new
    theirs = set_keys(edited, {format_path(path): third})
    assert remove_keys(theirs, [key]) == theirs


@given(st.lists(KEYS, min_size=1, max_size=5))
def test_any_key_survives_being_written_as_a_path(parts: list[str]) -> None:
    plain = [part for part in parts if part.isprintable() and '"' not in part and "\\" not in part]
    if plain:
        assert parse_path(format_path(plain)) == tuple(plain)
        assert split_path(element_key(plain, "x=[y]")) == (tuple(plain), "[]=x=[y]")
    assert lookup(tomllib.loads(f"{format_path(parts)} = 1"), tuple(parts)) == 1


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_a_rendered_document_says_what_it_was_made_from(data: dict[str, Any]) -> None:
    text = render_document(data, comment="made up\nfor a test")
    assert same_value(tomllib.loads(text), data)
    assert not text.startswith("\n")


@pytest.mark.parametrize("hostile", ['"', "\n[x]", "a.b", "=", "[]=", "#", "\\", "\u0000", "'''"])
def test_hostile_text_never_leaves_its_quotes(hostile: str) -> None:
    text = render_document({"t": {hostile: {"v": hostile}}})
    assert tomllib.loads(text) == {"t": {hostile: {"v": hostile}}}
    edited = set_keys(b"[t]\nv = 1\n", {format_path(("t", hostile)): hostile})
    assert tomllib.loads(edited.decode()) == {"t": {"v": 1, hostile: hostile}}
