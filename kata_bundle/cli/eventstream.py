"""Events of a build as lines for a program: ``--events-fd`` and ``--events``.

A thread of its own writes, so that a reader who is slow, or gone, never holds up a build: what is to be written waits in memory,
progress of fetches is left out when much waits, and at the end a reader has a while to take the rest. A line is written whole, in
one call, and is short enough for a pipe to take it whole. That a reader is gone is said once. Must not know: what events mean.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from kata_bundle.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.build.events import Event, Watcher
    from kata_bundle.cli.app import App

__all__ = ["NO_EVENTS", "EventStream", "EventsChoice", "events_options", "open_events", "watching"]

_MANY: Final = 1000
"""Lines that may wait before some are left out."""
_TOO_MANY: Final = 100_000
"""Lines that may wait at all: who reads none of that many is taken for gone."""
_ASK_MS: Final = 200
_PATIENCE_S: Final = 10.0
"""How long a reader may take no line when the build is over."""


class EventStream:
    """Writes events to a descriptor, which it closes in the end. Safe for several threads."""

    def __init__(self, descriptor: int, say: Callable[[str], None], *, patience_s: float = _PATIENCE_S) -> None:
        self._descriptor = descriptor
        self._say = say
        self._patience_s = patience_s
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._is_gone = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Take an event; it is written soon, or dropped when nobody reads."""
        from kata_bundle.build.events import SourceFetch, document
        from kata_bundle.core.canonical import dumps
        from kata_bundle.core.clock import timestamp

        with self._changed:
            if self._is_gone or (isinstance(event, SourceFetch) and not event.ended and len(self._waiting) >= _MANY):
                return
            self._waiting.append(dumps(document(event, timestamp(milliseconds=True))).rstrip(b"\n") + b"\n")
            is_too_much = len(self._waiting) > _TOO_MANY
            self._changed.notify()
        if is_too_much:
            self._give_up("nobody reads them")

    def close(self) -> None:
        """Wait for the reader to take what is left, for a while, and end the stream."""
        from kata_bundle.core.clock import monotonic

        with self._changed:
            self._is_closing = True
            self._changed.notify()
        left, since = len(self._waiting), monotonic()
        while self._thread.is_alive() and monotonic() - since < self._patience_s:
            self._thread.join(0.1)
            if len(self._waiting) != left:
                left, since = len(self._waiting), monotonic()
        if self._thread.is_alive():
            self._give_up(f"nobody reads the last {left}")
            self._thread.join(1.0)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        try:
            while True:
                with self._changed:
                    while not self._waiting and not self._is_closing and not self._is_gone:
                        self._changed.wait()
                    if self._is_gone or not self._waiting:
                        return
                    line = self._waiting[0]
                if not self._write(poll, line):
                    return
                with self._changed:
                    if self._waiting:
                        self._waiting.popleft()
        except OSError as error:
            self._give_up(error.strerror or str(error))
        finally:
            os.close(self._descriptor)

    def _write(self, poll: select.poll, line: bytes) -> bool:
        """Write a line when it can be taken whole; return whether anybody may read on."""
        while line:
            if self._is_gone:
                return False
            for _, state in poll.poll(_ASK_MS):
                if state & select.POLLERR:
                    self._give_up("the reader closed its end")
                    return False
                # A pipe that is ready takes PIPE_BUF bytes without waiting, and at once.
                line = line[os.write(self._descriptor, line[: select.PIPE_BUF]) :]
        return True

    def _give_up(self, reason: str) -> None:
        with self._changed:
            if self._is_gone:
                return
            self._is_gone = True
            self._waiting.clear()
            self._changed.notify()
        self._say(f"no more events are written: {reason}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EventsChoice:
    """Where events go by what the options say; nowhere by default."""

    descriptor: int | None = None
    file: str | None = None


NO_EVENTS: Final = EventsChoice()


def events_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--events-fd`` and ``--events`` to a command, which gets one ``events``."""
    from kata_bundle.cli.app import PathName

    @wraps(function)
    def wrapper(*args: Any, events_fd: int | None, events_file: str | None, **kwargs: Any) -> Any:
        return function(*args, events=EventsChoice(descriptor=events_fd, file=events_file), **kwargs)

    add_file = click.option(
        "--events", "events_file", metavar="FILE", type=PathName(dir_okay=False), help="Write events as JSON lines to FILE."
    )
    add_descriptor = click.option(
        "--events-fd", metavar="N", type=click.IntRange(0, 1 << 20),
        help="Write events as JSON lines to the open file descriptor N.",
    )  # fmt: skip
    return add_descriptor(add_file(wrapper))


@contextmanager
def watching(app: App, events: EventsChoice) -> Iterator[Watcher]:
    """Give who is told of a build, and let SIGTERM interrupt the build as SIGINT does; a second signal changes nothing.

    Raises as :func:`open_events` does.
    """
    from kata_bundle.build.events import NOBODY

    stream = open_events(events.descriptor, events.file, app.say)
    try:
        with _interruptible():
            yield stream or NOBODY
    finally:
        if stream is not None:
            stream.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    is_interrupted = False

    def interrupt(_signal: int, _frame: object) -> None:
        nonlocal is_interrupted
        if not is_interrupted:
            is_interrupted = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def open_events(descriptor: int | None, file: str | None, say: Callable[[str], None]) -> EventStream | None:
    """Return the stream that the options ask for, ``None`` without one; ``say`` takes a line for people.

    Raises :class:`UsageError` for both at once, and for a descriptor that is not open or cannot be written to.
    """
    if descriptor is not None and file is not None:
        msg = "--events-fd and --events exclude each other"
        raise UsageError(msg)
    if file is not None:
        return EventStream(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644), say)
    if descriptor is None:
        return None
    import fcntl

    try:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        msg = f"--events-fd {descriptor}: no such file descriptor is open"
        raise UsageError(msg, hint=f"redirect it: kata-bundle build --events-fd {descriptor} {descriptor}>events.jsonl") from None
    if mode == os.O_RDONLY or stat.S_ISDIR(os.fstat(descriptor).st_mode):
        msg = f"--events-fd {descriptor} cannot be written to: it is open for reading"
        raise UsageError(msg)
    return EventStream(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3), say)
