"""Codes of what readers of an upstream tree report: KB9xx, "not understood". What depends on it was not checked."""

from __future__ import annotations

from typing import Final

__all__ = ["ABSENT", "MAKE", "MISSING", "SHAPE"]

MISSING: Final = "KB901"
SHAPE: Final = "KB902"
MAKE: Final = "KB903"
ABSENT: Final = "KB904"
