"""Edits of TOML files that belong to somebody else (installer specification §16).

An edit replaces the bytes of what it changes and nothing else, so comments, order, spelling and line ends of the rest survive
by construction. After every edit the new text is parsed by ``tomllib`` and compared with the data that the edit had to give; a
difference is refused and nothing is written. Must not know which program reads the file, nor read or write one.

*Owned keys* say what in such a file is ours, as text that goes into a receipt:

===========================  ==========================================================================================
``a.b``                      the value or table ``a.b`` is ours: undoing removes it
``a.b[]=text``               the element ``text`` of array ``a.b`` is ours: undoing takes it out, and an emptied array with it
``a.b={"set":X,"was":Y}``    ``a.b`` held ``Y`` and was given ``X``: undoing puts ``Y`` back if ``X`` still stands there
``a.b{}``                    table ``a.b`` came with a key of ours: undoing removes it when nothing is left in it
===========================  ==========================================================================================
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kata_bundle.node.tomlsplice import append_element, delete_paths, remove_elements, set_values
from kata_bundle.node.tomltext import (
    KeyPath,
    Reason,
    TomlError,
    TomlValue,
    canonical_json,
    format_path,
    parse_path,
    same_value,
    split_path,
)

__all__ = [
    "TomlFile",
    "copy_keys",
    "element_key",
    "emptied_key",
    "parse_path",
    "remove_keys",
    "replaced_key",
    "set_keys",
    "split_header",
]

# Parsed TOML is a tree of unknown shape: this module is its reader.
_Table = dict[str, Any]

_LEADING_BLANKS = re.compile(r"(?:[ \t]*\r?\n)+")


def split_header(text: str) -> tuple[str, str]:
    """Return the template line that ``text`` begins with (``{{ … }}`` and its line end; empty if there is none) and the rest."""
    if not text.startswith("{{"):
        return "", text
    head, newline, body = text.partition("\n")
    return head + newline, body


class TomlFile:
    """One TOML text being edited; :meth:`render` gives the result.

    Every method that changes takes a path (text as :func:`parse_path` reads it, or its components), is idempotent, and raises
    :class:`TomlError` without having changed anything. ``name`` is used in messages.
    """

    def __init__(self, text: str, *, name: str = "the file") -> None:
        self._name = name
        self._original = text
        self._header, self._body = split_header(text)
        self._newline = "\r\n" if "\r\n" in self._body else "\n"
        self._data = self._parse(self._body)

    @classmethod
    def parse(cls, text: str | bytes | None, *, name: str = "the file") -> TomlFile:
        """Return the file with content ``text``. Raises :class:`TomlError` for ``None`` (no such file) and for invalid TOML."""
        if text is None:
            msg = f"{name} does not exist or cannot be read"
            raise TomlError(Reason.UNREADABLE_FILE, msg)
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                msg = f"{name} is not valid TOML: byte {error.start} is not UTF-8"
                raise TomlError(Reason.INVALID_TOML, msg) from None
        return cls(text, name=name)

    def _parse(self, body: str) -> _Table:
        try:
            return tomllib.loads(body)
        except tomllib.TOMLDecodeError as error:
            msg = f"{self._name} is not valid TOML: {error}"
            raise TomlError(Reason.INVALID_TOML, msg, hint=f"correct {self._name}; nothing was changed") from None

    @property
    def data(self) -> Mapping[str, Any]:
        """The parsed content."""
        return self._data

    def render(self) -> str:
        """Return the text; the original one, to the byte, when nothing was changed."""
        text = self._header + self._body
        if text == self._original:
            return text
        # Line ends come from the document, except that a template line without one still has to end before anything follows.
        body = _LEADING_BLANKS.sub("", self._body, count=1) if _LEADING_BLANKS.match(self._body) else self._body
        ended = self._header if not self._header or self._header.endswith("\n") or not body else self._header + self._newline
        return ended + body

    # -- reading

    def _find(self, path: KeyPath) -> Any:
        """Return the value at ``path``; ``LookupError`` when it, or a table on the way, is not there."""
        value: Any = self._data
        for part in path:
            if not isinstance(value, dict):
                raise LookupError(part)
            value = value[part]
        return value

    def contains(self, path: str | Sequence[str]) -> bool:
        """Return whether there is a value or table at ``path``."""
        try:
            self._find(parse_path(path))
        except LookupError:
            return False
        return True

    def get(self, path: str | Sequence[str]) -> Any:
        """Return the string, number, boolean, date or array at ``path``; nothing there, or a table, raises :class:`TomlError`."""
        parts = parse_path(path)
        try:
            value = self._find(parts)
        except LookupError:
            msg = f'{self._name} has no key "{format_path(parts)}"'
            raise TomlError(Reason.PATH_NOT_FOUND, msg) from None
        if isinstance(value, dict):
            msg = f'"{format_path(parts)}" in {self._name} is a table, not a value'
            raise TomlError(Reason.IS_A_TABLE, msg)
        return value

    def get_array(self, path: str | Sequence[str]) -> list[Any]:
        """Return the array at ``path``, an empty one when nothing is there. Raises :class:`TomlError` for anything else there."""
        parts = parse_path(path)
        try:
            value = self._find(parts)
        except LookupError:
            return []
        if not isinstance(value, list):
            msg = f'"{format_path(parts)}" in {self._name} is not an array'
            raise TomlError(Reason.NOT_AN_ARRAY, msg)
        return list(value)

    # -- changing

    def set(self, path: str | Sequence[str], value: TomlValue) -> None:
        """Give ``path`` the ``value``; missing tables become implicit ones. A non-table in the way raises :class:`TomlError`."""
        self.set_many({parse_path(path): value})

    def set_many(self, values: Mapping[KeyPath, TomlValue]) -> None:
        """Give every path its value, as :meth:`set` does, with one check at the end."""
        expected = copy.deepcopy(self._data)
        for path, value in values.items():
            self._insert(expected, path, value)
        self._accept(set_values(self._body, self._data, values, newline=self._newline), expected)

    def _insert(self, data: _Table, path: KeyPath, value: TomlValue) -> None:
        table: Any = data
        for depth, part in enumerate(path[:-1], start=1):
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                msg = f'"{format_path(path[:depth])}" in {self._name} is not a table, so "{format_path(path)}" cannot be set'
                raise TomlError(Reason.NOT_A_TABLE, msg)
        if isinstance(table.get(path[-1]), dict) and not same_value(table[path[-1]], value):
            msg = f'"{format_path(path)}" in {self._name} is a table, so it cannot be given a value'
            raise TomlError(Reason.IS_A_TABLE, msg)
        table[path[-1]] = _plain(value)

    def delete(self, path: str | Sequence[str]) -> None:
        """Remove the value or table at ``path``; nothing there is fine."""
        self.delete_many([parse_path(path)])

    def delete_many(self, paths: Iterable[KeyPath]) -> None:
        """Remove every path, as :meth:`delete` does, with one check at the end."""
        present = [path for path in paths if self.contains(path)]
        if not present:
            return
        expected = copy.deepcopy(self._data)
        for path in present:
            table: Any = expected
            for part in path[:-1]:
                table = table.get(part, {})
            table.pop(path[-1], None)
        self._accept(delete_paths(self._body, self._data, present), expected, gone=present)

    def append(self, path: str | Sequence[str], value: str) -> None:
        """Add ``value`` to the array at ``path``, created when missing; an equal string there already is enough."""
        parts = parse_path(path)
        present = self.get_array(parts)
        if value in present:
            return
        if not self.contains(parts):
            self.set(parts, [value])
            return
        expected = copy.deepcopy(self._data)
        _value_at(expected, parts).append(value)
        self._accept(append_element(self._body, self._data, parts, value, newline=self._newline), expected)

    def remove(self, path: str | Sequence[str], value: str) -> None:
        """Take every string equal to ``value`` out of the array at ``path``; a missing array is fine."""
        parts = parse_path(path)
        if value not in self.get_array(parts):
            return
        expected = copy.deepcopy(self._data)
        array = _value_at(expected, parts)
        array[:] = [item for item in array if item != value]
        self._accept(remove_elements(self._body, self._data, parts, value, newline=self._newline), expected)

    def _accept(self, body: str, expected: _Table, *, gone: Sequence[KeyPath] = ()) -> None:
        """Take ``body`` as the new text if it says what the edit had to give; refuse it otherwise."""
        try:
            result = tomllib.loads(body)
        except tomllib.TOMLDecodeError as error:
            raise self._refused(str(error)) from None
        for path in gone:
            _drop_vanished(expected, result, path)
        if not same_value(result, expected):
            why = "the data would not be what was asked for"
            raise self._refused(why)
        self._body, self._data = body, result

    def _refused(self, why: str) -> TomlError:
        msg = f"an edit of {self._name} was refused: {why}"
        return TomlError(
            Reason.REFUSED, msg, hint=f"write the tables in {self._name} with [headers] and try again; nothing was changed"
        )


def _plain(value: TomlValue) -> Any:
    """Return ``value`` as the standard parser would give it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _value_at(data: _Table, path: KeyPath) -> Any:
    value: Any = data
    for part in path:
        value = value[part]
    return value


