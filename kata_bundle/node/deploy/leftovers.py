"""Removing what an installer without receipts left, recomputed (installer specification §15.11, D35).

Must not know: receipts; where there is one, ``node.uninstall`` follows it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.node.adopt import find_in_place
from kata_bundle.node.cri.compose import is_cri_configured, plan_cri_removal
from kata_bundle.node.hostedit import HostDirectory
from kata_bundle.node.state import load_state, remove_tree

if TYPE_CHECKING:
    from kata_bundle.node.deploy.services import DeployServices
    from kata_bundle.node.deploy.session import Session
    from kata_bundle.node.machine import Machine

__all__ = ["remove_leftovers"]


def remove_leftovers(session: Session, machine: Machine, services: DeployServices, *, tree: bool = True) -> None:
    """Remove the runtime configuration, and with ``tree`` the in-place tree, that no receipt speaks of.

    Does nothing where this project's own installs are recorded. A restart that follows from it is made due in ``services``.
    Raises :class:`~kata_bundle.core.errors.HostError` and ``OSError``.
    """
    site = machine.site
    state = load_state(site)
    if state.receipts or os.path.lexists(site.journal) or os.path.lexists(site.paused):
        return
    version = session.config.runtime_version or (session.evidence.version if session.evidence else None)
    if version is not None:
        _remove_configuration(session, machine, services, version)
    if not tree:
        return
    found = find_in_place(machine)
    if found is None:
        return
    session.info(f"{site.dest} has a tree without a receipt ({', '.join(found.names)}): it goes")
    for name in found.names:
        remove_tree(machine.files, os.path.join(site.folder, name))
    if not os.path.ismount(site.folder):
        machine.files.remove_directory(site.folder)


def _remove_configuration(session: Session, machine: Machine, services: DeployServices, version: str) -> None:
    request = session.cri_request(services.runtime, version)
    host = HostDirectory(machine.site.root)
    if not is_cri_configured(host, request):
        return
    plan = plan_cri_removal(host, request)
    for warning in (*plan.warnings, *plan.left):
        session.warn(warning)
    for edit in plan.edits:
        session.info(f"{edit.path}: {edit.reason}")
        found = machine.host.state(edit.path)
        if edit.after is None:
            machine.host.remove(edit.path)
        else:
            mode, owner = (edit.mode, None) if found is None else (found.mode, (found.uid, found.gid))
            machine.host.replace(edit.path, edit.after, mode=mode, owner=owner)
        services.is_due = services.is_due or edit.loaded_by is not None
