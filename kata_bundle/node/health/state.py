"""How far the installer is, shared between the thread that works and the one that answers probes.

Must not know: HTTP, what a stage does.
"""

from __future__ import annotations

import threading

from kata_bundle.core import clock
from kata_bundle.core.record import record

__all__ = ["HealthState", "Snapshot", "StageTime"]


@record
class StageTime:
    """A stage that was entered: its name and how long it has taken; ``running`` when it has not ended."""

    name: str
    seconds: float
    running: bool


@record
class Snapshot:
    """The state at one moment. ``generation`` is ``None`` before an install is active, ``last_error`` before a failure."""

    ready: bool
    stages: tuple[StageTime, ...]
    payload_bytes: int
    generation: int | None
    last_error: str | None

    @property
    def word(self) -> str:
        """The state as probes spell it."""
        return "ready" if self.ready else "installing"


class HealthState:
    """The one mutable record; every method may be called from any thread. It starts as installing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready = False
        self._stages: list[tuple[str, float, float | None]] = []
        self._payload_bytes = 0
        self._generation: int | None = None
        self._last_error: str | None = None

    def set_ready(self) -> None:
        """The whole install succeeded."""
        with self._lock:
            self._end_stage()
            self._ready = True

    def set_installing(self) -> None:
        """An install is under way (again)."""
        with self._lock:
            self._ready = False

    def enter(self, stage: str) -> None:
        """``stage`` begins; the one before it has ended."""
        with self._lock:
            self._end_stage()
            self._stages.append((stage, clock.monotonic(), None))

    def add_bytes(self, amount: int) -> None:
        """``amount`` more bytes of payload are in place."""
        with self._lock:
            self._payload_bytes += amount

    def set_generation(self, generation: int) -> None:
        """``generation`` is the active one now."""
        with self._lock:
            self._generation = generation

    def fail(self, reason: str) -> None:
        """Something failed for ``reason``; the stage under way has ended."""
        with self._lock:
            self._end_stage()
            self._last_error = reason

    def snapshot(self) -> Snapshot:
        """Return the state now."""
        with self._lock:
            now = clock.monotonic()
            return Snapshot(
                ready=self._ready,
                stages=tuple(
                    StageTime(name=name, seconds=(now if end is None else end) - start, running=end is None)
                    for name, start, end in self._stages
                ),
                payload_bytes=self._payload_bytes,
                generation=self._generation,
                last_error=self._last_error,
            )

    def _end_stage(self) -> None:
        if self._stages and self._stages[-1][2] is None:
            name, start, _ = self._stages[-1]
            self._stages[-1] = (name, start, clock.monotonic())
