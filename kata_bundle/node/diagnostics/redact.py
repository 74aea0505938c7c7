"""Take secrets out of text that leaves a machine; rather too much than too little.

Taken out: user information in URLs, values of keys that sound like secrets (TOML, JSON, INI, environment, kernel parameters,
options, XML), private keys, signed tokens. A value that a TOML file has under such a key is also taken out wherever else it turns
up. The text may be hostile: every search goes on behind what it looked at, so time grows with length only. Must not know: files.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MARK", "redact", "secret_values"]

MARK: Final = "[redacted]"

_SECRET_KEY: Final = re.compile(
    r"passw(?:or)?d|passphrase|secret|token|credential|private[-_]?key|access[-_]?key|api[-_]?key|authorization|bearer"
    r"|(?<![a-z])auth(?![a-z])|(?<![a-z])pwd(?![a-z])",
    re.IGNORECASE,
)
_REST_OF_KEY: Final = re.compile(r"[\w.-]*")
_START_OF_KEY: Final = re.compile(r"[\w-]*\Z")
_LEFT: Final = 64
"""How far the beginning of a key is looked for."""
_BETWEEN: Final = re.compile(r"""\\?["']?\s{0,32}[=:]\s{0,32}""")
_BLANKS: Final = re.compile(r"[ \t]{1,32}(?!-)")
_DOUBLE: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"?')
_SINGLE: Final = re.compile(r"'[^'\n]*'?")
_LINE: Final = re.compile(r"[^\n]*")
_BARE: Final = re.compile(r"(?:(?:basic|bearer|digest|negotiate)\s{1,8})?[^\s\"',;{}\[\]]+", re.IGNORECASE)
_ELEMENT: Final = re.compile(r"[^<]+")
_WINDOW: Final = 1 << 15
"""Longest array or text of several lines that is looked through for its end."""

_URL_START: Final = re.compile(r":\\?/\\?/")
_URL_REST: Final = re.compile(r"[^\s\"'<>|]*")
# A pinned image has an "@" too, before its digest.
_AT: Final = re.compile(r"@(?!sha(?:256|512):)")
_PRIVATE: Final = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10})-----.*?(?:-----END (?P=kind)-----|\Z)", re.DOTALL
)
_SIGNED: Final = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*")
_LITERAL_LENGTH: Final = 6
"""Shorter values are taken out at their place only: elsewhere they would be parts of words."""


def redact(text: str, known: Iterable[str] = ()) -> tuple[str, int]:
    """Return ``text`` without secrets, and how many were taken out. ``known`` are values to take out wherever they stand."""
    count = 0
    for value in sorted({v for v in known if len(v) >= _LITERAL_LENGTH}, key=lambda v: (-len(v), v)):
        count += text.count(value)
        text = text.replace(value, MARK)
    text, found = _PRIVATE.subn(MARK, text)
    count += found
    for cut in (_user_information, _values):
        spans = list(cut(text))
        count += len(spans)
        text = _without(text, spans)
    text, found = _SIGNED.subn(MARK, text)
    return text, count + found


def secret_values(text: str) -> frozenset[str]:
    """Return the texts that TOML document ``text`` has under keys that sound like secrets; none when it is no TOML."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(_secrets(document, inside=False))


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces += [text[done:start], MARK]
        done = end
    return "".join([*pieces, text[done:]])


def _user_information(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    while start := _URL_START.search(text, position):
        rest = _URL_REST.match(text, start.end())
        position = rest.end() if rest else start.end()
        end = max((at.start() for at in _AT.finditer(text, start.end(), position)), default=None)
        if end is not None and text[start.end() : end] != MARK:
            yield start.end(), end


def _values(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    while word := _SECRET_KEY.search(text, position):
        key = _REST_OF_KEY.match(text, word.end())
        position = key.end() if key else word.end()
        span = _value(text, word.start(), position)
        if span is None:
            continue
        start, end = span
        position = max(position, end)
        if not _is_harmless(text[start:end]):
            yield start, end


def _value(text: str, key: int, after: int) -> tuple[int, int] | None:  # noqa: PLR0911 - one way of writing each
    """Return where the value of the key whose telling word begins at ``key`` lies, inside its quotes."""
    between = _BETWEEN.match(text, after)
    if between is None:
        left = _START_OF_KEY.search(text[max(0, key - _LEFT) : key])
        begin = key - (len(left[0]) if left else 0)
        if text.startswith("--", begin) and (blanks := _BLANKS.match(text, after)):
            return _bare(text, blanks.end())
        if text[begin - 1 : begin] == "<" and text.startswith(">", after):
            element = _ELEMENT.match(text, after + 1)
            return None if element is None else element.span()
        return None
    start = between.end()
    for done in (start, start + 1):
        if text.startswith(MARK, done):
            return done, done + len(MARK)
    for quote in ('"""', "'''"):
        if text.startswith(quote, start):
            return start + 3, _end(text, quote, start + 3)
    if text.startswith('\\"', start):
        return start + 2, _end(text, '\\"', start + 2)
    if text.startswith("[", start):
        return start + 1, _end(text, "]", start + 1)
    for pattern in (_DOUBLE, _SINGLE):
        if found := pattern.match(text, start):
            return start + 1, max(start + 1, found.end() - (found.end() > start + 1 and text[found.end() - 1] == text[start]))
    return _bare(text, start)


def _bare(text: str, start: int) -> tuple[int, int] | None:
    found = _BARE.match(text, start)
    return None if found is None else found.span()


def _end(text: str, closing: str, start: int) -> int:
    """Return where ``closing`` stands, or else the end of the line."""
    found = text.find(closing, start, start + _WINDOW)
    if found >= 0:
        return found
    line = _LINE.match(text, start)
    return line.end() if line else start


def _secrets(value: object, *, inside: bool) -> Iterator[str]:
    match value:
        case dict():
            for key, item in value.items():
                yield from _secrets(item, inside=inside or _SECRET_KEY.search(key) is not None)
        case list():
            for item in value:
                yield from _secrets(item, inside=inside)
        case str() if inside:
            yield value


def _is_harmless(value: str) -> bool:
    """Return whether a value cannot be a secret: a switch, nothing, or what was taken out before."""
    bare = value.strip("\\\"' \t\n")
    return bare.lower() in {"", "true", "false", "null", "none"} or bare == MARK
