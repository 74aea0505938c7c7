"""Which bytes of a TOML text an edit replaces.

Each function takes valid TOML and returns new text in which only the edited statements differ. Nothing is checked here:
``node.tomledit`` parses the result and compares it with the data that the edit had to give. Must not know whose file it is.

Where things go: a changed value replaces the old one in place; a new key goes behind the last one of its table, as a dotted key
when the table is made of dotted keys; a new table goes to the end of the file behind one blank line, which leaves with it again.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from kata_bundle.core.record import record
from kata_bundle.node.tomlscan import Kind, Statement, scan, scan_array
from kata_bundle.node.tomltext import Reason, TomlError, format_path, quote_key, render_value, same_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = ["append_element", "delete_paths", "remove_elements", "set_values"]

_BLANK_LINE = re.compile(r"[ \t]*\r?\n\Z")
_REST_OF_ELEMENT = re.compile(r"[ \t]*(,?)[ \t]*(#[^\n]*)?\r?\n")


@record(kw_only=False)
class _Splice:
    start: int
    end: int
    text: str


def _apply(text: str, splices: Iterable[_Splice]) -> str:
    """Return ``text`` with every splice made: at one place in their order, and none inside a removed stretch."""
    out: list[str] = []
    at = 0
    for splice in sorted(splices, key=lambda one: one.start):
        if splice.start < at:
            at = max(at, splice.end)
            continue
        out += [text[at : splice.start], splice.text]
        at = splice.end
    return "".join([*out, text[at:]])


def _lookup(data: Mapping[str, Any], path: KeyPath) -> Any:
    value: Any = data
    for part in path:
        value = value[part]
    return value


def _exists(data: Mapping[str, Any], path: KeyPath) -> bool:
    try:
        _lookup(data, path)
    except (KeyError, TypeError):
        return False
    return True


def _pair(statements: Sequence[Statement], path: KeyPath) -> Statement | None:
    return next((one for one in statements if one.kind is Kind.PAIR and not one.in_array and one.path == path), None)


def _holder(statements: Sequence[Statement], path: KeyPath) -> Statement | None:
    """Return the pair whose inline table has ``path`` somewhere inside, or would have it."""
    for one in statements:
        if one.kind is Kind.PAIR and not one.in_array and len(one.path) < len(path) and path[: len(one.path)] == one.path:
            return one
    return None


# -- setting


def set_values(text: str, data: Mapping[str, Any], values: Mapping[KeyPath, TomlValue], *, newline: str) -> str:
    """Return ``text`` (parsed: ``data``) with every path of ``values`` given its value."""
    statements = scan(text)
    splices: list[_Splice] = []
    inline: dict[KeyPath, Any] = {}
    sections: dict[KeyPath, list[str]] = {}
    for path, value in values.items():
        if _exists(data, path) and same_value(_lookup(data, path), value):
            continue
        holder = _holder(statements, path)
        if any(one.kind is Kind.ELEMENT and one.path == path for one in statements):
            msg = f'"{format_path(path)}" is an array of tables, which is not edited'
            raise TomlError(Reason.REFUSED, msg, hint="write it as a plain array and try again; nothing was changed")
        if (pair := _pair(statements, path)) is not None:
            splices.append(_Splice(pair.value_start, pair.value_end, render_value(value)))
        elif holder is not None:
            _put(inline.setdefault(holder.path, copy.deepcopy(_lookup(data, holder.path))), path[len(holder.path) :], value)
        elif (place := _place(text, statements, path, newline)) is not None:
            at, before, key, indent, after = place
            splices.append(_Splice(at, at, f"{before}{indent}{key} = {render_value(value)}{after}"))
        else:
            sections.setdefault(path[:-1], []).append(f"{quote_key(path[-1])} = {render_value(value)}")
    for path, table in inline.items():
        pair = _pair(statements, path)
        if pair is not None:
            splices.append(_Splice(pair.value_start, pair.value_end, render_value(table)))
    return _with_sections(_apply(text, splices), sections, newline)


def _put(table: Any, path: KeyPath, value: TomlValue) -> None:
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value


def _place(text: str, statements: Sequence[Statement], path: KeyPath, newline: str) -> tuple[int, str, str, str, str] | None:
    """Return where a new key goes: offset, text before, key as written, indentation, text after; ``None`` for a new section."""
    table = path[:-1]
    header = next((one for one in statements if one.kind is Kind.TABLE and not one.in_array and one.path == table), None)
    if header is not None:
        section = [one for one in statements if one.kind is Kind.PAIR and one.section == table and not one.in_array]
        last = section[-1] if section else header
        return (*_after(text, last, newline), quote_key(path[-1]), last.indent, newline)
    # A table made of dotted keys cannot get a header, neither it nor (for older readers) what is below it.
    for length in range(len(table), 0, -1):
        dotted = [
            one
            for one in statements
            if one.kind is Kind.PAIR
            and not one.in_array
            and len(one.section) < length < len(one.path)
            and one.path[:length] == table[:length]
        ]
        if dotted:
            last = dotted[-1]
            return (*_after(text, last, newline), format_path(path[len(last.section) :]), last.indent, newline)
    if table:
        return None
    root = [one for one in statements if one.kind is Kind.PAIR and not one.section and not one.in_array]
    if root:
        return (*_after(text, root[-1], newline), quote_key(path[-1]), root[-1].indent, newline)
    headers = [one for one in statements if one.kind is not Kind.PAIR]
    if headers:
        return _above_comments(text, headers[0].start), "", quote_key(path[-1]), "", newline
    ended = newline if text and not text.endswith("\n") else ""
    return len(text), ended, quote_key(path[-1]), "", newline


def _after(text: str, statement: Statement, newline: str) -> tuple[int, str]:
    """Return the offset behind ``statement`` and the line end that is missing there."""
    return statement.end, "" if text[: statement.end].endswith("\n") else newline


def _above_comments(text: str, at: int) -> int:
    """Return the offset of the first of the comment lines that stand directly above the line at ``at``."""
    while at > 0:
        above = text.rfind("\n", 0, at - 1) + 1
        if not text[above:at].lstrip().startswith("#"):
            break
        at = above
    return at


def _with_sections(text: str, sections: Mapping[KeyPath, Sequence[str]], newline: str) -> str:
    for path, lines in sections.items():
        if text and not text.endswith("\n"):
            text += newline
        if text:
            text += newline
        text += newline.join([f"[{format_path(path)}]", *lines]) + newline
    return text


# -- deleting


def delete_paths(text: str, data: Mapping[str, Any], paths: Sequence[KeyPath]) -> str:
    """Return ``text`` without the values and tables at ``paths``, which are all there."""
    statements = scan(text)
    splices: list[_Splice] = []
    inline: dict[KeyPath, Any] = {}
    for path in paths:
        holder = _holder(statements, path)
        if holder is not None:
            _take(inline.setdefault(holder.path, copy.deepcopy(_lookup(data, holder.path))), path[len(holder.path) :])
            continue
        splices += [_removal(text, statements, at) for at, one in enumerate(statements) if one.path[: len(path)] == path]
    for path, table in inline.items():
        pair = _pair(statements, path)
        if pair is not None:
            splices.append(_Splice(pair.value_start, pair.value_end, render_value(table)))
    # Splices that touch were one table after the other; _apply keeps the outermost of overlapping ones.
    return _apply(text, splices)


def _take(table: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        table = table.get(part, {})
    table.pop(path[-1], None)


def _removal(text: str, statements: Sequence[Statement], at: int) -> _Splice:
    """Return the removal of statement ``at``; a header goes with the keys below it and with one blank line above."""
    first = statements[at]
    if first.kind is Kind.PAIR:
        return _Splice(first.start, first.end, "")
    last = first
    for one in statements[at + 1 :]:
        if one.kind is not Kind.PAIR:
            break
        last = one
    above = text.rfind("\n", 0, max(first.start - 1, 0)) + 1
    start = above if first.start and _BLANK_LINE.match(text[above : first.start]) else first.start
    return _Splice(start, last.end, "")


# -- arrays


def _array(text: str, path: KeyPath) -> Statement:
    found = _pair(scan(text), path)
    if found is None or text[found.value_start : found.value_start + 1] != "[":
        msg = f'array "{format_path(path)}" stands inside another value'
        raise TomlError(Reason.REFUSED, msg, hint="write it on a line of its own and try again; nothing was changed")
    return found


def append_element(text: str, data: Mapping[str, Any], path: KeyPath, value: str, *, newline: str) -> str:
    """Return ``text`` with ``value`` added to the existing array at ``path``."""
    if _pair(scan(text), path) is None:
        return set_values(text, data, {path: [*_lookup(data, path), value]}, newline=newline)
    pair = _array(text, path)
    elements = scan_array(text, pair.value_start).elements
    word = render_value(value)
    if not elements:
        return _apply(text, [_Splice(pair.value_start + 1, pair.value_start + 1, word)])
    start, end = elements[-1]
    line = text.rfind("\n", 0, start) + 1
    rest = _REST_OF_ELEMENT.match(text, end)
    if rest is None or text[line:start].strip():
        return _apply(text, [_Splice(end, end, f", {word}")])
    # The last element has a line of its own, so the new one gets one too; a comma behind the last stays a habit of the file.
    comma = bool(rest.group(1))
    splices = [] if comma else [_Splice(end, end, ",")]
    splices.append(_Splice(rest.end(), rest.end(), f"{text[line:start]}{word}{',' if comma else ''}{newline}"))
    return _apply(text, splices)


def remove_elements(text: str, data: Mapping[str, Any], path: KeyPath, value: str, *, newline: str) -> str:
    """Return ``text`` without the elements equal to ``value`` of the existing array at ``path``."""
    present = _lookup(data, path)
    if _pair(scan(text), path) is None:
        return set_values(text, data, {path: [item for item in present if item != value]}, newline=newline)
    pair = _array(text, path)
    elements = scan_array(text, pair.value_start).elements
    gone = [at for at, item in enumerate(present) if item == value]
    kept = [at for at in range(len(present)) if at not in gone]
    splices = []
    for at in gone:
        start, end = elements[at]
        line = text.rfind("\n", 0, start) + 1
        rest = _REST_OF_ELEMENT.match(text, end)
        if rest is not None and not text[line:start].strip():
            splices.append(_Splice(line, rest.end(), ""))
        elif kept and at > kept[-1]:
            # Behind the last that stays: the comma in front goes, unless a comment stands between.
            before = elements[at - 1][1]
            splices.append(_Splice(start if "#" in text[before:start] else before, end, ""))
        else:
            splices.append(_Splice(start, _past_comma(text, end), ""))
    return _apply(text, splices)


def _past_comma(text: str, at: int) -> int:
    found = re.compile(r"[ \t]*,[ \t]*").match(text, at)
    return found.end() if found else at
