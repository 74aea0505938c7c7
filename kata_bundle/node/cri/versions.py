"""The one reader of containerd version strings, and the rules that compare them (installer specification §14.4, D24).

``containerd://2.1.5-k3s1``, ``containerd://2.0.0-rc.1`` and ``2.2.0`` are all versions; a pre-release counts as its release.
Must not know where the string came from.
"""

from __future__ import annotations

import re

from kata_bundle.core.record import record
from kata_bundle.node.refusal import Refusal, RefusedError

__all__ = [
    "ContainerdVersion",
    "at_least",
    "check_erofs_version",
    "check_snapshotter_mapping_version",
    "parse_version",
    "schema_for_release",
]

_SCHEME = "containerd://"
_MINOR = re.compile(r"\d+")


@record(kw_only=False, order=True)
class ContainerdVersion:
    """Major and minor number; nothing here depends on more."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def parse_version(text: str) -> ContainerdVersion:
    """Return the version that ``text`` states, with or without ``containerd://``.

    Raises :class:`RefusedError` (``bad_version_format``, ``bad_major_version``).
    """
    bare = text[text.find(_SCHEME) + len(_SCHEME) :] if _SCHEME in text else text
    parts = bare.split(".")
    if len(parts) < 2:
        msg = f'"{text}" is not a containerd version: expected {_SCHEME}<major>.<minor>.<patch>'
        raise RefusedError(Refusal.BAD_VERSION_FORMAT, msg)
    if not parts[0].isascii() or not parts[0].isdigit():
        msg = f'"{text}" is not a containerd version: "{parts[0]}" is not a number'
        raise RefusedError(Refusal.BAD_MAJOR_VERSION, msg)
    minor = _MINOR.match(parts[1])
    if minor is None:
        msg = f'"{text}" is not a containerd version: "{parts[1]}" does not begin with a number'
        raise RefusedError(Refusal.BAD_VERSION_FORMAT, msg)
    return ContainerdVersion(int(parts[0]), int(minor.group()))


def at_least(text: str, floor: tuple[int, int]) -> bool:
    """Return whether ``text`` states a version of ``floor`` (major, minor) or newer; anything that is no version is not."""
    try:
        return parse_version(text) >= ContainerdVersion(*floor)
    except RefusedError:
        return False


def check_snapshotter_mapping_version(text: str, *, has_mapping: bool) -> None:
    """Raise :class:`RefusedError` when a snapshotter per handler is asked of a containerd before 1.7, which cannot do it."""
    if has_mapping and parse_version(text) < ContainerdVersion(1, 7):
        msg = f'a snapshotter per runtime needs containerd 1.7 or newer, the node has "{text}"'
        hint = "upgrade containerd, or leave SNAPSHOTTER_HANDLER_MAPPING empty"
        raise RefusedError(Refusal.CONTAINERD_TOO_OLD, msg, hint=hint)


def check_erofs_version(text: str) -> None:
    """Raise :class:`RefusedError` when containerd is older than 2.2.0, which the erofs snapshotter needs."""
    if parse_version(text) < ContainerdVersion(2, 2):
        msg = f'the erofs snapshotter needs containerd 2.2.0 or newer, the node has "{text}"'
        hint = "upgrade containerd, or take erofs out of EXPERIMENTAL_SETUP_SNAPSHOTTER and the snapshotter mapping"
        raise RefusedError(Refusal.CONTAINERD_TOO_OLD, msg, hint=hint)


def schema_for_release(text: str) -> int:
    """Return the schema version of a new configuration for this release: 3 from containerd 2 on, 2 before.

    Raises :class:`RefusedError` when the major number cannot be read.
    """
    bare = text[text.find(_SCHEME) + len(_SCHEME) :] if _SCHEME in text else text
    major = bare.partition(".")[0]
    if not major.isascii() or not major.isdigit():
        msg = f'"{text}" is not a containerd version: "{major}" is not a number'
        raise RefusedError(Refusal.BAD_MAJOR_VERSION, msg)
    return 3 if int(major) >= 2 else 2
