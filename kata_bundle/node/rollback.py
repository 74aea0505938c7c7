"""Going back to a generation that is still there: its tree, its host edits, and the administrators' files of today.

Nothing is unpacked and no source is needed. Must not know: bundles, configurations.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.errors import BundleError, HostError, InstallRestoredError, IntegrityError, UsageError
from kata_bundle.core.record import record, replace
from kata_bundle.node.activate import activate, describe
from kata_bundle.node.edits import plan_restored_edits
from kata_bundle.node.journal import Action, Journal
from kata_bundle.node.plan import (
    Plan,
    file_changes,
    keep_contents,
    links_there,
    plan_calls,
    plan_links,
    plan_removed_links,
    plan_second_copy,
    plan_services,
    plan_switch,
)
from kata_bundle.node.recover import Recovered, recover
from kata_bundle.node.state import load_state
from kata_bundle.node.userfiles import find_user_files, mirror_user_files
from kata_bundle.node.verify import inspect_generation

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.node.edits import EditPlan
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.receipt import Receipt
    from kata_bundle.node.state import NodeState

__all__ = ["RolledBack", "plan_rollback", "rollback"]


@record
class RolledBack:
    """What a rollback did."""

    plan: Plan
    receipt: Receipt
    recovered: Recovered


def plan_rollback(machine: Machine, number: int | None = None) -> Plan:
    """Return what :func:`rollback` would do now; nothing is written."""
    state = load_state(machine.site)
    return _plan(machine, state, _target(state, number))[0]


def rollback(machine: Machine, number: int | None = None) -> RolledBack:
    """Make generation ``number`` (default: the one active before) the active one again. The node-wide lock has to be held.

    Raises :class:`HostError` when there is nothing to go back to, :class:`IntegrityError` when the generation is damaged, and
    what :func:`~kata_bundle.node.activate.activate` raises.
    """
    recovered = recover(machine)
    state = load_state(machine.site)
    target = _target(state, number)
    plan, edits, user_files = _plan(machine, state, target)
    now = clock.timestamp()
    receipt = replace(
        target,
        activated=now,
        previous=state.active if target.generation != state.active else target.previous,
        created=tuple(dict.fromkeys((*_created(state), *target.created, *edits.created))),
        edits=tuple(edits.records),
    )
    if plan.changes_nothing:
        return RolledBack(plan=plan, receipt=target, recovered=recovered)
    site = machine.site
    try:
        keep_contents(machine, edits.contents)
        if state.active is not None and state.active != target.generation:
            source, folder = site.generation(state.active), site.generation(target.generation)
            mirror_user_files(machine.files, source, folder, user_files, target.tree.entries)
        machine.files.sync_file_system(site.state)
    except (OSError, BundleError) as error:
        msg = f"the rollback could not be prepared, nothing was changed: {describe(error)}"
        raise InstallRestoredError(msg) from error
    journal = Journal(action=Action.ROLLBACK, started=now, operations=plan.operations, receipts=(receipt,), replaced=(target,))
    activate(machine, journal)
    return RolledBack(plan=plan, receipt=receipt, recovered=recovered)


def _target(state: NodeState, number: int | None) -> Receipt:
    if state.latest is None:
        msg = "nothing is installed"
        raise HostError(msg)
    if number is None:
        number = state.latest.previous
        if number is None or number not in state.receipts:
            msg = "there is no earlier generation to go back to"
            raise HostError(msg, hint=f"generations here: {', '.join(map(str, sorted(state.receipts)))}")
    if number not in state.receipts:
        msg = f"there is no generation {number}"
        raise UsageError(msg, hint=f"generations here: {', '.join(map(str, sorted(state.receipts)))}")
    return state.receipts[number]


def _plan(machine: Machine, state: NodeState, target: Receipt) -> tuple[Plan, EditPlan, dict[RelPath, Digest]]:
    site, old = machine.site, state.latest
    number = target.generation
    inspection = inspect_generation(machine, target)
    if inspection.drifted and number != state.active:
        names = (*inspection.changed, *inspection.missing, *inspection.extra)
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        msg = f"generation {number} is damaged: {shown}"
        raise IntegrityError(msg, hint="install the bundle it came from instead")
    user_files: dict[RelPath, Digest] = {}
    ours: tuple[RelPath, ...] = ()
    if old is not None and os.path.isdir(site.generation(old.generation)):
        ours = tuple(old.tree.entries)
        user_files = {
            path: digest
            for path, digest in find_user_files(site.generation(old.generation), ours).items()
            if path not in target.tree.entries
        }
    names_there = {path.split("/", 1)[0] for path in (*target.tree.entries, *user_files)}
    there = links_there(site)
    leaving = () if old is None else tuple(call for call in old.stopping if call not in target.stopping)
    edits = plan_restored_edits(machine, target.edits, () if old is None else old.edits)
    operations = [
        *plan_links(site, names_there, there),
        *plan_switch(site, state.active, number),
        *plan_removed_links(site, names_there, there),
        *plan_second_copy(site, state.active, number, user_files, ours),
        *plan_calls(leaving, "no longer wanted"),
        *edits.operations,
    ]
    if operations:
        operations += plan_services(edits, target.services, target.restarts)
    plan = Plan(
        action=Action.ROLLBACK,
        dest=target.dest,
        suffix=target.suffix,
        active=state.active,
        target=number,
        tree=target.tree.digest,
        files=file_changes(None if old is None else old.tree, target.tree, {}, target.generated, target.retained),
        operations=tuple(operations),
        notes=tuple(edits.notes),
    )
    return plan, edits, user_files


def _created(state: NodeState) -> tuple[str, ...]:
    return () if state.latest is None else state.latest.created
