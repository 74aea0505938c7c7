"""Uninstalling: host edits taken back three-way, then services, then the links, then the tree; only ever forward.

What the receipt records decides, never the present configuration (D35). Must not know: what was installed.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.errors import BundleError, InstallRestoredError
from kata_bundle.core.record import record
from kata_bundle.node.activate import activate, describe
from kata_bundle.node.edits import plan_reverts
from kata_bundle.node.journal import Action, Journal
from kata_bundle.node.ops import RemoveLink
from kata_bundle.node.plan import Plan, keep_contents, link_of, links_there, plan_calls, plan_removed_links, plan_services
from kata_bundle.node.recover import Recovered, recover
from kata_bundle.node.site import STATE
from kata_bundle.node.state import load_state
from kata_bundle.node.userfiles import find_user_files

if TYPE_CHECKING:
    from kata_bundle.node.edits import EditPlan
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.ops import Operation
    from kata_bundle.node.state import NodeState

__all__ = ["Uninstalled", "plan_uninstall", "uninstall"]


@record
class Uninstalled:
    """What an uninstall did. ``kept`` are host paths that stay because somebody else put or changed them there."""

    plan: Plan
    recovered: Recovered
    kept: tuple[str, ...]


def plan_uninstall(machine: Machine) -> Plan:
    """Return what :func:`uninstall` would do now; nothing is written."""
    return _plan(machine, load_state(machine.site))[0]


def uninstall(machine: Machine, *, pause: bool = False) -> Uninstalled:
    """Remove the install; with ``pause`` only what is outside the tree, so that another process removes the tree.

    The node-wide lock has to be held.

    Raises :class:`~kata_bundle.core.errors.InstallError` naming every step that failed, after all others were carried out; the
    next uninstall continues. Nothing installed is no error.
    """
    recovered = recover(machine)
    site = machine.site
    state = load_state(site)
    plan, edits = _plan(machine, state)
    if state.active is None and not state.receipts:
        return Uninstalled(plan=plan, recovered=recovered, kept=())
    try:
        keep_contents(machine, edits.contents)
        machine.files.sync_file_system(site.state)
    except (OSError, BundleError) as error:
        msg = f"the uninstall could not be prepared, nothing was changed: {describe(error)}"
        raise InstallRestoredError(msg) from error
    created = {*state.created, *(path for receipt in state.receipts.values() for path in receipt.created)}
    journal = Journal(
        action=Action.UNINSTALL,
        started=clock.timestamp(),
        operations=plan.operations,
        second_stage=plan.second_stage,
        created=tuple(sorted(created)),
    )
    activate(machine, journal, pause=pause)
    kept = tuple(path for path in sorted(created) if os.path.isdir(site.at(path)))
    return Uninstalled(plan=plan, recovered=recovered, kept=kept)


def _plan(machine: Machine, state: NodeState) -> tuple[Plan, EditPlan]:
    site, receipt = machine.site, state.latest
    edits = plan_reverts(machine, () if receipt is None else receipt.edits)
    there = links_there(site)
    operations: list[Operation] = []
    if receipt is not None:
        operations += plan_calls(receipt.stopping, "stops what is removed")
        operations += edits.operations
        operations += plan_calls(receipt.stopped, "lets go of what was removed")
        operations += plan_services(edits, (), receipt.restarts)
    second_stage = len(operations)
    operations += plan_removed_links(site, (), there)
    notes = list(edits.notes)
    if state.active is not None:
        operations.append(
            RemoveLink(
                path=site.state_path("current"), before=f"generations/{state.active}", reason="no generation is active any more"
            )
        )
    if receipt is not None:
        theirs = find_user_files(site.generation(receipt.generation), receipt.tree.entries)
        notes += [f"{posixpath.join(site.dest, path)} was added by an administrator: it goes with the tree" for path in theirs]
        inside = {path for path in (*state.created, *receipt.created) if path.startswith(site.dest + "/")}
        for name, target in there.items():
            path = posixpath.join(site.dest, name)
            if name != STATE and target != link_of(name) and path not in inside:
                notes.append(f"{path} is not of this install: it stays")
    removes = (site.state_path(), *sorted({*state.created, *(() if receipt is None else receipt.created)}, reverse=True))
    plan = Plan(
        action=Action.UNINSTALL,
        dest=site.dest,
        suffix=None if receipt is None else receipt.suffix,
        active=state.active,
        target=None,
        operations=tuple(operations),
        second_stage=second_stage,
        removes=removes if os.path.isdir(site.state) else (),
        notes=tuple(notes),
    )
    return plan, edits
