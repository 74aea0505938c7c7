"""Making what was unpacked last: files first, then the directories that name them.

Large files were flushed while others were still being made; the rest is flushed here, several at once. Must not know: layers.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.directories import Directories
from kata_bundle.archive.workers import run_pieces
from kata_bundle.core.fsops import about
from kata_bundle.core.relpath import os_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kata_bundle.core.fsops import FileOps, StrPath
    from kata_bundle.core.relpath import RelPath

__all__ = ["flush_directories", "flush_files"]

_AT_ONCE: Final = 8
"""A flush waits and computes nothing, and a disk does many in the time of one."""


def flush_files(files: Sequence[tuple[StrPath, RelPath]]) -> None:
    """Make the content of every ``(target, path)`` durable, no link followed. Raises ``OSError``."""
    pieces = [partial(_flush_file, target=target, path=path) for target, path in files]
    if pieces:
        run_pieces(pieces, threads=min(_AT_ONCE, len(pieces)), tools=nullcontext)


def flush_directories(targets: Iterable[StrPath], ops: FileOps) -> None:
    """Make the names in every directory at and below ``targets`` durable, inner ones first. Raises ``OSError``."""
    for target in targets:
        for folder, _, _ in os.walk(os_bytes(str(target)), topdown=False):
            ops.sync_directory(os.fsdecode(folder))


def _flush_file(tools: None, *, target: StrPath, path: RelPath) -> None:
    del tools
    parent, _, name = path.rpartition("/")
    with Directories(target) as directories:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(os_bytes(name), flags, dir_fd=directories.descriptor(parent))
        try:
            with about(os.path.join(target, path)):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
