"""Directories below one root, reached through descriptors so that no link is ever followed.

A path is walked name by name with ``O_NOFOLLOW``; a bounded number of descriptors is kept for the next call. Must not know:
archives.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from kata_bundle.core.relpath import os_bytes

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Directories"]

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT: Final = 32


class Directories:
    """Open directories below ``root``, which itself may be reached through links. A context manager; closes what it opened."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.forget()
        os.close(self._root)

    def descriptor(self, path: str) -> int:
        """Return a descriptor of the directory at the relative ``path`` (empty: the root), valid until the next call.

        Raises ``FileNotFoundError``, or ``NotADirectoryError`` for anything else than a directory, a link included.
        """
        known = self._open.pop(path, None)
        if known is not None:
            self._open[path] = known  # last used, last closed
            return known
        end = len(path)
        while end > 0 and path[:end] not in self._open:
            end = max(path.rfind("/", 0, end), 0)
        current = self._open[path[:end]] if end else self._root
        while end < len(path):
            start = end + 1 if end else 0
            end = path.find("/", start)
            end = len(path) if end < 0 else end
            current = os.open(os_bytes(path[start:end]), _FLAGS, dir_fd=current)
            self._open[path[:end]] = current
            if len(self._open) > _KEPT:
                os.close(self._open.pop(next(iter(self._open))))
        return current

    def forget(self) -> None:
        """Close the kept descriptors: a directory they lead to was replaced."""
        while self._open:
            os.close(self._open.popitem()[1])
