"""Deciding what an install does: the new tree, the receipt, the plan. Reads everything, writes nothing.

Must not know: how trees are staged or activations survive.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kata_bundle import __version__
from kata_bundle.core import clock
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.record import record, replace
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.node.adopt import GENERATION, InPlaceTree, find_in_place, plan_adoption
from kata_bundle.node.edits import PristineHost, before_adoption, plan_edits
from kata_bundle.node.journal import Action
from kata_bundle.node.overlay import OverlayFile, TreeEditor, with_overlay
from kata_bundle.node.payload import Contents, LayerSet, known_layers, merge_layers
from kata_bundle.node.plan import (
    Plan,
    file_changes,
    link_of,
    links_there,
    plan_calls,
    plan_links,
    plan_removed_links,
    plan_second_copy,
    plan_services,
    plan_switch,
)
from kata_bundle.node.receipt import Receipt, ReceiptKind
from kata_bundle.node.verify import inspect_generation, same_tree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.edits import EditPlan
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.ops import Operation
    from kata_bundle.node.payload import MergedPayload
    from kata_bundle.node.receipt import RecordedEdit
    from kata_bundle.node.source import LayerRef
    from kata_bundle.node.state import NodeState
    from kata_bundle.node.verify import Inspection

__all__ = ["SHIM_BINARIES", "Prepared", "Work", "begin", "nothing", "prepare"]

_TOLD: Final = 10
SHIM_BINARIES: Final = (RelPath("bin/containerd-shim-kata-v2"), RelPath("runtime-rs/bin/containerd-shim-kata-v2"))
"""Paths that containerd remembers for a sandbox as long as it lives."""


@record
class Work:
    """One install and what it starts from: the active generation, or a tree that the reference installer wrote in place."""

    machine: Machine
    desired: Desired
    state: NodeState
    refs: Sequence[LayerRef]
    old: Receipt | None
    old_folder: str
    inspection: Inspection | None
    in_place: InPlaceTree | None
    contents: Contents
    known: Mapping[str, Tree]
    """Component → tree of the layers that need not be read."""

    @property
    def unknown(self) -> tuple[LayerRef, ...]:
        """The layers that have to be read."""
        return tuple(ref for ref in self.refs if ref.component not in self.known)

    def lacks(self, path: RelPath, file: File) -> bool:
        """Return whether a file of a layer has to be taken from the layer."""
        del path
        return not self.contents.has(file.digest)


@record
class Prepared:
    """Everything decided: the plan, the receipt, and what staging needs."""

    plan: Plan
    receipt: Receipt
    layers: LayerSet
    edits: EditPlan
    user_files: Mapping[RelPath, Digest]

    @property
    def originals(self) -> frozenset[Digest]:
        """Contents of the layers that the new tree does not have, because the overlay replaced them."""
        entries = self.receipt.tree.entries.values()
        there = {entry.digest for entry in entries if isinstance(entry, File)}
        found = {e.digest for tree in self.layers.trees.values() for e in tree.entries.values() if isinstance(e, File)}
        return frozenset(found - there)


def begin(machine: Machine, desired: Desired, state: NodeState, *, hash_all: bool = False) -> Work:
    """Look at what is there: compare the active generation, and find out which layers need not be read again.

    With ``hash_all`` every file is hashed, also those that look untouched since that was done last.
    """
    selection = desired.selection
    refs = [desired.source.layer(selection.arch, component) for component in selection.components]
    contents = Contents(machine.objects)
    old, inspection, known = state.latest, None, dict[str, Tree]()
    folder, in_place = machine.site.folder, None
    if old is not None:
        inspection = inspect_generation(machine, old, trust=not hash_all)
        folder = machine.site.generation(old.generation)
        files = TreeEditor(old.tree)
        for path in sorted(inspection.unchanged):
            entry = files.content(path)
            if isinstance(entry, File):
                contents.files.setdefault(entry.digest, os.path.join(folder, path))
        known = known_layers(refs, old.layers, contents)
    else:
        in_place = find_in_place(machine)
        if in_place is not None:
            old, inspection = in_place.receipt, in_place.inspection
    return Work(
        machine=machine,
        desired=desired,
        state=state,
        refs=refs,
        old=old,
        old_folder=folder,
        inspection=inspection,
        in_place=in_place,
        contents=contents,
        known=known,
    )


def prepare(work: Work, trees: Mapping[str, Tree], *, gap: bool = False) -> Prepared:
    """Return what to do, given the trees of the layers that had to be read.

    ``gap``: the file system cannot exchange names, so an adopted tree's names are absent for a moment each.
    """
    machine, desired, state, old, inspection = work.machine, work.desired, work.state, work.old, work.inspection
    layers = LayerSet()
    for ref in work.refs:
        layers.add(ref, work.known[ref.component] if ref.component in work.known else trees[ref.component])
    payload = merge_layers(layers, dest=desired.dest, contents=work.contents)
    overlay = desired.overlay(payload)
    for entry in overlay.files.values():
        if isinstance(entry, OverlayFile):
            work.contents.memory[digest_bytes(entry.data)] = entry.data
    tree = with_overlay(payload.tree, overlay)
    retained: tuple[RelPath, ...] = ()
    if not machine.services.sandboxes().none_runs:
        tree, retained = _retain(tree, old, inspection)
    user_files = dict(inspection.user_files) if inspection is not None else {}
    displaced = [path for path in user_files if path in tree.entries]
    for path in displaced:
        del user_files[path]
    is_same = (
        old is not None
        and old.generation == state.active
        and inspection is not None
        and not inspection.drifted
        and same_tree(old.tree, tree)
    )
    target = state.active if is_same and state.active is not None else state.next_number
    records = () if old is None else old.edits
    edits, decisions = _plan_edits(work, records)
    names = {path.split("/", 1)[0] for path in (*tree.entries, *user_files)}
    operations = _plan_links(work, names, target, user_files, gap=gap)
    leaving = () if old is None else tuple(call for call in old.stopping if call not in desired.stopping)
    left = () if old is None else tuple(call for call in old.stopped if call not in desired.stopped)
    second_stage = len(operations) + edits.late_from
    operations += plan_calls(leaving, "no longer wanted") if edits.operations else []
    operations += edits.operations
    operations += plan_calls(left, "no longer wanted") if edits.operations else []
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
        layers=_layer_lines(layers, work),
        files=file_changes(None if old is None else old.tree, tree, payload.owners, tuple(overlay.files), retained),
        operations=tuple(operations),
        second_stage=second_stage,
        notes=(*_notes(work, payload, displaced), *overlay.notes, *edits.notes),
    )
    receipt = Receipt(
        generation=target,
        kind=ReceiptKind.INSTALLED,
        activated=clock.timestamp(),
        previous=None if old is None else old.previous if is_same else old.generation,
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
        created=tuple(dict.fromkeys((*(() if old is None else old.created), *edits.created))),
        edits=tuple(edits.records),
        services=desired.services,
        stopping=desired.stopping,
        stopped=desired.stopped,
        restarts=desired.restarts,
        decisions=decisions,
    )
    if old is not None and is_same and replace(receipt, activated=old.activated, tool=old.tool).to_dict() == old.to_dict():
        receipt = old
    return Prepared(plan=plan, receipt=receipt, layers=layers, edits=edits, user_files=user_files)


def nothing(desired: Desired, state: NodeState) -> Plan:
    """Return the plan for a selection without any component."""
    return Plan(
        action=Action.INSTALL,
        dest=desired.dest,
        suffix=desired.suffix,
        active=state.active,
        target=state.active,
        notes=("none of the selected shims has components for this architecture: nothing is installed",),
    )


def _plan_edits(work: Work, records: tuple[RecordedEdit, ...]) -> tuple[EditPlan, Mapping[str, JsonValue]]:
    machine, desired = work.machine, work.desired
    before: dict[str, bytes | None] = dict.fromkeys(desired.ours)
    traces: dict[str, bytes | None] = {}
    if work.in_place is not None:
        view = PristineHost(machine, records, before)
        traces = dict(desired.traces(view))
        before |= before_adoption(machine, desired.edits(view)) | traces
    host = PristineHost(machine, records, before)
    plan = plan_edits(machine, desired.edits(host), records, before=before, traces=traces)
    plan.notes[:0] = desired.notes(host)
    return plan, desired.decisions(host)


def _plan_links(work: Work, names: set[str], target: int, user_files: Mapping[RelPath, Digest], *, gap: bool) -> list[Operation]:
    site, active = work.machine.site, work.state.active
    there = links_there(site)
    first: list[Operation] = []
    ours: tuple[RelPath, ...] = () if work.old is None else tuple(work.old.tree.entries)
    if work.in_place is not None:
        first = plan_adoption(site, work.in_place.names, gap=gap)
        there |= {name: link_of(name) for name in work.in_place.names}
        active = GENERATION
    return [
        *first,
        *plan_links(site, names, there),
        *plan_switch(site, active, target),
        *plan_removed_links(site, names, there),
        *plan_second_copy(site, active, target, user_files, ours),
    ]


def _layer_lines(layers: LayerSet, work: Work) -> tuple[Mapping[str, str | int | bool | None], ...]:
    return tuple(
        {**layer.to_dict(), "component": layer.component, "unpack": layer.component not in work.known}  # type: ignore[dict-item]
        for layer in layers.layers
    )


def _notes(work: Work, payload: MergedPayload, displaced: Sequence[RelPath]) -> list[str]:
    notes = [*payload.conflicts]
    if work.in_place is not None:
        notes.append(f"the tree found in {work.desired.dest} ({', '.join(work.in_place.names)}) becomes generation 0")
    notes += [f"{path} was added by an administrator; the installer now has a file of that name" for path in displaced]
    if work.inspection is not None:
        notes += _told(work.inspection.changed, "was changed since it was installed and is put right")
        notes += _told(work.inspection.extra, "is not of this install and is not carried over")
    return notes


def _told(paths: Sequence[RelPath], what: str) -> list[str]:
    more = [f"{len(paths) - _TOLD} more like it"] if len(paths) > _TOLD else []
    return [*(f"{path} {what}" for path in paths[:_TOLD]), *more]


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
