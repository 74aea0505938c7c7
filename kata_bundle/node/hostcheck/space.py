"""Whether an install fits: the install directory can be written and has room.

Must not know: what will be installed.
"""

from __future__ import annotations

import os
import stat

from kata_bundle.core.record import record

__all__ = ["SpaceFacts", "read_space"]


@record
class SpaceFacts:
    """Facts about the install directory, or the nearest directory above it that exists (``existing``)."""

    dest: str
    existing: str
    is_directory: bool
    is_read_only: bool
    free_bytes: int
    free_inodes: int | None
    """``None`` where the file system does not count them."""


def read_space(dest: str) -> SpaceFacts:
    """Return the facts about ``dest``. Nothing is written: a read-only mount is told by the kernel. Raises ``OSError``."""
    existing = dest
    while not os.path.lexists(existing) and existing != os.path.dirname(existing):
        existing = os.path.dirname(existing)
    facts = os.statvfs(existing)
    return SpaceFacts(
        dest=dest,
        existing=existing,
        is_directory=stat.S_ISDIR(os.stat(existing).st_mode),
        is_read_only=bool(facts.f_flag & os.ST_RDONLY) or not os.access(existing, os.W_OK | os.X_OK),
        free_bytes=facts.f_bavail * facts.f_frsize,
        free_inodes=facts.f_favail if facts.f_files else None,
    )
