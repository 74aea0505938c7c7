"""Text of makefiles: unknown parts inside values, matching brackets, splitting arguments, logical lines.

Knows: make's surface syntax. Must not know: variables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "closing",
    "is_known",
    "logical_lines",
    "pattern_match",
    "split_arguments",
    "strip_comment",
    "unknown",
    "unknown_reasons",
]

_OPEN: Final = "\ue000"
_CLOSE: Final = "\ue001"
_UNKNOWN: Final = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}?")


def unknown(reason: str) -> str:
    """Return a piece of text that stands for what cannot be known, because of ``reason``."""
    return f"{_OPEN}{reason.replace(_OPEN, '').replace(_CLOSE, '')}{_CLOSE}"


def is_known(text: str) -> bool:
    """Return whether ``text`` has no unknown part."""
    return _OPEN not in text


def unknown_reasons(text: str) -> tuple[str, ...]:
    """Return why parts of ``text`` are unknown, each reason once."""
    return tuple(dict.fromkeys(_UNKNOWN.findall(text)))


def closing(text: str, at: int) -> int:
    """Return the offset of the bracket that closes the one at ``at``; the end of the text when none does."""
    opener = text[at]
    closer = ")" if opener == "(" else "}"
    depth = 0
    for i in range(at, len(text)):
        if text[i] == opener:
            depth += 1
        elif text[i] == closer:
            depth -= 1
            if depth == 0:
                return i
    return len(text)


def split_arguments(text: str, limit: int = 0) -> list[str]:
    """Return the arguments of a function call: parts between commas outside brackets, at most ``limit`` when it is not 0."""
    parts: list[str] = []
    depth, start = 0, 0
    for i, c in enumerate(text):
        if c in "({":
            depth += 1
        elif c in ")}":
            depth -= 1
        elif c == "," and depth == 0 and (not limit or len(parts) < limit - 1):
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return parts


def strip_comment(line: str) -> str:
    """Return ``line`` up to its comment; ``\\#`` is a plain ``#``."""
    at = line.find("#")
    while at > 0 and line[at - 1] == "\\":
        line = line[: at - 1] + line[at:]
        at = line.find("#", at)
    return line if at < 0 else line[:at]


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) with continued lines joined by one space. Lines of recipes are joined too."""
    number, start, parts = 0, 1, list[str]()
    for raw in text.split("\n"):
        number += 1
        line = raw.removesuffix("\r")
        if not parts:
            start = number
        if line.endswith("\\") and not line.endswith("\\\\"):
            parts.append(line[:-1].rstrip() if parts == [] else line[:-1].strip())
            continue
        if parts:
            yield start, " ".join([*parts, line.strip()])
            parts = []
        else:
            yield start, line
    if parts:
        yield start, " ".join(parts)


def pattern_match(pattern: str, word: str) -> str | None:
    """Return what ``%`` of ``pattern`` stands for in ``word`` (empty without ``%``), ``None`` when it does not match."""
    if "%" not in pattern:
        return "" if pattern == word else None
    before, after = pattern.split("%", 1)
    if len(word) >= len(before) + len(after) and word.startswith(before) and word.endswith(after):
        return word[len(before) : len(word) - len(after)]
    return None
