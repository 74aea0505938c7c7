"""Progress for people: bars on a terminal, single lines elsewhere. Both write to standard error only."""

from __future__ import annotations

import sys
import threading

from kata_bundle.cli.invocation import write

__all__ = ["LineProgress", "TerminalProgress"]


class LineProgress:
    """No bars, only the lines that work notes."""

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
        """Nothing is shown for a task."""

    def advance(self, task: str, amount: int) -> None:
        """Nothing is shown for a step."""

    def finish(self, task: str) -> None:
        """Nothing is shown for an end."""

    def note(self, message: str) -> None:
        """Print one line."""
        write(f"{message}\n", to_people=True)

    def close(self) -> None:
        """Nothing is open."""


class TerminalProgress:
    """One bar per running task, removed when it ends."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        self._lock = threading.Lock()
        self._live = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._tasks: dict[str, int] = {}
        self._live.start()

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
        """Show a bar for ``task``."""
        del unit
        with self._lock:
            self._tasks[task] = self._live.add_task(task, total=total)

    def advance(self, task: str, amount: int) -> None:
        """Move the bar of ``task``."""
        with self._lock:
            if task in self._tasks:
                self._live.advance(self._tasks[task], amount)  # type: ignore[arg-type]

    def finish(self, task: str) -> None:
        """Take the bar of ``task`` away."""
        with self._lock:
            if (number := self._tasks.pop(task, None)) is not None:
                self._live.remove_task(number)  # type: ignore[arg-type]

    def note(self, message: str) -> None:
        """Print one line above the bars."""
        self._live.console.print(message, highlight=False, markup=False)

    def close(self) -> None:
        """End the display."""
        self._live.stop()
