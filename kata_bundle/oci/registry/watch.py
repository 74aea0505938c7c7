"""Cuts connections that take too long or move too little. One thread looks after all of a client's connections.

A socket's own time limit starts anew with every byte, so a server that sends one now and then could hold us for ever: in the
status line, in a header, in a body, after it. Cutting is shutting the socket down, whereupon the thread that reads it fails at
once. Must not know: HTTP.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from kata_bundle.core import clock

if TYPE_CHECKING:
    from socket import socket  # noqa: TID251 - a type; urllib3 opens it

__all__ = ["Guard", "Watch"]

_BOTH_WAYS: Final = 2
"""``SHUT_RDWR`` of shutdown(2)."""


class Guard:
    """One connection under watch. ``advance`` is what moved; ``cut`` says why the connection was ended, if it was."""

    __slots__ = ("_connection", "_due", "_slow", "_watch", "cut", "moved")

    def __init__(self, watch: Watch, connection: socket) -> None:
        self._watch = watch
        self._connection = connection
        self._due = 0.0
        self._slow: tuple[int, float] | None = None
        self.moved = 0
        self.cut: str | None = None

    def within(self, seconds: float) -> None:
        """End the connection unless the next call comes within ``seconds``."""
        self._slow = None
        self._due = clock.monotonic() + seconds
        self._watch.add(self)

    def at_least(self, count: int, seconds: float) -> None:
        """From now on, end the connection when fewer than ``count`` bytes move in ``seconds``."""
        self.moved = 0
        self._slow = (count, seconds)
        self._due = clock.monotonic() + seconds
        self._watch.add(self)

    def advance(self, count: int) -> None:
        """``count`` bytes moved."""
        self.moved += count

    def release(self) -> None:
        """The connection is nobody's for now."""
        self._watch.remove(self)

    def look(self, now: float) -> float:
        """End the connection when it is time to; return when to look again."""
        if now < self._due:
            return self._due
        if self._slow is not None and self.moved >= self._slow[0]:
            self.moved = 0
            self._due = now + self._slow[1]
            return self._due
        self.end("no answer in time" if self._slow is None else f"fewer than {self._slow[0]} bytes in {self._slow[1]:g} s")
        return float("inf")

    def end(self, why: str) -> None:
        """End the connection."""
        self.cut = why
        import ssl

        try:
            # TLS sockets close their layer first, under the feet of the thread that reads: the plain method does not.
            if isinstance(self._connection, ssl.SSLSocket):
                super(ssl.SSLSocket, self._connection).shutdown(_BOTH_WAYS)
            else:
                self._connection.shutdown(_BOTH_WAYS)
        except (OSError, ValueError):
            return  # it ended by itself meanwhile


class Watch:
    """The thread and what it watches. It is started with the first guard, and holds up no exit of the program."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._guards: set[Guard] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def guard(self, connection: socket) -> Guard:
        """Return a guard for ``connection``; it watches once it is told what for."""
        return Guard(self, connection)

    def add(self, guard: Guard) -> None:
        """Watch ``guard``, or look at its new limits."""
        with self._wake:
            self._guards.add(guard)
            if self._closed:
                guard.end("the client was closed")
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kata-bundle-registry-watch", daemon=True)
                self._thread.start()
            else:
                self._wake.notify()

    def remove(self, guard: Guard) -> None:
        """Watch ``guard`` no longer."""
        with self._wake:
            self._guards.discard(guard)

    def close(self) -> None:
        """End every watched connection, and every one that comes later."""
        with self._wake:
            self._closed = True
            for guard in self._guards:
                guard.end("the client was closed")
            self._guards.clear()
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        with self._wake:
            while not self._closed:
                now = clock.monotonic()
                due = min((guard.look(now) for guard in self._guards), default=float("inf"))
                self._wake.wait(None if due == float("inf") else max(due - now, 0.001))
