"""The Remote Execution API v2 and what it uses: vendored definitions and the message classes made from them."""

from __future__ import annotations

__all__: list[str] = []
