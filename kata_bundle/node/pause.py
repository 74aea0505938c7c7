"""Waiting that can be cut short: every loop that polls takes a :data:`Pause`, so that tests need no clock, SIGTERM no wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pause", "StopRequestedError", "poll", "sleep_through"]

if TYPE_CHECKING:
    Pause = Callable[[float], bool]
    """Waits so many seconds, or less; returns whether the process was asked to end meanwhile (``Termination.wait``)."""


class StopRequestedError(BundleError):
    """The process was asked to end while it waited."""

    exit_code = 130

    def __init__(self, doing: str) -> None:
        super().__init__(f"asked to end while {doing}")


def sleep_through(seconds: float) -> bool:
    """Wait ``seconds`` whatever happens: the pause of a process that nobody asks to end."""
    time.sleep(seconds)
    return False


def poll(
    look: Callable[[], bool],
    *,
    every_s: float,
    within_s: float,
    pause: Pause,
    doing: str,
    now: Callable[[], float] = clock.monotonic,
) -> bool:
    """Call ``look`` at once and then every ``every_s`` seconds; return whether it was true within ``within_s``.

    Raises :class:`StopRequestedError` when a pause was cut short.
    """
    end = now() + within_s
    while not look():
        left = end - now()
        if left <= 0:
            return False
        if pause(min(every_s, left)):
            raise StopRequestedError(doing)
    return True
