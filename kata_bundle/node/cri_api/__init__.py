"""The container runtime interface (CRI) v1: the vendored definition, its message classes, a client of the few calls needed."""

from __future__ import annotations

__all__: list[str] = []
