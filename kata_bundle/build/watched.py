"""Between the work of a build and who watches it: progress that also becomes events, and what each target's end was.

Must not know: how components are made, who watches.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from kata_bundle import __version__
from kata_bundle.build.events import (
    MAX_MESSAGE,
    ActionFailed,
    ActionFinished,
    ActionStarted,
    BuildFinished,
    BuildStarted,
    Counts,
    SourceFetch,
    TargetPlanned,
)
from kata_bundle.build.sandbox.logs import ActionError
from kata_bundle.core.clock import monotonic
from kata_bundle.core.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kata_bundle.build.events import Watcher
    from kata_bundle.build.rulebook import Rulebook, Target
    from kata_bundle.build.workshop import Cached
    from kata_bundle.core.events import Progress
    from kata_bundle.store import ActionResult

__all__ = ["ACTION_UNIT", "COMPONENT_UNIT", "FetchProgress", "Watch"]

ACTION_UNIT: Final = "action"
"""Unit of progress tasks that only last."""
COMPONENT_UNIT: Final = "components"
_INTERVAL_S: Final = 1.0
_FETCH: Final = "fetch "


class FetchProgress:
    """Hands progress on, tells of fetches, and ends them soon after ``is_cancelled`` came true, by an :class:`ActionError`."""

    def __init__(self, inner: Progress, watcher: Watcher, is_cancelled: Callable[[], bool]) -> None:
        self._inner = inner
        self._watcher = watcher
        self._is_cancelled = is_cancelled
        self._lock = threading.Lock()
        self._running: dict[str, tuple[int, int | None, float]] = {}
        """Of a fetch: bytes done and in all, and when it was last told of."""

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
        """Tell of a fetch that begins."""
        self._inner.start(task, total, unit)
        if task.startswith(_FETCH):
            with self._lock:
                self._running[task] = (0, total, monotonic())
            self._tell(task, 0, total, ended=False)

    def advance(self, task: str, amount: int) -> None:
        """Tell of a fetch that goes on, now and then; raise :class:`ActionError` when it need not."""
        self._inner.advance(task, amount)
        with self._lock:
            known = self._running.get(task)
            if known is None:
                return
            done, total, told = known[0] + amount, known[1], known[2]
            is_due = monotonic() - told >= _INTERVAL_S
            self._running[task] = (done, total, monotonic() if is_due else told)
        if is_due:
            self._tell(task, done, total, ended=False)
        if self._is_cancelled():
            msg = f"{task} was cancelled"
            raise ActionError(msg, is_cancelled=True)

    def finish(self, task: str) -> None:
        """Tell of a fetch that ended."""
        self._inner.finish(task)
        with self._lock:
            known = self._running.pop(task, None)
        if known is not None:
            self._tell(task, known[0], known[1], ended=True)

    def note(self, message: str) -> None:
        """Hand a line on."""
        self._inner.note(message)

    def _tell(self, task: str, done: int, total: int | None, *, ended: bool) -> None:
        source = task.removeprefix(_FETCH)[:300]
        self._watcher.tell(SourceFetch(source=source, done_bytes=done, total_bytes=total, ended=ended))


class Watch:
    """Tells a watcher of one build, and people of how far it is."""

    def __init__(self, book: Rulebook, watcher: Watcher, progress: Progress, is_cancelled: Callable[[], bool]) -> None:
        self._book = book
        self._watcher = watcher
        self._progress = progress
        self._is_cancelled = is_cancelled
        self._began = monotonic()
        self._lock = threading.Lock()
        self._ends: Counter[str] = Counter()
        self._planned = 0
        self._task = ""

    def planned(self, wanted: Sequence[Target], targets: Sequence[Target], jobs: int) -> None:
        """Tell what the build is about to do."""
        self._planned = len(wanted)
        asked = set(targets)
        self._watcher.tell(BuildStarted(program=__version__, targets=len(asked), planned=len(wanted), jobs=jobs))
        for target in wanted:
            self._watcher.tell(
                TargetPlanned(
                    **self._of(target),
                    kind=self._book.recipe(target).kind.value,
                    requested=target in asked,
                    needs=[parent.component for parent in self._book.parents(target)],
                )
            )
        self._task = f"{len(wanted)} components"
        if len(wanted) > 1:
            self._progress.start(self._task, len(wanted), COMPONENT_UNIT)

    def started(self, target: Target) -> float:
        """Tell that ``target`` is looked at; return when that was, for its end."""
        self._watcher.tell(ActionStarted(**self._of(target), kind=self._book.recipe(target).kind.value))
        return monotonic()

    def finished(self, target: Target, began: float, result: ActionResult, cached: Cached) -> None:
        """Tell that ``target`` is in the store."""
        self._end(cached.value)
        self._watcher.tell(
            ActionFinished(
                **self._of(target),
                cached=cached.value,
                action=result.action,
                seconds=_since(began),
                exit=0,
                tree=result.tree,
                log=result.log,
                hermetic=result.hermetic,
            )
        )

    def failed(self, target: Target, began: float, error: Exception) -> None:
        """Tell that ``target`` could not be made."""
        self._end("failed")
        command = error if isinstance(error, ActionError) else None
        self._watcher.tell(
            ActionFailed(
                **self._of(target),
                action=None if command is None else command.action,
                seconds=_since(began),
                exit=None if command is None else command.status,
                cancelled=self._is_cancelled() and (command is None or command.is_cancelled),
                error=type(error).__name__,
                message=_shortened(str(error)),
                log=None if command is None or command.log is None else str(command.log),
            )
        )

    def over(self, error: BaseException | None) -> None:
        """Tell that the build is over: well, or with what is raised."""
        self._progress.finish(self._task)
        ends = self._ends
        tried = sum(ends.values())
        counts = Counts(
            made=ends["no"],
            local=ends["local"],
            remote=ends["remote"],
            failed=ends["failed"],
            not_tried=self._planned - tried,
        )
        self._watcher.tell(BuildFinished(counts=counts, seconds=_since(self._began), exit=_exit_code(error)))

    def _end(self, what: str) -> None:
        with self._lock:
            self._ends[what] += 1
        self._progress.advance(self._task, 1)

    def _of(self, target: Target) -> dict[str, Any]:
        return {"component": target.component, "arch": target.arch.value, "key": self._book.key(target)}


def _since(began: float) -> float:
    return round(max(0.0, monotonic() - began), 3)


def _shortened(text: str) -> str:
    """Return the beginning and the end of a long text: what it is about, and what a command said last."""
    if len(text) <= MAX_MESSAGE:
        return text
    head = text[:300]
    return f"{head}\n[…]\n{text[-(MAX_MESSAGE - len(head) - 5) :]}"


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if isinstance(error, BundleError):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1
