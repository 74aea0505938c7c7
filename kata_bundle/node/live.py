"""Who carries out unit calls for a command that is run by hand: the system that runs from the root directory, if one does.

A root directory that no system runs from has nobody to ask; there calls are only recorded. Must not know: plans, configurations.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.node.handlers import handler
from kata_bundle.node.machine import RecordingServices
from kata_bundle.node.state import load_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.events import Progress
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.machine import Services
    from kata_bundle.node.site import Site

__all__ = ["services_for", "unmade_restarts"]


def services_for(
    site: Site, progress: Progress, *, desired: Desired | None = None, to: int | None = None, leaving: bool = False
) -> Services:
    """Return the services for an install of ``desired``, with ``leaving`` for an uninstall, else for a rollback to ``to``.

    Restarts are those of the container runtime that the install configures; where it configures none, or no system runs from
    the root directory, nothing is carried out. Raises :class:`~kata_bundle.node.systemd.SystemdUnavailableError` for a systemd
    that is there and does not answer.
    """
    state = load_state(site)
    restarts: dict[str, Mapping[str, JsonValue]] = {} if state.latest is None else dict(state.latest.restarts)
    names: tuple[str, ...] = ()
    if desired is not None:
        restarts |= desired.restarts
        if desired.restarts:
            names = tuple(handler(shim, desired.suffix) for shim in desired.selection.shims)
    elif not leaving and state.latest is not None:
        number = state.latest.previous if to is None else to
        target = None if number is None else state.receipts.get(number)
        if target is not None and target.restarts:
            restarts |= target.restarts
            names = tuple(handler(shim, target.suffix) for shim in target.shims)
    units = {str(call.get("unit")) for call in restarts.values()}
    if not units:
        return RecordingServices()
    # Most of what follows is needed on living nodes alone, and takes time to import.
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.systemd.find import has_systemd

    runtime = next((runtime for runtime in Runtime if runtime.unit in units), None)
    if runtime is None or not has_systemd(site.root):
        return RecordingServices()
    from kata_bundle.node.cri_api.client import CriClient
    from kata_bundle.node.cri_api.values import cri_socket
    from kata_bundle.node.deploy.services import DeployServices
    from kata_bundle.node.pause import sleep_through
    from kata_bundle.node.systemd import open_systemd

    place = os.path.join(site.root, cri_socket(runtime).lstrip("/"))
    earlier = {handler(shim, receipt.suffix) for receipt in state.receipts.values() for shim in receipt.shims}
    return DeployServices(
        runtime=runtime,
        systemd=open_systemd(site.root),
        cri=CriClient(place) if os.path.isdir(os.path.dirname(place)) else None,
        progress=progress,
        pause=sleep_through,
        handlers=names,
        our_handlers=frozenset({*names, *earlier}),
    )


def unmade_restarts(services: Services) -> tuple[str, ...]:
    """Return the units whose restart was asked for and only recorded."""
    if not isinstance(services, RecordingServices):
        return ()
    return tuple(dict.fromkeys(str(call.get("unit")) for call in services.calls if call.get("verb") == "restart"))
