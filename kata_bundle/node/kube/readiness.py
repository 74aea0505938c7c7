"""When a node may be believed to be ready, and which handlers it serves (installer specification §21, D27). Pure.

Must not know: how the API is reached, how long is waited.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "STATUS_PERIOD_S",
    "HandlerVerdict",
    "LoadedHandlers",
    "ReadyCondition",
    "ReadyGate",
    "dispatcher_verdict",
    "installer_verdict",
    "missing_handlers",
]

STATUS_PERIOD_S = 10.0
"""The kubelet's default ``nodeStatusUpdateFrequency``: within it, a kubelet that is not ready has said so."""


@record
class ReadyCondition:
    """A node's ``Ready`` condition: ``True``, ``False`` or ``Unknown``, and when the kubelet last said so (whole seconds)."""

    status: str
    heartbeat: float | None


class ReadyGate:
    """Decides from successive observations whether ``Ready`` is newer than a restart.

    The kubelet writes its status only every few minutes while nothing changes, and what stands there right after a restart is
    from before it. Believed is a ``True`` whose heartbeat is later than ``restarted_at`` (seconds since the epoch on the node's
    clock); for an observer elsewhere (``None``), one whose heartbeat has changed while we watched; for both, a ``True`` seen
    without a break for longer than ``period_s``.
    """

    def __init__(self, *, restarted_at: float | None, period_s: float = STATUS_PERIOD_S) -> None:
        self._restarted_at = restarted_at
        self._period_s = period_s
        self._first: ReadyCondition | None = None
        self._since: float | None = None

    def observe(self, condition: ReadyCondition | None, now: float) -> bool:
        """Take one observation at monotonic time ``now`` (``None``: reading failed); return whether the node is ready."""
        if condition is None or condition.status != "True":
            self._since = None
            if condition is not None and self._first is None:
                self._first = condition
            return False
        if self._first is None:
            self._first = condition
        if self._since is None:
            self._since = now
        heartbeat = condition.heartbeat
        if heartbeat is not None:
            if self._restarted_at is not None:
                if heartbeat > self._restarted_at:
                    return True
            elif self._first.heartbeat is not None and heartbeat > self._first.heartbeat:
                return True
        return now - self._since > self._period_s


def missing_handlers(expected: Sequence[str], served: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``expected`` that are not in ``served``, in order; only equal names count."""
    known = frozenset(served)
    return tuple(name for name in expected if name not in known)


class HandlerVerdict(StrEnum):
    """What the dispatcher concludes about a node."""

    SERVING = "serving"
    NOT_SERVING = "not_serving"
    UNANSWERABLE = "unanswerable"


def dispatcher_verdict(
    expected: Sequence[str], served: Sequence[str] | None
) -> tuple[HandlerVerdict, tuple[str, ...], tuple[str, ...]]:
    """Return the verdict, the expected handlers served and those missing.

    One of ours is enough; ``served`` is ``None`` where the kubelet does not report handlers.
    """
    if served is None or not expected:
        return HandlerVerdict.UNANSWERABLE, (), ()
    missing = missing_handlers(expected, served)
    serving = tuple(name for name in expected if name not in missing)
    return (HandlerVerdict.SERVING if serving else HandlerVerdict.NOT_SERVING), serving, missing


class LoadedHandlers(StrEnum):
    """What the installer concludes when its wait is over."""

    ALL = "all_loaded"
    PARTIAL = "partial"
    NONE = "none"
    UNKNOWN = "unknown"


def installer_verdict(expected: Sequence[str], served: Sequence[str] | None) -> LoadedHandlers:
    """Return how many of ``expected`` are served; unknown when nothing is expected or the kubelet does not report handlers."""
    if served is None or not expected:
        return LoadedHandlers.UNKNOWN
    missing = missing_handlers(expected, served)
    if not missing:
        return LoadedHandlers.ALL
    return LoadedHandlers.NONE if len(missing) == len(expected) else LoadedHandlers.PARTIAL
