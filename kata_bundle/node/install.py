"""Installing: from what a node shall have to a new active generation, or to nothing at all when everything is as it shall be.

Payload first (linked from the active generation, or unpacked into the new one), then the overlay, then the plan, then the rest of
the new tree, then activation. A dry run takes the same way but for unpacking, and so makes the same plan. Must not know: what
configurations or host edits say.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kata_bundle import __version__
from kata_bundle.core import clock
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import BundleError, InstallRestoredError, UsageError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.node.activate import activate, describe, remove_state
from kata_bundle.node.edits import PristineHost, plan_edits
from kata_bundle.node.gc import prune
from kata_bundle.node.generations import Previous, Staging
from kata_bundle.node.journal import Action, Journal
from kata_bundle.node.overlay import OverlayFile, TreeEditor, with_overlay
from kata_bundle.node.payload import Contents, LayerSet, known_layers, merge_layers, scan_layers
from kata_bundle.node.plan import (
    Plan,
    file_changes,
    keep_contents,
    links_there,
    plan_links,
    plan_removed_links,
    plan_second_copy,
    plan_services,
    plan_switch,
)
from kata_bundle.node.receipt import Receipt, ReceiptKind
from kata_bundle.node.recover import Recovered, recover, sweep
from kata_bundle.node.state import NodeState, ensure_state, load_state
from kata_bundle.node.verify import Inspection, inspect_generation, same_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.core.digest import Digest
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.edits import EditPlan
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.payload import MergedPayload
    from kata_bundle.node.source import LayerRef

__all__ = ["SHIM_BINARIES", "Installed", "install", "plan_install"]

SHIM_BINARIES: Final = (RelPath("bin/containerd-shim-kata-v2"), RelPath("runtime-rs/bin/containerd-shim-kata-v2"))
"""Paths that containerd remembers for a sandbox as long as it lives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """What an install did."""

    plan: Plan
    receipt: Receipt | None
    """The active receipt afterwards; ``None`` when nothing was selected and nothing is installed."""
    recovered: Recovered
    pruned: tuple[int, ...] = ()


@dataclass(kw_only=True)
class _Work:
    """One install while it is prepared."""

    machine: Machine
    desired: Desired
    state: NodeState
    refs: Sequence[LayerRef]
    inspection: Inspection | None
    contents: Contents
    known: dict[str, Tree]


@dataclass(kw_only=True)
class _Prepared:
    """Everything decided: the plan, and what applying it needs."""

    plan: Plan
    receipt: Receipt
    payload: MergedPayload
    layers: LayerSet
    edits: EditPlan


def plan_install(machine: Machine, desired: Desired) -> Plan:
    """Return what :func:`install` would do now; nothing is written, layers that are not installed are read to the end."""
    state = load_state(machine.site)
    if not desired.selection.components:
        return _nothing(desired, state)
    work = _begin(machine, desired, state)
    unknown = [ref for ref in work.refs if ref.component not in work.known]
    trees = scan_layers(unknown, work.contents, progress=machine.progress)
    return _prepare(work, trees).plan


def install(machine: Machine, desired: Desired, *, keep: int = 2, approved: Digest | None = None) -> Installed:
    """Make the node have what is ``desired``. The node-wide lock has to be held.

    With ``approved``, only a plan of that digest is carried out. Raises what :func:`~kata_bundle.node.recover.recover` and
    :func:`~kata_bundle.node.activate.activate` raise; :class:`InstallRestoredError` when staging failed, and every error of the
    source as it is, after which everything is as before.
    """
    recovered = recover(machine)
    state = load_state(machine.site)
    if not desired.selection.components:
        return Installed(plan=_nothing(desired, state), receipt=state.receipt, recovered=recovered)
    work = _begin(machine, desired, state)
    unknown = [ref for ref in work.refs if ref.component not in work.known]
    staging = Staging(machine, state.next_number)
    try:
        trees: dict[str, Tree] = {}
        if unknown:
            ensure_state(machine.site, machine.files)
            staging.begin()
            trees = staging.extract(unknown, work.contents, desired.dest)
        prepared = _prepare(work, trees)
        if approved is not None and prepared.plan.digest != approved:
            msg = f"the plan is {prepared.plan.digest} now, approved was {approved}"
            raise UsageError(msg, hint="look at the plan again")
        if prepared.plan.changes_nothing and prepared.receipt == state.receipt:
            staging.discard()
            return Installed(plan=prepared.plan, receipt=state.receipt, recovered=recovered)
        journal = _stage(work, prepared, staging, begun=bool(unknown))
    except (OSError, BundleError) as error:
        _abandon(machine, staging)
        if isinstance(error, BundleError):
            raise
        msg = f"the new generation could not be built, nothing was changed: {describe(error)}"
        raise InstallRestoredError(msg) from error
    try:
        activate(machine, journal)
    except InstallRestoredError:
        _abandon(machine, staging)
        raise
    pruned = prune(machine, keep=keep)
    return Installed(plan=prepared.plan, receipt=load_state(machine.site).receipt, recovered=recovered, pruned=pruned)


