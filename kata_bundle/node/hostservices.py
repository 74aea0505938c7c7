"""The host's services for an activation: systemd for unit calls, the CRI for the question whether the new state is served.

Sources: installer specification §21, §23.3; D42. Success means that the CRI itself answers and serves the handlers: a restarted
containerd 1.x can be an active unit whose CRI is dead. No sandbox is made to find out. Must not know: files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kata_bundle.core import clock
from kata_bundle.core.errors import HostError, InstallError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.record import record
from kata_bundle.node.cri_api.values import CriError, our_sandboxes
from kata_bundle.node.kube.readiness import missing_handlers
from kata_bundle.node.machine import Knowledge, Sandboxes
from kata_bundle.node.pause import poll, sleep_through

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.core.events import Progress
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.cri_api.values import CriSandbox, CriStatus
    from kata_bundle.node.pause import Pause
    from kata_bundle.node.systemd import Systemd

__all__ = ["Cri", "HostServices", "NotServingError", "confirm_cri", "wait_unit_active"]

UNIT_WITHIN_S = 300.0
CRI_WITHIN_S = 120.0
_POLL_S = 2.0


class Cri(Protocol):
    """What is asked of the container runtime."""

    def status(self) -> CriStatus:
        """Return its conditions and handlers."""

    def sandboxes(self) -> tuple[CriSandbox, ...]:
        """Return its pod sandboxes."""


class NotServingError(InstallError):
    """The container runtime does not serve what was configured."""


def wait_unit_active(
    systemd: Systemd,
    unit: str,
    *,
    pause: Pause = sleep_through,
    within_s: float = UNIT_WITHIN_S,
    now: Callable[[], float] = clock.monotonic,
) -> None:
    """Return when ``unit`` is active; raise :class:`NotServingError` when it is not within ``within_s`` seconds.

    A systemd that cannot be asked for a moment counts as "not yet".
    """
    seen = ""

    def look() -> bool:
        nonlocal seen
        try:
            state = systemd.unit_state(unit)
        except HostError as error:
            seen = str(error)
            return False
        seen = f"{state.active_state} ({state.sub_state})"
        return state.is_active

    if not poll(look, every_s=_POLL_S, within_s=within_s, pause=pause, doing=f"waiting for {unit}", now=now):
        msg = f"{unit} was not active within {within_s:g} s: {seen}"
        raise NotServingError(msg, hint=f"journalctl -u {unit} says why")


def confirm_cri(
    cri: Cri,
    handlers: tuple[str, ...],
    *,
    pause: Pause = sleep_through,
    within_s: float = CRI_WITHIN_S,
    now: Callable[[], float] = clock.monotonic,
) -> None:
    """Return when the CRI answers, is ready and serves every one of ``handlers``.

    A release that does not tell its handlers is taken at its word that it is ready. Raises :class:`NotServingError`, saying what
    was missing last, after ``within_s`` seconds.
    """
    trouble = ""

    def look() -> bool:
        nonlocal trouble
        try:
            status = cri.status()
        except CriError as error:
            trouble = str(error)
            return False
        if not status.is_ready:
            trouble = f"the container runtime is not ready: {status.not_ready_reason}"
            return False
        missing = () if status.handlers is None else missing_handlers(handlers, status.handlers)
        trouble = f"the container runtime does not serve {', '.join(missing)}"
        return not missing

    if not poll(look, every_s=_POLL_S, within_s=within_s, pause=pause, doing="waiting for the container runtime", now=now):
        msg = f"{trouble} ({within_s:g} s after the change)"
        raise NotServingError(msg, hint="the container runtime's log says why it did not load them")


@record(kw_only=False, frozen=False)
class HostServices:
    """Carries out unit calls over ``systemd`` and asks ``cri`` afterwards.

    ``unit`` is the runtime's own unit, ``handlers`` those that have to be served after the change, ``our_handlers`` those whose
    sandboxes are of this install (the former and any that an earlier generation had).
    """

    systemd: Systemd
    cri: Cri
    unit: str
    handlers: tuple[str, ...] = ()
    our_handlers: frozenset[str] = frozenset()
    progress: Progress = NO_PROGRESS
    pause: Pause = sleep_through
    unit_within_s: float = UNIT_WITHIN_S
    cri_within_s: float = CRI_WITHIN_S

    def call(self, what: Mapping[str, JsonValue]) -> None:
        """Carry out one unit call: ``verb``, ``unit`` and ``may_fail`` as :class:`~kata_bundle.node.cri.model.UnitCall` has them.

        Raises :class:`~kata_bundle.node.systemd.SystemdError` unless it may fail.
        """
        verb, unit = str(what.get("verb", "")), str(what.get("unit", ""))
        try:
            self._carry_out(verb, unit)
        except HostError as error:
            if what.get("may_fail") is not True:
                raise
            self.progress.note(f"{verb} {unit}: {error}; going on")

    def confirm(self) -> None:
        """Wait until the runtime's unit is active and its CRI serves the handlers; raises :class:`NotServingError`."""
        wait_unit_active(self.systemd, self.unit, pause=self.pause, within_s=self.unit_within_s)
        confirm_cri(self.cri, self.handlers, pause=self.pause, within_s=self.cri_within_s)

    def sandboxes(self) -> Sandboxes:
        """Return when the oldest sandbox of ours was started; unreachable is told apart from none."""
        try:
            found = self.cri.sandboxes()
        except CriError as error:
            self.progress.note(f"running sandboxes are not known: {error}")
            return Sandboxes(knowledge=Knowledge.UNREACHABLE)
        ours = our_sandboxes(found, self.our_handlers | frozenset(self.handlers))
        return Sandboxes(knowledge=Knowledge.ANSWERED, oldest=clock.timestamp(ours[0].created_at) if ours else None)

    def _carry_out(self, verb: str, unit: str) -> None:
        match verb:
            case "daemon-reload":
                self.systemd.daemon_reload()
            case "restart":
                self.systemd.restart(unit)
            case "stop":
                self.systemd.stop(unit)
            case "enable":
                self.systemd.enable(unit)
            case "disable":
                self.systemd.disable(unit)
            case _:
                msg = f'"{verb}" is no call to systemd that an installer makes'
                raise InstallError(msg)
