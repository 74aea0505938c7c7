"""Lists in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["joined", "quoted"]

_SHOWN = 3


def joined(words: Collection[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def quoted(names: Collection[str]) -> str:
    """Return the first names in quotes, sorted, and how many more there are."""
    shown = [f'"{name}"' for name in sorted(names)[:_SHOWN]]
    return f"{', '.join(shown)} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else joined(shown)
