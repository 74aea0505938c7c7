"""Whether the host's ``mkfs.erofs`` is new enough, judged without running it (installer specification §20.1).

A pod cannot run a host's program: its libraries are not there. But an option that a program knows stands in it as a C string.
Must not know: why it is needed.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HOST_PROGRAM_DIRECTORIES", "MKFS_EROFS", "MKFS_OPTIONS", "find_program_file", "has_c_string", "missing_options"]

MKFS_EROFS = "mkfs.erofs"
MKFS_OPTIONS = ("mkfs-time", "sort")
"""Options that erofs-utils has had since 1.8.2."""

HOST_PROGRAM_DIRECTORIES = (
    "/host-usr/bin",
    "/host-usr/sbin",
    "/host-usr-local/bin",
    "/host-usr-local/sbin",
    "/host-bin",
    "/host-sbin",
)
"""Where a pod sees the host's programs, in the order they are searched."""

_MAX_PROGRAM = 64 << 20


def has_c_string(data: bytes, text: str) -> bool:
    """Return whether ``text`` is a whole C string in ``data``: followed by NUL, and not the end of a longer printable text."""
    needle = text.encode() + b"\0"
    at = data.find(needle)
    while at >= 0:
        if at == 0 or not 0x20 <= data[at - 1] <= 0x7E:
            return True
        at = data.find(needle, at + 1)
    return False


def missing_options(data: bytes, options: Iterable[str] = MKFS_OPTIONS) -> tuple[str, ...]:
    """Return those of ``options`` that the program with content ``data`` does not know."""
    return tuple(option for option in options if not has_c_string(data, option))


def find_program_file(name: str, directories: Sequence[str]) -> tuple[str, bytes] | None:
    """Return the path and content of the first regular file ``name`` in ``directories``, ``None`` when there is none.

    Links are followed as far as they lead; one that leads nowhere in this mount namespace does not count.
    """
    for directory in directories:
        path = os.path.join(directory, name)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                continue
            with open(path, "rb") as stream:
                return path, stream.read(_MAX_PROGRAM)
        except OSError:
            continue
    return None
