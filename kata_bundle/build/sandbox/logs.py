"""What commands printed: how much of it is kept, and the failure that names it.

Must not know: sandboxes, actions, caches.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from kata_bundle.core.digest import Digest
    from kata_bundle.store import Store

__all__ = ["KEPT_BYTES", "ActionError", "keep_log"]

KEPT_BYTES: Final = 4 << 20
"""What is kept of a log, in bytes: of a longer one the first quarter and the end, cut at lines."""
_LINE_BYTES: Final = 4096


class ActionError(BuildError):
    """A command that did not make what it should: its exit status, and where what it printed is."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        log: Path | Digest | None = None,
        is_cancelled: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        """``None`` when it was ended, or ended well and was refused all the same."""
        self.log = log
        """A file in the kept work folder, or a blob."""
        self.is_cancelled = is_cancelled
        """Whether it was ended because nobody wants it any more."""
        self.action: Digest | None = None
        """Of the action, where it is known."""


def keep_log(store: Store, path: Path, *, limit_bytes: int = KEPT_BYTES) -> Digest:
    """Store what a command printed and return its digest; of more than ``limit_bytes`` a line stands for the middle."""
    size = path.stat().st_size
    if size <= limit_bytes:
        return store.put_file(path)[0]
    with open(path, "rb") as log:
        head = _head(log, limit_bytes // 4)
        tail = _tail(log, size, limit_bytes - limit_bytes // 4 - 100)  # room for the line
    left_out = size - len(head) - len(tail)
    return store.put_bytes(head + f"[kata-bundle: {left_out} bytes left out]\n".encode() + tail)


def _head(log: BinaryIO, length: int) -> bytes:
    data = log.read(length)
    cut = data.rfind(b"\n", max(0, len(data) - _LINE_BYTES))
    return data[: cut + 1] if cut >= 0 else data + b"\n"


def _tail(log: BinaryIO, size: int, length: int) -> bytes:
    log.seek(size - length, os.SEEK_SET)
    data = log.read(length)
    cut = data.find(b"\n", 0, _LINE_BYTES)
    return data[cut + 1 :]
