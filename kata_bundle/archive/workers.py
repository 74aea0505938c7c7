"""A few threads that take one piece of work after the other, each with tools of its own; the first error stops all.

Plain threads, since what an install imports is what a no-op install waits for. Must not know: what the work is.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from kata_bundle.core.fsops import FileOps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

__all__ = ["SerialFileOps", "run_pieces"]

Tools = TypeVar("Tools")


def run_pieces(
    pieces: Iterable[Callable[[Tools], None]], *, threads: int, tools: Callable[[], AbstractContextManager[Tools]]
) -> None:
    """Call every piece with the tools of the thread that took it, in their order, on at most ``threads`` threads at once.

    The calling thread is one of them: with one thread none is made. Once a piece has raised no other is begun; what is running
    ends, then the error that came first is raised.
    """
    run = _Run(pieces)
    others = [threading.Thread(target=run.work, args=(tools,), name=f"worker-{n}", daemon=True) for n in range(1, threads)]
    try:
        for thread in others:
            thread.start()
        run.work(tools)
    finally:
        run.stop()
        for thread in others:
            if thread.ident is not None:
                thread.join()
    if run.error is not None:
        raise run.error


class _Run(Generic[Tools]):
    def __init__(self, pieces: Iterable[Callable[[Tools], None]]) -> None:
        self._pieces = iter(pieces)
        self._lock = threading.Lock()
        self._is_stopped = False
        self.error: BaseException | None = None

    def stop(self) -> None:
        self._is_stopped = True

    def work(self, tools: Callable[[], AbstractContextManager[Tools]]) -> None:
        try:
            with tools() as mine:
                while (piece := self._next()) is not None:
                    piece(mine)
        except BaseException as error:
            with self._lock:
                self._is_stopped = True
                # The thread that was told to end may come here before the one whose error ended it.
                if self.error is None or isinstance(self.error, _StoppedError):
                    self.error = error

    def _next(self) -> Callable[[Tools], None] | None:
        with self._lock:
            return None if self._is_stopped else next(self._pieces, None)


class _StoppedError(BaseException):
    """Ends the work of a thread after another one was told to make no more changes."""


class SerialFileOps(FileOps):
    """Changes announced by several threads to an observer who expects them one at a time.

    After the observer has raised it is not asked again, and nothing more is changed.
    """

    def __init__(self, files: FileOps) -> None:
        super().__init__()
        self._files = files
        self._lock = threading.Lock()
        self._is_stopped = False

    def announce(self, verb: str, path: str) -> None:
        """Tell the observer, or end this thread when it has raised before."""
        with self._lock:
            if self._is_stopped:
                raise _StoppedError
            try:
                self._files.announce(verb, path)
            except BaseException:
                self._is_stopped = True
                raise
