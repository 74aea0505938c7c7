"""What makes a reader give up on a document, as an exception that stays inside ``manifest``.

Knows: the codes of what is found while reading. Must not know: any format.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.positions import Place

if TYPE_CHECKING:
    from kata_bundle.manifest.positions import KeyPath, Places

__all__ = [
    "DUPLICATE",
    "LIMIT",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "NOT_PLAIN",
    "NOT_UTF8",
    "SYNTAX",
    "TOML_KEY_PART",
    "UNREADABLE",
    "Refused",
    "check_plain",
]

UNREADABLE: Final = "KB101"
NOT_UTF8: Final = "KB102"
SYNTAX: Final = "KB103"
DUPLICATE: Final = "KB104"
LIMIT: Final = "KB105"
NOT_PLAIN: Final = "KB106"

MAX_BYTES: Final = 4 << 20
"""Longest document read. Ten thousand components fit; what is longer is no manifest."""
MAX_DEPTH: Final = 48
"""Deepest nesting read; no manifest comes near."""
MAX_VALUES: Final = 1_000_000
"""Most values a document may hold, those behind aliases counted as often as they are referred to."""

TOML_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
"""Pattern of one part of a dotted TOML key."""

_START: Final = Place(1, 1, 1)


class Refused(Exception):  # noqa: N818 - a control-flow value that never leaves this room
    """A document that cannot be taken, and the place that shows why. ``key`` is set while the place is still to be looked up."""

    def __init__(self, code: str, message: str, place: Place = _START, hint: str | None = None, key: KeyPath = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.place = place
        self.hint = hint
        self.key = key

    def at(self, places: Places) -> Refused:
        """Return this refusal at the place of its key."""
        return Refused(self.code, self.message, places.find(self.key), self.hint, self.key)


def check_plain(data: object) -> None:
    """Raise :class:`Refused` when ``data`` is too deep, or holds what no other format could: NaN, infinities, half characters.

    Works without recursion, so that depth cannot break it.
    """
    stack: list[tuple[object, KeyPath]] = [(data, ())]
    while stack:
        value, path = stack.pop()
        if isinstance(value, dict | list):
            if len(path) >= MAX_DEPTH:
                raise Refused(LIMIT, f"values are nested deeper than {MAX_DEPTH} levels", key=path)
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                if isinstance(key, str):
                    _check_text(key, (*path, key))
                if isinstance(item, dict | list | str | float):
                    stack.append((item, (*path, key)))
        elif isinstance(value, str):
            _check_text(value, path)
        elif isinstance(value, float) and not math.isfinite(value):
            raise Refused(NOT_PLAIN, f"{value} is not a number that every format can hold", key=path)


def _check_text(text: str, path: KeyPath) -> None:
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise Refused(NOT_PLAIN, "the text holds half of a surrogate pair, which is no character", key=path)
