"""The places of everything in a TOML document, and a better place for what the standard library refuses.

The standard library decides what is valid. On a document that it refuses, the scanner looks for the second of two equal keys, or
the bracket or quote that is never closed. Slower than the parser, so used only when something has to be shown.

Format: TOML 1.0. Must not know: what documents mean.
"""

from __future__ import annotations

import re
import tomllib
from typing import NoReturn

from kata_bundle.manifest.positions import KeyPath, LineIndex, Place, Places, key_text
from kata_bundle.manifest.refusal import DUPLICATE, LIMIT, MAX_DEPTH, SYNTAX, TOML_KEY_PART, Refused

__all__ = ["deepest", "explained", "long_number", "scan_toml"]

_PART = TOML_KEY_PART
_BLANK = re.compile(r"[ \t]*+")
_BETWEEN = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_KEY_PART = re.compile(_PART)
_SCALAR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[^\s,\]}#]*+|[^\s,\]}#]++")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*+"')
_LITERAL = re.compile(r"'[^'\n]*+'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*+"{3,5}')
_LONG_LITERAL = re.compile(r"'''(?:[^']|'(?!''))*+'{3,5}")
_STATEMENT = re.compile(rf"{_PART}(?:[ \t]*+\.[ \t]*+{_PART})*+[ \t]*+=")
_HEADER = re.compile(rf"\[\[?[ \t]*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART})*+[ \t]*+\]\]?[ \t]*+(?:#[^\n]*+)?\r?$", re.MULTILINE)
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def scan_toml(text: str) -> Places:
    """Return the places of everything in ``text``, which the standard library took."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.places


def explained(text: str, error: tomllib.TOMLDecodeError) -> Refused:
    """Return what is wrong with ``text``, at the place where a person has to look."""
    lines = LineIndex(text)
    scanner = _Scanner(text)
    try:
        scanner.document()
    except _Twice as twice:
        return Refused(DUPLICATE, f'key "{key_text(twice.path)}" is given twice, first on line {twice.first.line}', twice.second)
    except _Stuck as stuck:
        if stuck.message:
            return Refused(SYNTAX, stuck.message, lines.place(stuck.offset, stuck.offset + 1))
    except RecursionError:  # pragma: no cover - needs a document that just fits into the parser's own depth
        return Refused(LIMIT, f"values are nested deeper than {MAX_DEPTH} levels", deepest(text))
    message = str(error)
    match = _AT.search(message)
    reason = message[: match.start()] if match else message
    reason = reason[:1].lower() + reason[1:]
    if match is None or match.group(1) is None:
        return Refused(SYNTAX, reason, lines.place(len(text.rstrip()) - 1, len(text)))
    offset = lines.offset(int(match.group(1)), int(match.group(2)))
    return Refused(SYNTAX, reason, lines.place(offset, offset + 1))


def deepest(text: str) -> Place:
    """Return the place of the first bracket that is nested too deeply."""
    depth = 0
    for match in re.finditer(r"""\"(?:[^"\\\n]|\\.)*+\"|'[^'\n]*+'|#[^\n]*+|[\[{]|[\]}]""", text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match.group(), 0)
        if depth > MAX_DEPTH:
            return LineIndex(text).place(match.start(), match.end())
    return Place(1, 1, 1)  # pragma: no cover - called for text that nests too deeply


def long_number(text: str) -> Place:
    """Return the place of a number of too many digits, or of the first date."""
    match = re.search(r"[0-9a-fA-F_]{1000,}", text) or re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}:[0-9]{2}", text)
    return LineIndex(text).place(match.start(), match.end()) if match else Place(1, 1, 1)


class _Stuck(Exception):  # noqa: N818 - says where the scanner stopped
    def __init__(self, offset: int, message: str | None = None) -> None:
        super().__init__(offset)
        self.offset = offset
        self.message = message


class _Twice(Exception):  # noqa: N818 - says which key the scanner met again
    def __init__(self, path: KeyPath, first: Place, second: Place) -> None:
        super().__init__(path)
        self.path = path
        self.first = first
        self.second = second


