"""Startup taints (installer specification §22.5). Pure.

Must not know: how the API is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Taint", "partition", "taint_patch"]


@record
class Taint:
    """A taint of a node. ``time_added`` is kept as the server spells it."""

    key: str
    effect: str
    value: str | None = None
    time_added: str | None = None

    def __str__(self) -> str:
        middle = f"={self.value}" if self.value else ""
        return f"{self.key}{middle}:{self.effect}"

    def to_dict(self) -> dict[str, str]:
        """Return the taint as the API spells it."""
        fields = {"key": self.key, "value": self.value, "effect": self.effect, "timeAdded": self.time_added}
        return {name: value for name, value in fields.items() if value is not None}


def partition(taints: Sequence[Taint], matchers: Sequence[str]) -> tuple[tuple[Taint, ...], tuple[str, ...]]:
    """Return the taints that stay, and for each that goes the matcher that matched it.

    A matcher is ``key`` (any effect) or ``key:effect``; blanks around either are ignored, blank matchers match nothing.
    """
    wanted = [(text, *_split(text)) for text in (matcher.strip() for matcher in matchers) if text]
    retained, removed = [], []
    for taint in taints:
        for text, key, effect in wanted:
            if taint.key == key and effect in {None, taint.effect}:
                removed.append(text)
                break
        else:
            retained.append(taint)
    return tuple(retained), tuple(removed)


def taint_patch(retained: Sequence[Taint], *, resource_version: str) -> list[dict[str, object]]:
    """Return the JSON Patch that leaves ``retained``, for the node as it was read."""
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version},
        {"op": "replace", "path": "/spec/taints", "value": [taint.to_dict() for taint in retained]},
    ]


def _split(text: str) -> tuple[str, str | None]:
    key, colon, effect = text.partition(":")
    return key.strip(), effect.strip() if colon else None