def _drop_vanished(expected: _Table, result: _Table, path: KeyPath) -> None:
    """Take implicit tables above ``path`` that nothing mentions any more, and ``result`` so lacks, out of ``expected``."""
    for length in range(len(path) - 1, 0, -1):
        above, seen = expected, result
        for part in path[: length - 1]:
            above, seen = above.get(part, {}), seen.get(part, {})
            if not isinstance(above, dict) or not isinstance(seen, dict):
                return
        if above.get(path[length - 1]) == {} and path[length - 1] not in seen:
            del above[path[length - 1]]


# -- owned keys


def element_key(path: str | Sequence[str], value: str) -> str:
    """Return the owned key for element ``value`` of the array at ``path``."""
    return f"{format_path(parse_path(path))}[]={value}"


def emptied_key(path: str | Sequence[str]) -> str:
    """Return the owned key for table ``path``, which was made for a key of ours and is to go when it is empty."""
    return f"{format_path(parse_path(path))}{{}}"


def replaced_key(path: str | Sequence[str], *, new: TomlValue, old: TomlValue) -> str:
    """Return the owned key for ``path``, which held ``old`` and was given ``new``. Raises :class:`TomlError` for dates."""
    return f"{format_path(parse_path(path))}={canonical_json({'set': new, 'was': old})}"