def _begin(machine: Machine, desired: Desired, state: NodeState) -> _Work:
    selection = desired.selection
    refs = [desired.source.layer(selection.arch, component) for component in selection.components]
    contents = Contents(machine.objects)
    receipt, inspection, known = state.receipt, None, dict[str, Tree]()
    if receipt is not None:
        inspection = inspect_generation(machine, receipt)
        folder = machine.site.generation(receipt.generation)
        for path in sorted(inspection.unchanged):
            entry = TreeEditor(receipt.tree).content(path)
            if isinstance(entry, File):
                contents.files.setdefault(entry.digest, f"{folder}/{path}")
        known = known_layers(refs, receipt.layers, contents)
    return _Work(machine=machine, desired=desired, state=state, refs=refs, inspection=inspection, contents=contents, known=known)


def _prepare(work: _Work, trees: dict[str, Tree]) -> _Prepared:
    machine, desired, state = work.machine, work.desired, work.state
    site, old = machine.site, work.state.receipt
    layers = LayerSet()
    for ref in work.refs:
        layers.add(ref, work.known[ref.component] if ref.component in work.known else trees[ref.component])
    payload = merge_layers(layers, dest=desired.dest, contents=work.contents)
    overlay = desired.overlay(payload)
    for entry in overlay.files.values():
        if isinstance(entry, OverlayFile):
            work.contents.memory[digest_bytes(entry.data)] = entry.data
    tree = with_overlay(payload.tree, overlay)
    tree, retained = _retain(tree, old, work.inspection)
    user_files = dict(work.inspection.user_files) if work.inspection is not None else {}
    notes = [*payload.conflicts, *_displaced(tree, user_files)]
    names = {path.split("/", 1)[0] for path in (*tree.entries, *user_files)}
    is_same = old is not None and work.inspection is not None and not work.inspection.drifted and same_tree(old.tree, tree)
    target = state.active if is_same and state.active is not None else state.next_number
    there = links_there(site)
    records = () if old is None else old.edits
    edits = plan_edits(machine, desired.edits(PristineHost(machine, records, desired.ours)), records, ours=desired.ours)
    operations = [
        *plan_links(site, names, there),
        *plan_switch(site, state.active, target),
        *plan_removed_links(site, names, there),
        *plan_second_copy(site, state.active, target, user_files, () if old is None else old.tree.entries),
        *edits.operations,
    ]
    if operations or not is_same:
        operations += plan_services(edits, desired.services, desired.restarts)
    plan = Plan(
        action=Action.INSTALL,
        dest=desired.dest,
        suffix=desired.suffix,
        active=state.active,
        target=target,
        stages=not is_same,
        tree=tree.digest,
        layers=tuple(
            {**layer.to_dict(), "component": layer.component, "unpack": layer.component not in work.known}
            for layer in layers.layers
        ),
        files=file_changes(None if old is None else old.tree, tree, payload.owners, tuple(overlay.files), retained),
        operations=tuple(operations),
        notes=(*notes, *edits.notes),
    )
    created = tuple(dict.fromkeys((*(() if old is None else old.created), *edits.created)))
    receipt = Receipt(
        generation=target,
        kind=ReceiptKind.INSTALLED,
        activated=clock.timestamp(),
        previous=(old.previous if is_same else old.generation) if old is not None else None,
        tool=f"kata-bundle {__version__}",
        dest=desired.dest,
        suffix=desired.suffix,
        arch=desired.selection.arch.value,
        source=desired.source.kind,
        source_digest=desired.source.digest(),
        shims=desired.selection.shims,
        layers={layer.component: layer for layer in layers.layers},
        tree=tree,
        generated=tuple(sorted(overlay.files)),
        retained=retained,
        created=created,
        edits=tuple(edits.records),
        services=desired.services,
    )
    if old is not None and is_same and replace(receipt, activated=old.activated, tool=old.tool).to_dict() == old.to_dict():
        receipt = old
    return _Prepared(plan=plan, receipt=receipt, payload=payload, layers=layers, edits=edits)


