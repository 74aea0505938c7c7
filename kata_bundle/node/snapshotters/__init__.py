"""The snapshotters that an install can set up for containerd: names, rules, and who is meant by a word in a mapping.

Installer specification §19.1 and §20. CRI-O has none. Must not know files; each snapshotter's module knows its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.node.refusal import Refusal, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EROFS", "NYDUS", "check_snapshotters", "instance_name", "snapshotter_name", "snapshotters_used"]

NYDUS = "nydus"
EROFS = "erofs"
_KNOWN = (NYDUS, EROFS)


def instance_name(suffix: str | None) -> str:
    """Return the name of this install's nydus instance: its unit, proxy plugin, data and socket directories."""
    return f"nydus-for-kata-tee-{suffix}" if suffix else "nydus-for-kata-tee"


def snapshotter_name(word: str, suffix: str | None) -> str:
    """Return the name that containerd knows the mapped ``word`` by."""
    return instance_name(suffix) if word == NYDUS else word


def snapshotters_used(runtime: str, requested: Iterable[str]) -> tuple[str, ...]:
    """Return the snapshotters really handled: none on CRI-O, and no empty names."""
    return () if runtime == "crio" else tuple(name for name in requested if name)


def check_snapshotters(requested: Iterable[str]) -> None:
    """Raise :class:`RefusedError` for a snapshotter that the installer cannot set up; empty names are ignored."""
    for name in requested:
        if name and name not in _KNOWN:
            msg = f'snapshotter "{name}" cannot be set up'
            raise RefusedError(Refusal.UNKNOWN_SNAPSHOTTER, msg, hint=f"EXPERIMENTAL_SETUP_SNAPSHOTTER takes {', '.join(_KNOWN)}")
