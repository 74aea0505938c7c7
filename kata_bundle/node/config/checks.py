"""Checks of the configuration that only some hosts need, so that the host check makes them (installer specification §20).

Must not know how the host was looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.relpath import quoted
from kata_bundle.node.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from kata_bundle.node.config.model import ShimMapping

__all__ = ["snapshotter_mapping_problems"]

_FORM = 'expected "shim:snapshotter"'


def snapshotter_mapping_problems(
    mapping: ShimMapping, shims: Collection[str], *, name: str = "SNAPSHOTTER_HANDLER_MAPPING"
) -> tuple[Problem, ...]:
    """Return what keeps containerd from using ``mapping``: every entry has to be one shim, configured, and one snapshotter.

    Each violation is a problem of its own; ``name`` is what messages call the setting.
    """
    found: list[Problem] = []
    seen: set[str] = set()

    def add(kind: str, message: str) -> None:
        found.append(Problem(kind=kind, message=f"{name}: {message}"))

    for entry in mapping.entries:
        shown = quoted(":".join(entry))
        if len(entry) != 2:
            add("bad_mapping_format", f"entry {shown} has {len(entry)} parts, {_FORM}")
            continue
        shim, snapshotter = entry
        if not shim:
            add("empty_shim", f"entry {shown} names no shim, {_FORM}")
        elif shim not in shims:
            valid = ", ".join(shims) or "none"
            add("unknown_shim_reference", f"entry {shown} names a shim that is not configured; configured shims: {valid}")
        elif shim in seen:
            add("duplicate_shim", f"shim {quoted(shim)} stands twice")
        if not snapshotter:
            add("empty_snapshotter", f"entry {shown} names no snapshotter, {_FORM}")
        seen.add(shim)
    return tuple(found)
