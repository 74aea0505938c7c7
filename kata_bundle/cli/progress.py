"""Progress for people: bars on a terminal, single lines elsewhere. Both write to standard error only."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from kata_bundle.cli.invocation import write

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task
    from rich.text import Text

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
    """One bar per running task, removed when it ends; of what only lasts, the time that it has taken so far."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
        from rich.text import Text as RichText

        sizes, remaining = DownloadColumn(binary_units=True), TimeRemainingColumn()

        class Amount(ProgressColumn):
            """Bytes of what has bytes, a count of what is counted, how long of what only lasts."""

            def render(self, task: Task) -> Text:
                match task.fields["unit"]:
                    case "bytes":
                        return sizes.render(task)
                    case "action":
                        return RichText(_duration(task.elapsed or 0.0))
                    case _:
                        return RichText(f"{task.completed:.0f}/{task.total or 0:.0f}")

        class Rest(ProgressColumn):
            """The time that a fetch still takes."""

            def render(self, task: Task) -> Text:
                return remaining.render(task) if task.fields["unit"] == "bytes" else RichText("")

        self._lock = threading.Lock()
        self._live = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            Amount(),
            Rest(),
            console=console or Console(file=sys.stderr),
            transient=True,
        )
        self._tasks: dict[str, int] = {}
        self._live.start()

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
        """Show a bar for ``task``."""
        with self._lock:
            self._tasks[task] = self._live.add_task(task, total=total, unit=unit)

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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
