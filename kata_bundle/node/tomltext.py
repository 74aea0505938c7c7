"""How TOML keys, paths and values are spelled.

Must not know what a document means, nor edit one: ``node.tomlscan`` finds statements, ``node.tomledit`` changes them. Source of
the format: TOML 1.0; of the dotted paths: installer specification §16 (dots separate, double quotes protect).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from enum import StrEnum
from typing import TypeAlias

from kata_bundle.core.errors import HostError

__all__ = [
    "KeyPath",
    "Reason",
    "TomlError",
    "TomlValue",
    "canonical_json",
    "format_path",
    "parse_path",
    "quote_key",
    "render_document",
    "render_value",
    "same_value",
    "split_path",
]

TomlValue: TypeAlias = "str | int | float | bool | datetime | date | time | Sequence[TomlValue] | Mapping[str, TomlValue]"
KeyPath: TypeAlias = tuple[str, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPE = re.compile(r'\\(["\\bfnrt]|u[0-9A-Fa-f]{4})')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


class Reason(StrEnum):
    """Why a TOML file or path cannot be used, for programs."""

    BAD_VALUE = "bad_value"
    EMPTY_PATH = "empty_path"
    INVALID_TOML = "invalid_toml"
    IS_A_TABLE = "is_a_table"
    NOT_AN_ARRAY = "not_an_array"
    NOT_A_TABLE = "not_a_table"
    PATH_NOT_FOUND = "path_not_found"
    REFUSED = "refused"
    """The edit would not give the data it has to give."""
    UNBALANCED_QUOTES = "unbalanced_quotes"
    UNREADABLE_FILE = "unreadable_file"


class TomlError(HostError):
    """A TOML file or path cannot be used as asked, for the reason ``kind``; nothing was written."""

    def __init__(self, kind: Reason, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


def _unescape(code: str) -> str:
    if code[0] == "u":
        return chr(int(code[1:], 16))
    return next(character for character, escape in _ESCAPES.items() if escape[1] == code)


def split_path(text: str) -> tuple[KeyPath, str]:
    """Return the components of the path that ``text`` begins with, and what follows it.

    A path ends at the end of the text or at the first ``=``, ``[`` or ``{`` outside quotes. Raises :class:`TomlError` for
    unbalanced quotes and for a path without any component.
    """
    parts: list[str] = []
    current: list[str] = []
    quoted = was_quoted = False
    at = 0
    while at < len(text):
        character = text[at]
        if quoted and (escape := _ESCAPE.match(text, at)):
            current.append(_unescape(escape.group(1)))
            at = escape.end()
            continue
        if character == '"':
            quoted, was_quoted = not quoted, True
        elif not quoted and character == ".":
            if current or was_quoted:
                parts.append("".join(current))
            current, was_quoted = [], False
        elif not quoted and character in "=[{":
            break
        else:
            current.append(character)
        at += 1
    if quoted:
        msg = f"path {text!r} has unbalanced quotes"
        raise TomlError(Reason.UNBALANCED_QUOTES, msg)
    if current or was_quoted:
        parts.append("".join(current))
    if not parts:
        msg = f"path {text!r} names no key"
        raise TomlError(Reason.EMPTY_PATH, msg)
    return tuple(parts), text[at:]


def parse_path(path: str | Sequence[str]) -> KeyPath:
    """Return the components of ``path``: leading and doubled dots are ignored, double quotes protect dots.

    A sequence is taken as components already. Raises :class:`TomlError` (``unbalanced_quotes``, ``empty_path``).
    """
    if not isinstance(path, str):
        if not path:
            msg = "an empty path names no key"
            raise TomlError(Reason.EMPTY_PATH, msg)
        return tuple(path)
    parts, rest = split_path(path)
    if rest:
        msg = f"path {path!r} has {rest[0]!r} outside quotes"
        raise TomlError(Reason.EMPTY_PATH, msg)
    return parts


def quote_key(key: str) -> str:
    """Return ``key`` as one component of a TOML key, quoted when it holds anything but letters, digits, ``_`` and ``-``."""
    return key if _BARE_KEY.match(key) else _quote(key)


def format_path(parts: Sequence[str]) -> str:
    """Return ``parts`` as a dotted TOML key."""
    return ".".join(map(quote_key, parts))


def _quote(text: str) -> str:
    out = []
    for character in text:
        code = ord(character)
        if character in _ESCAPES:
            out.append(_ESCAPES[character])
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\u{code:04X}")
        elif 0xD800 <= code <= 0xDFFF:
            msg = f"text {text!r} is not Unicode that TOML can hold"
            raise TomlError(Reason.BAD_VALUE, msg)
        else:
            out.append(character)
    return '"' + "".join(out) + '"'


def _render_float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)


def render_value(value: TomlValue) -> str:
    """Return ``value`` in TOML on one line. Raises :class:`TomlError` (``bad_value``) for what TOML cannot hold."""
    match value:
        case bool() | int():
            return str(value).lower()
        case str():
            return _quote(value)
        case float():
            return _render_float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping() | list() | tuple():
            return _render_compound(value)
    msg = f"TOML cannot hold {value!r}"
    raise TomlError(Reason.BAD_VALUE, msg)


def _render_compound(value: Mapping[str, TomlValue] | Sequence[TomlValue]) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{quote_key(key)} = {render_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return "[" + ", ".join(map(render_value, value)) + "]"


def same_value(one: object, other: object) -> bool:
    """Return whether two parsed values are the same in TOML's eyes: ``1``, ``1.0`` and ``true`` differ, NaN equals NaN."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(item, other[key]) for key, item in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same_value(a, b) for a, b in zip(one, other, strict=True))
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    return one == other


def _is_tables(value: TomlValue) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def render_document(data: Mapping[str, TomlValue], *, comment: str = "") -> str:
    """Return ``data`` as a TOML document with ``comment`` lines on top.

    Order is kept. Only tables that hold values get a header, so intermediate tables are implicit; arrays of tables are written as
    ``[[name]]``. The document ends with a newline and does not begin with a blank line.
    """
    sections = [[f"# {line}".rstrip() for line in comment.splitlines()]] if comment else []
    sections += _sections((), data, "")
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n" if any(sections) else ""


def _sections(path: KeyPath, table: Mapping[str, TomlValue], header: str) -> list[list[str]]:
    plain = [(key, item) for key, item in table.items() if not isinstance(item, Mapping) and not _is_tables(item)]
    nested = [(key, item) for key, item in table.items() if isinstance(item, Mapping) or _is_tables(item)]
    own = [f"{quote_key(key)} = {render_value(item)}" for key, item in plain]
    # An array element and a table without anything in it exist only through their header.
    if header and (own or not nested or header.startswith("[[")):
        own.insert(0, header)
    sections = [own] if own else []
    for key, item in nested:
        below = (*path, key)
        if isinstance(item, Mapping):
            sections += _sections(below, item, f"[{format_path(below)}]")
        elif isinstance(item, list | tuple):
            for element in item:
                if isinstance(element, Mapping):
                    sections += _sections(below, element, f"[[{format_path(below)}]]")
    return sections


def canonical_json(value: TomlValue) -> str:
    """Return ``value`` as compact JSON with sorted keys. Raises :class:`TomlError` for dates and non-finite numbers."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        msg = f"{value!r} cannot be recorded"
        raise TomlError(Reason.BAD_VALUE, msg) from None