def _as_file(text: bytes | str) -> TomlFile:
    return TomlFile.parse(text, name="the recorded file")


def remove_keys(text: bytes, keys: Iterable[str]) -> bytes:
    """Return ``text`` with the owned ``keys`` undone as the module's table says; everything else stays, to the byte.

    Raises :class:`TomlError` when ``text`` is not valid TOML (``invalid_toml``) or cannot be edited (``refused``).
    """
    file = _as_file(text)
    plain: list[KeyPath] = []
    back: dict[KeyPath, TomlValue] = {}
    emptied: list[KeyPath] = []
    for key in keys:
        path, rest = split_path(key)
        if rest == "{}":
            emptied.append(path)
        elif rest.startswith("[]="):
            if file.contains(path) and rest[3:] in file.get_array(path):
                file.remove(path, rest[3:])
                plain += [path] if not file.get_array(path) else []
        elif rest.startswith("="):
            change = json.loads(rest[1:])
            if file.contains(path) and same_value(_value_at(dict(file.data), path), change["set"]):
                back[path] = change["was"]
        else:
            plain.append(path)
    file.delete_many(plain)
    file.set_many(back)
    for path in sorted(dict.fromkeys(emptied), key=len, reverse=True):  # inner ones first: they may be what keeps outer ones
        if file.contains(path) and _value_at(dict(file.data), path) == {}:
            file.delete_many([path])
    return file.render().encode()


def set_keys(text: bytes, values: Mapping[str, TomlValue]) -> bytes:
    """Return ``text`` with every path of ``values`` set; a key ``a.b[]=x`` adds the element ``x``, its value is not looked at.

    Raises :class:`TomlError` as :class:`TomlFile` does.
    """
    file = _as_file(text)
    plain: dict[KeyPath, TomlValue] = {}
    for key, value in values.items():
        path, rest = split_path(key)
        if rest.startswith("[]="):
            file.append(path, rest[3:])
        elif rest != "{}":
            plain[path] = value
    file.set_many(plain)
    return file.render().encode()


def copy_keys(text: bytes, source: bytes, keys: Iterable[str]) -> bytes:
    """Return ``text`` with the owned ``keys`` as they stand in ``source``, as a rollback to an older install needs.

    Keys that ``source`` does not have are left alone. Raises :class:`TomlError` as :class:`TomlFile` does.
    """
    origin = _as_file(source)
    values: dict[str, TomlValue] = {}
    for key in keys:
        path, rest = split_path(key)
        if not origin.contains(path) or rest == "{}":
            continue
        if rest.startswith("[]="):
            if rest[3:] in origin.get_array(path):
                values[key] = ""
            continue
        for leaf, value in _leaves(path, _value_at(dict(origin.data), path)):
            values[format_path(leaf)] = value
    return set_keys(text, values)


def _leaves(path: KeyPath, value: Any) -> Iterable[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves((*path, key), item)
    else:
        yield path, value
