"""The machine that options name, and how its plans are told. Must not know: how a command line is parsed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kata_bundle.cli.invocation import App
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.plan import Plan

__all__ = ["live_machine", "machine_for", "plan_text", "show_plan", "tell_restarts"]


def machine_for(app: App, root: str, dest: str, suffix: str | None, *, may_be_missing: bool = False) -> Machine:
    """Return the machine that the options name; raise :class:`UsageError` when its root is missing and may not be."""
    from kata_bundle.core.errors import UsageError
    from kata_bundle.node.machine import DEFAULT_JOBS, Machine
    from kata_bundle.node.site import Site, destination

    if not may_be_missing and not os.path.isdir(root):
        message = f"root {root} does not exist"
        raise UsageError(message, hint="nothing is installed there; --root names the directory that stands for the host's root")
    return Machine(Site(os.path.realpath(root), destination(dest, suffix)), progress=app.progress, jobs=app.jobs or DEFAULT_JOBS)


def live_machine(
    app: App,
    root: str,
    dest: str,
    suffix: str | None,
    *,
    desired: Desired | None = None,
    to: int | None = None,
    leaving: bool = False,
    may_be_missing: bool = False,
) -> Machine:
    """Return the machine with the services of the system that runs from its root, if one does."""
    from kata_bundle.node.live import services_for

    machine = machine_for(app, root, dest, suffix, may_be_missing=may_be_missing)
    machine.services = services_for(machine.site, app.progress, desired=desired, to=to, leaving=leaving)
    return machine


def tell_restarts(app: App, machine: Machine) -> None:
    """Say which programs still run with what they loaded before, where no system could be asked to restart them."""
    if machine.site.root == "/":
        from kata_bundle.node.live import unmade_restarts

        for unit in unmade_restarts(machine.services):
            app.say(f"note: no systemd runs here; {unit} has to be restarted to load this")


def show_plan(app: App, plan: Plan) -> None:
    """Print a plan as text, or with ``--json`` as data."""
    app.emit({"dry_run": True, "plan": plan.to_dict()}, lambda: plan_text(plan))


def plan_text(plan: Plan) -> str:
    """Return everything a plan would do, one line each with its reason."""
    from kata_bundle.cli.render import plural, size_text
    from kata_bundle.core.relpath import printable

    if plan.changes_nothing:
        return "\n".join(["nothing to do", *(f"note: {note}" for note in plan.notes)])
    lines = [_headline(plan)]
    if plan.transfer_bytes is not None:
        lines.append(f"to be transferred: {size_text(plan.transfer_bytes)}")
    for layer in plan.layers:
        verb = "unpack" if layer["unpack"] else "reuse"
        size = layer["packed_size_bytes"]
        lines.append(f"  {verb:8} {layer['component']} ({size_text(size) if isinstance(size, int) else size}, {layer['origin']})")
    if plan.files:
        lines.append(f"{plural(len(plan.files), 'file')} of the tree differ:" if plan.active is not None else "files:")
        lines += [f"  {change.change:8} {printable(change.path)}  ({change.origin})" for change in plan.files]
    if plan.operations:
        lines.append(f"{plural(len(plan.operations), 'operation')} in this order:")
        lines += [f"  {operation.kind:16} {printable(operation.subject)}: {operation.reason}" for operation in plan.operations]
    if plan.removes:
        lines.append("then removed:")
        lines += [f"  {printable(path)}" for path in plan.removes]
    lines += [f"note: {note}" for note in plan.notes]
    lines.append(f"plan {plan.digest}")
    return "\n".join(lines)


def _headline(plan: Plan) -> str:
    if plan.target is None:
        return f"{plan.action} {plan.dest}" + (f" (generation {plan.active})" if plan.active is not None else "")
    if plan.active is None:
        return f"{plan.action} generation {plan.target} into {plan.dest}"
    if plan.active == plan.target:
        return f"{plan.action}: put generation {plan.target} in {plan.dest} right"
    return f"{plan.action}: generation {plan.active} to {plan.target} in {plan.dest}"