def _stage(work: _Work, prepared: _Prepared, staging: Staging, *, begun: bool) -> Journal:
    """Build what the plan needs on disk, flushed; return the journal."""
    machine, old, plan = work.machine, work.state.receipt, prepared.plan
    ensure_state(machine.site, machine.files)
    originals = {
        entry.digest for tree in prepared.layers.trees.values() for entry in tree.entries.values() if isinstance(entry, File)
    } - {entry.digest for entry in prepared.receipt.tree.entries.values() if isinstance(entry, File)}
    staging.keep_originals(originals, work.contents)
    for tree in prepared.layers.trees.values():
        machine.objects.put(tree.to_json())
    keep_contents(machine, prepared.edits.contents)
    if plan.stages:
        if not begun:
            staging.begin()
        previous = None
        if old is not None and work.inspection is not None:
            previous = Previous(
                folder=machine.site.generation(old.generation),
                tree=old.tree,
                unchanged=work.inspection.unchanged,
                generated=frozenset(old.generated),
            )
        staging.fill(prepared.receipt.tree, work.contents, previous, prepared.receipt.generated)
        if previous is not None and work.inspection is not None:
            wanted = {p: d for p, d in work.inspection.user_files.items() if p not in prepared.receipt.tree.entries}
            staging.carry(previous.folder, wanted, prepared.receipt.tree.entries)
        staging.finish()
    else:
        staging.discard()
        machine.files.sync_file_system(machine.site.state)
    is_new = plan.target != work.state.active
    return Journal(
        action=Action.INSTALL,
        started=prepared.receipt.activated if is_new else clock.timestamp(),
        operations=plan.operations,
        receipts=(prepared.receipt,),
        replaced=() if is_new or old is None else (old,),
    )


def _abandon(machine: Machine, staging: Staging) -> None:
    """Take back what staging wrote, as far as that is possible; what is not is garbage that the next start removes."""
    try:
        staging.discard()
        now = load_state(machine.site)
        if not now.receipts and now.active is None and not now.interrupted and os.path.isdir(machine.site.state):
            remove_state(machine, now.created)
        else:
            sweep(machine)
    except (OSError, BundleError) as error:
        machine.progress.note(f"left for the next command to clean up: {describe(error)}")


def _retain(tree: Tree, old: Receipt | None, inspection: Inspection | None) -> tuple[Tree, tuple[RelPath, ...]]:
    """Keep the shim binaries that the active generation has and the new tree lacks: a sandbox may need them after a restart."""
    if old is None or inspection is None:
        return tree, ()
    editor, before = TreeEditor(tree), TreeEditor(old.tree)
    retained = []
    for path in SHIM_BINARIES:
        entry = before.content(path)
        if path not in editor and isinstance(entry, File) and path in inspection.unchanged:
            editor.put(path, entry)
            retained.append(path)
    return editor.tree(), tuple(retained)


def _displaced(tree: Tree, user_files: dict[RelPath, Digest]) -> list[str]:
    taken = [path for path in user_files if path in tree.entries]
    for path in taken:
        del user_files[path]
    return [f"{path} was added by an administrator; the installer now has a file of that name" for path in taken]


def _nothing(desired: Desired, state: NodeState) -> Plan:
    return Plan(
        action=Action.INSTALL,
        dest=desired.dest,
        suffix=desired.suffix,
        active=state.active,
        target=state.active,
        notes=("none of the selected shims has components for this architecture: nothing is installed",),
    )
