"""Where the statements of a TOML document stand in its text.

The text must be valid TOML (the caller parses it with ``tomllib``); then everything here is finding ends, so that an edit
replaces exactly the bytes of one value and every other byte of an administrator's file stays. Must not know what keys mean.
"""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from kata_bundle.core.record import record
from kata_bundle.node.tomltext import Reason, TomlError

if TYPE_CHECKING:
    from kata_bundle.node.tomltext import KeyPath

__all__ = ["ArrayText", "Kind", "Statement", "scan", "scan_array"]


class Kind(StrEnum):
    """What a statement is."""

    TABLE = "table"
    """``[a.b]``"""
    ELEMENT = "element"
    """``[[a.b]]``"""
    PAIR = "pair"
    """``a.b = value``"""


@record
class Statement:
    """One header or key/value pair and its place, as offsets into the text.

    ``path`` is absolute; ``section`` the path of the table whose header stands above a pair. ``start`` is the beginning of its
    first line, ``end`` the beginning of the line after its last. Statements below an array of tables have ``in_array`` set: their
    path does not name one place.
    """

    kind: Kind
    path: KeyPath
    section: KeyPath
    start: int
    end: int
    indent: str
    in_array: bool
    value_start: int = -1
    value_end: int = -1


@record(kw_only=False)
class ArrayText:
    """The places of an array's elements: ``[start, end)`` of each, and the offset of the closing bracket."""

    elements: tuple[tuple[int, int], ...]
    close: int


_BLANKS = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_LINE_REST = re.compile(r"[^\n]*(?:\n|\Z)")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""+', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']|'(?!''))*'''+", re.DOTALL)
_STRINGS = {('"', False): _BASIC, ('"', True): _LONG_BASIC, ("'", False): _LITERAL, ("'", True): _LONG_LITERAL}
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")


@cache
def _key_parts(raw: str) -> KeyPath:
    """Return the components of a dotted key as written, decoded by the standard parser."""
    value: object = tomllib.loads(f"{raw} = 0")
    parts = []
    while isinstance(value, dict):
        ((key, value),) = value.items()
        parts.append(key)
    return tuple(parts)


def _lost(text: str, at: int) -> TomlError:
    line = text.count("\n", 0, at) + 1
    msg = f"line {line} of the TOML text could not be understood"
    return TomlError(Reason.REFUSED, msg, hint="simplify the line and try again")


def _match(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    if found is None:
        raise _lost(text, at)
    return found.end()


def _key_end(text: str, at: int) -> int:
    """Return the end of the dotted key that begins at ``at``."""
    while True:
        at = _match({'"': _BASIC, "'": _LITERAL}.get(text[at : at + 1], _BARE_KEY), text, at)
        dot = _match(_BLANKS, text, at)
        if text[dot : dot + 1] != ".":
            return at
        at = _match(_BLANKS, text, dot + 1)


def _value_end(text: str, at: int) -> int:
    """Return the end of the value that begins at ``at``."""
    first = text[at : at + 1]
    if first == "[":
        return scan_array(text, at).close + 1
    if first == "{":
        return _inline_end(text, at)
    if first in {'"', "'"}:
        long = text.startswith(first * 3, at)
        return _match(_STRINGS[first, long], text, at)
    return _match(_SCALAR, text, at)


def _inline_end(text: str, at: int) -> int:
    at = _match(_SPACE, text, at + 1)
    while text[at : at + 1] != "}":
        at = _match(_SPACE, text, _key_end(text, at))
        if text[at : at + 1] != "=":
            raise _lost(text, at)
        at = _match(_SPACE, text, _value_end(text, _match(_SPACE, text, at + 1)))
        if text[at : at + 1] == ",":
            at = _match(_SPACE, text, at + 1)
    return at + 1


def scan_array(text: str, at: int) -> ArrayText:
    """Return where the elements of the array that begins at ``at`` (its ``[``) stand."""
    elements = []
    at = _match(_SPACE, text, at + 1)
    while text[at : at + 1] != "]":
        end = _value_end(text, at)
        elements.append((at, end))
        at = _match(_SPACE, text, end)
        if text[at : at + 1] == ",":
            at = _match(_SPACE, text, at + 1)
        elif text[at : at + 1] != "]":
            raise _lost(text, at)
    return ArrayText(tuple(elements), at)


def scan(text: str) -> tuple[Statement, ...]:
    """Return the statements of valid TOML ``text`` in order; blank lines and comments are what lies between them."""
    statements: list[Statement] = []
    arrays: set[KeyPath] = set()
    section: KeyPath = ()
    below_array = False
    at = 0
    while at < len(text):
        line = at
        first = _match(_BLANKS, text, at)
        indent = text[line:first]
        character = text[first : first + 1]
        if character in {"#", "\n", "\r", ""}:
            at = _match(_LINE_REST, text, first)
            continue
        if character == "[":
            double = text.startswith("[[", first)
            start = _match(_BLANKS, text, first + (2 if double else 1))
            stop = _key_end(text, start)
            section = _key_parts(text[start:stop])
            at = _match(_LINE_REST, text, stop)
            if double:
                below_array = any(section[:length] in arrays for length in range(1, len(section)))
                arrays.add(section)
            else:
                below_array = any(section[:length] in arrays for length in range(1, len(section) + 1))
            kind = Kind.ELEMENT if double else Kind.TABLE
            # The element itself is a place of its own; what stands in it is not.
            statements.append(
                Statement(
                    kind=kind, path=section, section=section, start=line, end=at, indent=indent, in_array=double or below_array
                )
            )
            below_array = below_array or double
            continue
        stop = _key_end(text, first)
        key = _key_parts(text[first:stop])
        equals = _match(_BLANKS, text, stop)
        if text[equals : equals + 1] != "=":
            raise _lost(text, equals)
        value_start = _match(_BLANKS, text, equals + 1)
        value_end = _value_end(text, value_start)
        at = _match(_LINE_REST, text, value_end)
        statements.append(
            Statement(
                kind=Kind.PAIR,
                path=section + key,
                section=section,
                start=line,
                end=at,
                indent=indent,
                in_array=below_array,
                value_start=value_start,
                value_end=value_end,
            )
        )
    return tuple(statements)