class _Scanner:
    """Records places. Right for valid documents; stops with :class:`_Stuck` where it cannot go on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = LineIndex(text)
        self.places = Places(values={(): Place(1, 1, 1)})
        self._arrays: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, Place] = {}

    def document(self) -> None:
        table: KeyPath = ()
        at = self.between(0)
        while at < len(self.text):
            if self.text.startswith("[", at):
                table, at = self.header(at)
            else:
                at = self.pair(table, at)
            at = self.between(at)

    def between(self, at: int) -> int:
        match = _BETWEEN.match(self.text, at)
        return match.end() if match else at

    def blank(self, at: int) -> int:
        match = _BLANK.match(self.text, at)
        return match.end() if match else at

    def header(self, at: int) -> tuple[KeyPath, int]:
        double = self.text.startswith("[[", at)
        brackets = 2 if double else 1
        parts, end = self.key(self.blank(at + brackets))
        closing = self.blank(end)
        if not self.text.startswith("]" * brackets, closing):
            raise _Stuck(at, "the table header is not closed")
        path: KeyPath = ()
        for i, (name, start, stop) in enumerate(parts):
            path = (*path, name)
            place = self.lines.place(start, stop)
            last = i == len(parts) - 1
            if last and double:
                count = self._arrays.get(path, 0)
                self._arrays[path] = count + 1
                self.places.keys.setdefault(path, place)
                self.places.values.setdefault(path, place)
                path = (*path, count)
                self.places.keys[path] = place
            elif path in self._arrays:
                path = (*path, self._arrays[path] - 1)
            elif last:
                if path in self._tables:
                    raise _Twice(path, self._tables[path], place)
                self._tables[path] = place
                self.places.keys[path] = place
            else:
                self.places.keys.setdefault(path, place)
            self.places.values.setdefault(path, self.lines.place(at, closing + brackets))
        return path, closing + brackets

    def key(self, at: int) -> tuple[list[tuple[str, int, int]], int]:
        parts: list[tuple[str, int, int]] = []
        while True:
            match = _KEY_PART.match(self.text, at)
            if match is None:
                raise _Stuck(at)
            parts.append((_unquoted(match.group(), at), match.start(), match.end()))
            dot = self.blank(match.end())
            if not self.text.startswith(".", dot):
                return parts, match.end()
            at = self.blank(dot + 1)

    def pair(self, table: KeyPath, at: int) -> int:
        parts, end = self.key(at)
        path = table
        for name, start, stop in parts:
            path = (*path, name)
            self.places.keys.setdefault(path, self.lines.place(start, stop))
            self.places.values.setdefault(path, self.lines.place(at, end))
        place = self.lines.place(parts[-1][1], parts[-1][2])
        first = self.places.keys[path]
        if first != place:
            raise _Twice(path, first, place)
        equals = self.blank(end)
        if not self.text.startswith("=", equals):
            raise _Stuck(equals)
        return self.value(path, self.blank(equals + 1))

    def value(self, path: KeyPath, at: int) -> int:
        head = self.text[at : at + 1]
        if head == "[":
            end = self.array(path, at)
        elif head == "{":
            end = self.inline(path, at)
        elif head in {'"', "'"}:
            end = self.string(at)
        else:
            match = _SCALAR.match(self.text, at)
            if match is None:
                raise _Stuck(at)
            end = match.end()
        self.places.values[path] = self.lines.place(at, end)
        return end

    def string(self, at: int) -> int:
        for mark, long, short in (('"', _LONG_BASIC, _BASIC), ("'", _LONG_LITERAL, _LITERAL)):
            if self.text.startswith(mark * 3, at):
                match = long.match(self.text, at)
                if match is None:
                    raise _Stuck(at, "the text is not closed")
                return match.end()
            if self.text.startswith(mark, at):
                match = short.match(self.text, at)
                if match is None:
                    raise _Stuck(at, "the text is not closed")
                return match.end()
        raise _Stuck(at)  # pragma: no cover - called at a quote only

    def array(self, path: KeyPath, start: int) -> int:
        at = self.between(start + 1)
        count, last = 0, start
        before_header: int | None = None  # what looks like an item may be the next table's header
        while not self.text.startswith("]", at):
            if count:
                if not self.text.startswith(",", at):
                    self.missing(start, last if before_header is None else before_header, at, "array")
                at = self.between(at + 1)
                if self.text.startswith("]", at):
                    break
            if before_header is None and self.text[at - 1] == "\n" and _HEADER.match(self.text, at):
                before_header = last
            if at >= len(self.text) or _STATEMENT.match(self.text, at):
                self.missing(start, last if before_header is None else before_header, at, "array")
            last = self.value((*path, count), at) - 1
            at = self.between(last + 1)
            count += 1
        return at + 1

    def inline(self, path: KeyPath, start: int) -> int:
        at = self.blank(start + 1)
        last = start
        while not self.text.startswith("}", at):
            if last != start:
                if not self.text.startswith(",", at):
                    self.missing(start, last, at, "inline table")
                at = self.blank(at + 1)
            last = self.pair(path, at) - 1
            at = self.blank(last + 1)
        return at + 1

    def missing(self, start: int, last: int, at: int, what: str) -> NoReturn:
        """Stop behind the item that ends at ``last``: a comma is missing there, or the bracket opened at ``start``."""
        if at < len(self.text) and not _STATEMENT.match(self.text, at) and self.text[at] not in "\r\n":
            raise _Stuck(last, f'expected "," or the end of the {what}')
        raise _Stuck(last, f"the {what} that begins on line {self.lines.place(start).line} is not closed")


def _unquoted(part: str, at: int) -> str:
    if part[0] == "'":
        return part[1:-1]
    if part[0] != '"':
        return part
    if "\\" not in part:
        return part[1:-1]
    try:
        return str(tomllib.loads(f"x = {part}")["x"])
    except tomllib.TOMLDecodeError:
        raise _Stuck(at) from None
