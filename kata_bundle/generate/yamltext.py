"""YAML in one deterministic spelling: block style, keys in the order given, two spaces of indentation, ASCII.

A text that any reader of YAML 1.1 or 1.2 could take for something else than a string is quoted. Anchors and tags are never
written. Must not know: what the documents mean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["render_yaml", "render_yaml_documents"]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What some reader takes for a boolean or null, in any letter case."""

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def render_yaml(value: Mapping[str, object], *, comment: Iterable[str] = ()) -> str:
    """Return ``value`` as one document, with ``comment`` lines before it and a newline at the end.

    Raises :class:`TypeError` for anything but null, booleans, integers, strings, and sequences and mappings of them.
    """
    return "\n".join([*(f"# {line}".rstrip() for line in comment), *_block(value, "")]) + "\n"


def render_yaml_documents(values: Iterable[Mapping[str, object]], *, comment: Iterable[str] = ()) -> str:
    """Return ``values`` as a stream of documents, each begun by ``---``."""
    return "".join([*(f"# {line}".rstrip() + "\n" for line in comment), *("---\n" + render_yaml(value) for value in values)])


def _block(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{indent}{_text(key)}:", item, indent)
    elif isinstance(value, (list, tuple)) and value:
        for item in value:
            first, *rest = _block(item, indent + "  ")
            yield f"{indent}- {first.removeprefix(indent + '  ')}"
            yield from rest
    else:
        yield indent + _scalar(value)


def _entry(head: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, (dict, list, tuple)) and value:
        yield head
        yield from _block(value, indent + "  ")
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _text(value)
        case dict() if not value:
            return "{}"
        case list() | tuple() if not value:
            return "[]"
    msg = f"{type(value).__name__} cannot be written as YAML"
    raise TypeError(msg)


def _text(text: object) -> str:
    if not isinstance(text, str):
        msg = f"a key of type {type(text).__name__} cannot be written as YAML"
        raise TypeError(msg)
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
