"""Progress as values: long work reports to a :class:`Progress`; who shows it is the caller's business."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NO_PROGRESS", "Progress"]


class Progress(Protocol):
    """What long work reports. Implementations must be safe to call from several threads."""

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
        """Work named ``task`` begins; ``total`` units are expected (``None``: not known)."""

    def advance(self, task: str, amount: int) -> None:
        """``amount`` more units of ``task`` are done."""

    def finish(self, task: str) -> None:
        """``task`` ended, well or not."""

    def note(self, message: str) -> None:
        """Tell the person one line."""


class _Silent:
    def start(self, task: str, total: int | None, unit: str = "bytes") -> None: ...
    def advance(self, task: str, amount: int) -> None: ...
    def finish(self, task: str) -> None: ...
    def note(self, message: str) -> None: ...


NO_PROGRESS: Progress = _Silent()
"""Reports nothing."""
