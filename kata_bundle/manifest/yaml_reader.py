"""YAML with the place of every key and value.

PyYAML gives events with exact marks; the values are built here, by the rules of YAML 1.2's core schema (``on`` and ``no`` are
texts, ``0o17`` is a number), without recursion, with repeated keys refused. Values behind aliases are shared, not copied, and
counted as often as they are referred to, so that a small document cannot stand for a huge one.

Format: YAML 1.2 core schema, one document a file. Must not know: what documents mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kata_bundle.manifest.positions import KeyPath, LineIndex, Place, Places, key_text
from kata_bundle.manifest.refusal import (
    DUPLICATE,
    LIMIT,
    MAX_DEPTH,
    MAX_VALUES,
    NOT_PLAIN,
    SYNTAX,
    Refused,
    check_plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["parse_yaml"]

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_PLAIN = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAG = "tag:yaml.org,2002:"


def parse_yaml(text: str) -> tuple[object, Places]:
    """Return the data of ``text`` and its places; raise :class:`Refused` for anything that is not one plain document."""
    builder = _Builder(text)
    for event in _events(text):
        builder.take(event)
    try:
        check_plain(builder.data)
    except Refused as refused:
        raise refused.at(builder.places) from None
    return builder.data, builder.places


def _events(text: str) -> Iterator[Any]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = LineIndex(text)
        offset = lines.offset(mark.line + 1, mark.column + 1) if mark else 0
        place = lines.place(offset, offset + 1)
        context = f" {error.context}" if error.context else ""
        raise Refused(SYNTAX, f"{error.problem or 'this is not YAML'}{context}", place) from None
    except yaml.reader.ReaderError as error:
        # The position is an offset in characters or bytes, depending on the parser.
        bad = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
        offset = bad.start() if bad else 0
        place = LineIndex(text).place(offset, offset + 1)
        raise Refused(SYNTAX, f"a character that YAML does not allow: {error.reason}", place) from None
    except yaml.YAMLError as error:  # pragma: no cover - PyYAML raises the two above
        raise Refused(SYNTAX, f"this is not YAML: {error}", Place(1, 1, 1)) from None


@dataclass(slots=True)
class _Open:
    """A collection being built. ``key`` is the key whose value comes next, ``None`` when a key comes next."""

    path: KeyPath
    data: dict[str, Any] | list[Any]
    start: Place
    anchor: str | None
    key: str | None = None
    count: int = 1


@dataclass(slots=True)
class _Anchor:
    path: KeyPath
    data: object
    count: int


@dataclass(slots=True)
class _Builder:
    text: str
    places: Places = field(default_factory=Places)
    data: object = None
    lines: LineIndex = field(init=False)
    documents: int = 0
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Anchor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lines = LineIndex(self.text)

    def place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        if start.line == end.line:
            return Place(start.line + 1, start.column + 1, max(end.column - start.column, 1))
        offset = self.lines.offset(start.line + 1, start.column + 1)
        return self.lines.place(offset)

    def take(self, event: Any) -> None:
        match type(event).__name__:
            case "DocumentStartEvent":
                self.documents += 1
                if self.documents > 1:
                    raise Refused(SYNTAX, "a second document begins here, expected one", self.place(event))
            case "ScalarEvent":
                self.scalar(event)
            case "AliasEvent":
                self.alias(event)
            case "MappingStartEvent":
                self.open(event, {})
            case "SequenceStartEvent":
                self.open(event, [])
            case "MappingEndEvent" | "SequenceEndEvent":
                self.close()

    def open(self, event: Any, data: dict[str, Any] | list[Any]) -> None:
        place = self.place(event)
        expected = "map" if isinstance(data, dict) else "seq"
        if event.tag not in {None, "!", _TAG + expected}:
            raise Refused(NOT_PLAIN, f"tag {event.tag} has no meaning here", place)
        path = self.next_path(place)
        if len(path) >= MAX_DEPTH:
            raise Refused(LIMIT, f"values are nested deeper than {MAX_DEPTH} levels", place)
        self.places.values[path] = place
        self.stack.append(_Open(path, data, place, event.anchor))

    def close(self) -> None:
        done = self.stack.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = _Anchor(done.path, done.data, done.count)
        self.put(done.path, done.data, done.count)

    def next_path(self, place: Place) -> KeyPath:
        """Return the path of the value that begins at ``place``; a collection or alias cannot be a key."""
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.data, list):
            return (*top.path, len(top.data))
        if top.key is None:
            raise Refused(NOT_PLAIN, "a key has to be a text", place)
        return (*top.path, top.key)

    def put(self, path: KeyPath, data: object, count: int) -> None:
        if not self.stack:
            self.data = data
            return
        top = self.stack[-1]
        top.count += count
        if top.count > MAX_VALUES:
            message = f"the document stands for more than {MAX_VALUES} values"
            raise Refused(LIMIT, message, self.places.values[path])
        if isinstance(top.data, list):
            top.data.append(data)
        elif top.key is not None:
            top.data[top.key] = data
            top.key = None

    def scalar(self, event: Any) -> None:
        place = self.place(event)
        value = self.plain(event, place)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.data, dict) and top.key is None:
            self.take_key(top, event, value, place)
            return
        path = self.next_path(place)
        self.places.values[path] = place
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(path, value, 1)
        self.put(path, value, 1)

    def take_key(self, top: _Open, event: Any, value: object, place: Place) -> None:
        if not isinstance(value, str):
            raise Refused(NOT_PLAIN, f"key {event.value or '(empty)'} is not a text", place, "put it in quotes")
        where = (*top.path, value)
        if value in top.data:
            first = self.places.keys[where]
            raise Refused(DUPLICATE, f'key "{key_text(where)}" is given twice, first on line {first.line}', place)
        self.places.keys[where] = place
        self.places.values[where] = place
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(where, value, 1)
        top.key = value

    def alias(self, event: Any) -> None:
        place = self.place(event)
        anchor = self.anchors.get(event.anchor)
        if anchor is None or any(frame.anchor == event.anchor for frame in self.stack):
            inside = any(frame.anchor == event.anchor for frame in self.stack)
            what = "stands inside what it names" if inside else "has no anchor before it"
            raise Refused(NOT_PLAIN if inside else SYNTAX, f'alias "{event.anchor}" {what}', place)
        path = self.next_path(place)
        self.places.values[path] = place
        if anchor.path != path:
            self.places.redirects[path] = anchor.path
        self.put(path, anchor.data, anchor.count)

    def plain(self, event: Any, place: Place) -> object:
        """Return the value of a scalar by the core schema."""
        text: str = event.value
        tag = event.tag
        quoted = bool(event.style)  # None or "" for plain ones, as the parser goes
        if tag in {"!", f"{_TAG}str"} or (tag is None and quoted):
            return text
        if tag is not None and tag not in {f"{_TAG}{name}" for name in ("int", "float", "bool", "null")}:
            raise Refused(NOT_PLAIN, f"tag {tag} has no meaning here", place)
        if text in _PLAIN:
            return _PLAIN[text]
        if _INT.fullmatch(text):
            try:
                return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
            except ValueError:  # the interpreter converts a limited number of digits
                raise Refused(LIMIT, f"a number of {len(text)} digits", place) from None
        if _SPECIAL_FLOAT.fullmatch(text):
            raise Refused(NOT_PLAIN, f"{text} is not a number that every format can hold", place)
        if _FLOAT.fullmatch(text):
            return float(text)
        if tag is not None:
            raise Refused(NOT_PLAIN, f"{text!r} is not of the tag {tag}", place)
        return text
