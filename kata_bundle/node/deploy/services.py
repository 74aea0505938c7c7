"""The host's services for this program: the runtime's restart noted, put off or repeated, and a CRI that may not be mounted.

Wraps :class:`~kata_bundle.node.hostservices.HostServices`. Must not know: files, the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.record import record
from kata_bundle.node.cri_api.values import CriError, CriStatus
from kata_bundle.node.hostservices import HostServices, confirm_cri, wait_unit_active
from kata_bundle.node.machine import Knowledge, Sandboxes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.core.events import Progress
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.cri_api.values import CriSandbox
    from kata_bundle.node.hostservices import Cri
    from kata_bundle.node.pause import Pause
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.systemd import Systemd

__all__ = ["DeployServices"]


class _NoCri:
    """The CRI of a runtime whose socket is not mounted."""

    def status(self) -> CriStatus:
        msg = "the container runtime's socket is not mounted here"
        raise CriError(msg)

    def sandboxes(self) -> tuple[CriSandbox, ...]:
        msg = "the container runtime's socket is not mounted here"
        raise CriError(msg)


@record(kw_only=False, frozen=False)
class DeployServices:
    """Services of one activation.

    ``handlers`` are those that have to be served afterwards, ``our_handlers`` those whose sandboxes are ours. With ``puts_off`` a
    restart of the runtime is only remembered, for :meth:`restart_now`: on k3s and rke2 it ends the very pod that asks for it.
    """

    runtime: Runtime
    systemd: Systemd
    cri: Cri | None
    progress: Progress
    pause: Pause
    handlers: tuple[str, ...] = ()
    our_handlers: frozenset[str] = frozenset()
    puts_off: bool = False
    enter: Callable[[str], None] = lambda _stage: None
    """Told when another stage begins."""
    restarted_at: float | None = None
    """When the runtime was restarted last, in seconds since the epoch."""
    is_due: bool = False
    """Whether a restart was put off."""

    def call(self, what: Mapping[str, JsonValue]) -> None:
        """Carry out one unit call; a restart of the runtime is preceded by a daemon-reload."""
        if what.get("verb") == "restart" and what.get("unit") == self.runtime.unit:
            if self.puts_off:
                self.is_due = True
                return
            self.restart_now()
            return
        self._host.call(what)

    def restart_now(self) -> None:
        """Restart the runtime; k0s picks changes up by itself."""
        self.is_due = False
        if self.runtime.is_k0s:
            return
        self.enter("restart")
        self.progress.note(f"restarting {self.runtime.unit}")
        self.systemd.daemon_reload()
        self.systemd.restart(self.runtime.unit)
        self.restarted_at = clock.now()

    def confirm(self) -> None:
        """Wait until the runtime serves what was configured; where it cannot be asked, until its unit is active.

        Raises :class:`~kata_bundle.node.hostservices.NotServingError`.
        """
        self.enter("gate")
        if self.cri is None:
            self.progress.note("the container runtime's socket is not mounted here: only its unit's state is known")
            wait_unit_active(self.systemd, self.runtime.unit, pause=self.pause)
            return
        self._host.confirm()

    def sandboxes(self) -> Sandboxes:
        """Return what is known of running sandboxes of this install."""
        return self._host.sandboxes() if self.cri is not None else Sandboxes(knowledge=Knowledge.UNREACHABLE)

    def wait_active(self) -> None:
        """Wait until the runtime's unit is active; raises :class:`~kata_bundle.node.hostservices.NotServingError`."""
        wait_unit_active(self.systemd, self.runtime.unit, pause=self.pause)

    def serves(self, *, within_s: float = 0.0) -> bool | None:
        """Return whether the runtime serves every handler now; ``None`` where it cannot be asked."""
        from kata_bundle.node.hostservices import NotServingError

        if self.cri is None:
            return None
        try:
            confirm_cri(self.cri, self.handlers, pause=self.pause, within_s=within_s)
        except NotServingError:
            return False
        return True

    def still_served(self) -> tuple[str, ...]:
        """Return those of our handlers that the runtime goes on serving; empty where it cannot be asked."""
        if self.cri is None:
            return ()
        try:
            served = self.cri.status().handlers or ()
        except CriError:
            return ()
        return tuple(name for name in served if name in self.our_handlers)

    @property
    def _host(self) -> HostServices:
        return HostServices(
            systemd=self.systemd,
            cri=self.cri or _NoCri(),
            unit=self.runtime.unit,
            handlers=self.handlers,
            our_handlers=self.our_handlers,
            progress=self.progress,
            pause=self.pause,
        )
