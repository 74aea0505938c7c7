"""The places of everything in a JSON document, and the explanation of what is wrong with one.

Slower than the standard library's reader, so used only when something has to be shown.

Format: RFC 8259, without NaN, infinities, duplicate keys. Must not know: what documents mean.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from kata_bundle.manifest.positions import KeyPath, LineIndex, Place, Places, key_text
from kata_bundle.manifest.refusal import DUPLICATE, LIMIT, MAX_DEPTH, NOT_PLAIN, SYNTAX, Refused

__all__ = ["scan_json"]

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[-+]?[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"true": True, "false": False, "null": None}


def scan_json(text: str) -> tuple[object, Places]:
    """Return the data of ``text`` and the place of everything in it; raise :class:`Refused` at the first mistake."""
    scanner = _Scanner(text)
    data = scanner.value((), scanner.skip(0), 0)
    end = scanner.skip(scanner.end)
    if end < len(text):
        raise Refused(SYNTAX, f"{scanner.shown(end)} after the end of the document", scanner.lines.place(end, end + 1))
    return data, scanner.places


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = LineIndex(text)
        self.places = Places()
        self.end = 0

    def skip(self, offset: int) -> int:
        match = _SPACE.match(self.text, offset)
        return match.end() if match else offset

    def shown(self, offset: int) -> str:
        if offset >= len(self.text):
            return "the end of the document"
        match = _WORD.match(self.text, offset)
        return json.dumps(match.group() if match else self.text[offset], ensure_ascii=False)

    def fail(self, offset: int, expected: str) -> NoReturn:
        """Refuse at ``offset``; at the end of what stands before it when that is on an earlier line."""
        before = len(self.text[:offset].rstrip(" \t\r\n"))
        message = f"expected {expected}, found {self.shown(offset)}"
        if "\n" in self.text[before:offset]:
            raise Refused(SYNTAX, message, self.lines.place(max(before - 1, 0), before))
        raise Refused(SYNTAX, message, self.lines.place(offset, offset + 1))

    def value(self, path: KeyPath, start: int, depth: int) -> object:
        head = self.text[start : start + 1]
        if head in {"{", "["} and depth >= MAX_DEPTH:
            raise Refused(LIMIT, f"values are nested deeper than {MAX_DEPTH} levels", self.lines.place(start, start + 1))
        data: object
        if head == "{":
            data = self.mapping(path, start, depth)
        elif head == "[":
            data = self.sequence(path, start, depth)
        elif head == '"':
            data = self.string(start)
        else:
            data = self.scalar(start)
        self.places.values[path] = self.lines.place(start, self.end)
        return data

    def mapping(self, path: KeyPath, start: int, depth: int) -> dict[str, object]:
        data: dict[str, object] = {}
        at = self.skip(start + 1)
        if self.text.startswith("}", at):
            self.end = at + 1
            return data
        while True:
            if not self.text.startswith('"', at):
                self.fail(at, 'a key in double quotes or "}"' if not data else "a key in double quotes")
            key = self.string(at)
            place = self.lines.place(at, self.end)
            where = (*path, key)
            if key in data:
                first = self.places.keys[where]
                message = f'key "{key_text(where)}" is given twice, first on line {first.line}'
                raise Refused(DUPLICATE, message, place)
            self.places.keys[where] = place
            at = self.skip(self.end)
            if not self.text.startswith(":", at):
                self.fail(at, '":"')
            data[key] = self.value(where, self.skip(at + 1), depth + 1)
            at = self.skip(self.end)
            if self.text.startswith("}", at):
                self.end = at + 1
                return data
            if not self.text.startswith(",", at):
                self.fail(at, '"," or "}"')
            at = self.skip(at + 1)

    def sequence(self, path: KeyPath, start: int, depth: int) -> list[object]:
        data: list[object] = []
        at = self.skip(start + 1)
        if self.text.startswith("]", at):
            self.end = at + 1
            return data
        last = start + 1
        while True:
            data.append(self.value((*path, len(data)), at, depth + 1))
            at = self.skip(self.end)
            if self.text.startswith("]", at):
                self.end = at + 1
                return data
            if self.text.startswith(":", at) and isinstance(data[-1], str):
                # What looks like the last item is the key that follows an array whose bracket is missing.
                place = self.lines.place(last - 1, last)
                message = f'expected "]" before the key "{data[-1]}": the array is not closed'
                raise Refused(SYNTAX, message, place)
            if not self.text.startswith(",", at):
                self.fail(at, '"," or "]"')
            last = self.end
            at = self.skip(at + 1)

    def string(self, start: int) -> str:
        match = _STRING.match(self.text, start)
        if match is None:
            stop = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*').match(self.text, start)
            bad = stop.end() if stop else start
            if bad >= len(self.text) or self.text[bad] in "\r\n":
                raise Refused(SYNTAX, "the text is not closed with a double quote", self.lines.place(start))
            what = "a wrong escape" if self.text[bad] == "\\" else "a control character"
            raise Refused(SYNTAX, f"{what} in a text", self.lines.place(bad, bad + 1))
        self.end = match.end()
        text: str = json.loads(match.group()) if "\\" in match.group() else match.group(1)
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            message = "the text holds half of a surrogate pair, which is no character"
            raise Refused(NOT_PLAIN, message, self.lines.place(start, self.end))
        return text

    def scalar(self, start: int) -> object:
        match = _NUMBER.match(self.text, start)
        if match is not None and match.group():
            self.end = match.end()
            return self.number(start, match.group())
        word = _WORD.match(self.text, start)
        if word is not None:
            self.end = word.end()
            place: Place = self.lines.place(start, self.end)
            if word.group() in _WORDS:
                return _WORDS[word.group()]
            if word.group().lstrip("+-") in {"NaN", "Infinity"}:
                raise Refused(NOT_PLAIN, f"{word.group()} is not a JSON number", place)
            raise Refused(SYNTAX, f'expected a value, found "{word.group()}"', place, "texts stand in double quotes")
        return self.fail(start, "a value")

    def number(self, start: int, text: str) -> int | float:
        if text.lstrip("-").isdigit():
            try:
                return int(text)
            except ValueError:  # the interpreter converts a limited number of digits
                message = f"a number of {len(text)} digits"
                raise Refused(LIMIT, message, self.lines.place(start, self.end)) from None
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            raise Refused(NOT_PLAIN, f"{text} is too large for a number", self.lines.place(start, self.end))
        return number
