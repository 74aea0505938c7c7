"""Installing: from what a node shall have to a new active generation, or to nothing at all when everything is as it shall be.

Payload first (linked from the active generation, or unpacked into the new one), then the overlay, then the plan, then the rest of
the new tree, then activation. A dry run takes the same way but for unpacking, and so makes the same plan. Must not know: what
configurations or host edits say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.errors import BundleError, HostError, InstallRestoredError, UsageError
from kata_bundle.core.record import record, replace
from kata_bundle.node.activate import activate, describe, resume
from kata_bundle.node.adopt import can_exchange, stage_adoption
from kata_bundle.node.deltas import choose_deltas, fetch_deltas, restore_layers, without
from kata_bundle.node.gc import prune
from kata_bundle.node.generations import Previous, Staging
from kata_bundle.node.journal import Action, Journal
from kata_bundle.node.payload import scan_layers
from kata_bundle.node.plan import keep_contents
from kata_bundle.node.prepare import Prepared, Work, begin, nothing, prepare
from kata_bundle.node.recover import Recovered, recover, sweep
from kata_bundle.node.remember import remember_answer, remember_tree
from kata_bundle.node.state import ensure_state, load_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import Tree
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.plan import Plan
    from kata_bundle.node.receipt import Receipt
    from kata_bundle.node.remember import Answered

__all__ = ["Installed", "fetch_layers", "finish_install", "install", "plan_install"]


@record
class Installed:
    """What an install did."""

    plan: Plan
    receipt: Receipt | None
    """The active receipt afterwards; ``None`` when nothing was selected and nothing is installed."""
    recovered: Recovered
    pruned: tuple[int, ...] = ()


def plan_install(machine: Machine, desired: Desired, *, hash_all: bool = False) -> Plan:
    """Return what :func:`install` would do now; nothing is written, layers that are not installed are read to the end."""
    state = load_state(machine.site)
    if not desired.selection.components:
        return nothing(desired, state)
    work = begin(machine, desired, state, hash_all=hash_all)
    source = desired.source
    transfer = None
    if source.is_elsewhere:
        chosen = choose_deltas(work)
        rest = without(work.unknown, {item.ref.component for item in chosen})
        transfer = source.transfer_bytes(rest, work.lacks) + sum(item.delta.descriptor.size_bytes for item in chosen)
    trees = scan_layers(source, work.unknown, work.contents, progress=machine.progress)
    return replace(prepare(work, trees).plan, transfer_bytes=transfer)


def fetch_layers(machine: Machine, desired: Desired, *, hash_all: bool = False) -> None:
    """Fetch what :func:`install` will need from a source elsewhere, for which nobody has to wait who holds the lock."""
    if desired.selection.components:
        work = begin(machine, desired, load_state(machine.site), hash_all=hash_all)
        there = fetch_deltas(work, choose_deltas(work))
        desired.source.fetch(without(work.unknown, there), work.lacks)


def install(
    machine: Machine,
    desired: Desired,
    *,
    keep: int = 2,
    approved: Digest | None = None,
    accept_gap: bool = False,
    pause: bool = False,
    hash_all: bool = False,
    verify_files: bool = False,
    durable: bool | None = None,
    answer: Callable[[Installed], Answered | None] | None = None,
) -> Installed:
    """Make the node have what is ``desired``. The node-wide lock has to be held.

    With ``pause``, files that a runtime loads and all service calls are left to :func:`finish_install`, run by another process.
    With ``approved``, only a plan of that digest is carried out. ``accept_gap`` allows the adoption of an in-place tree on a file
    system that cannot exchange names. Files that look untouched since they were last found in order are not hashed again, unless
    ``hash_all``; with ``verify_files`` what is unpacked is hashed file by file. With ``durable`` (default: when the root is this
    machine's) the new generation is on the disk before anything points to it, so that a power cut leaves the old tree or the new
    one; without, only what undoing needs is. When nothing has to be done, ``answer`` may say what is to be answered to the next
    request like this.

    Raises what :func:`~kata_bundle.node.recover.recover` and :func:`~kata_bundle.node.activate.activate` raise;
    :class:`InstallRestoredError` when staging failed, and every error of the source as it is, after which everything is as
    before.
    """
    began = clock.now()
    recovered = recover(machine)
    state = load_state(machine.site)
    if not desired.selection.components:
        return Installed(plan=nothing(desired, state), receipt=state.receipt, recovered=recovered)
    work = begin(machine, desired, state, hash_all=hash_all)
    is_durable = machine.site.root == "/" if durable is None else durable
    staging = Staging(machine, state.next_number, durable=is_durable, verify_files=verify_files)
    try:
        trees: Mapping[str, Tree] = {}
        gap = work.in_place is not None and _has_gap(work, accept_gap=accept_gap)
        if work.unknown:
            _ensure_state(work)
            staging.begin()
            made = restore_layers(work, staging)
            refs = desired.source.fetch(without(work.unknown, made), work.lacks)
            trees = {**made, **staging.extract(refs, work.contents, desired.dest)}
        prepared = prepare(work, trees, gap=gap)
        if approved is not None and prepared.plan.digest != approved:
            msg = f"the plan is {prepared.plan.digest} now, approved was {approved}"
            raise UsageError(msg, hint="look at the plan again")
        if prepared.plan.changes_nothing and prepared.receipt == state.receipt:
            staging.discard()
            desired.source.release(work.unknown)
            pruned = _prune(machine, keep, swept=not work.unknown)
            done = Installed(plan=prepared.plan, receipt=state.receipt, recovered=recovered, pruned=pruned)
            _remember_answer(work, done, began, answer, keep=keep)
            return done
        journal = _stage(work, prepared, staging, durable=is_durable)
    except (OSError, BundleError) as error:
        _abandon(machine)
        if isinstance(error, BundleError):
            raise
        msg = f"the new generation could not be built, nothing was changed: {describe(error)}"
        raise InstallRestoredError(msg) from error
    try:
        activate(machine, journal, pause=pause)
    except InstallRestoredError:
        _abandon(machine)
        raise
    desired.source.release(work.unknown)
    if pause:
        return Installed(plan=prepared.plan, receipt=prepared.receipt, recovered=recovered)
    pruned = _prune(machine, keep)
    receipt = load_state(machine.site).receipt
    if receipt is not None and prepared.plan.stages:
        _remember_tree(machine, receipt, staging.placed)
    return Installed(plan=prepared.plan, receipt=receipt, recovered=recovered, pruned=pruned)


def finish_install(machine: Machine, *, keep: int = 2) -> Receipt | None:
    """Carry out the second stage of a paused :func:`install`; return the active receipt. The node-wide lock has to be held.

    Raises :class:`HostError` when no install is paused, and what :func:`~kata_bundle.node.activate.activate` raises.
    """
    resume(machine)
    _prune(machine, keep)
    return load_state(machine.site).receipt


def _prune(machine: Machine, keep: int, *, swept: bool = False) -> tuple[int, ...]:
    """Remove what is not needed any more. The install is done: what cannot be removed now, the next command removes.

    ``swept``: nothing was written since the last sweep.
    """
    try:
        pruned = prune(machine, keep=keep)
        if not swept:
            sweep(machine)
    except OSError as error:
        machine.progress.note(f"old generations could not be removed, the next command tries again: {describe(error)}")
        return ()
    return pruned


def _remember_tree(machine: Machine, receipt: Receipt, placed: Mapping[RelPath, str]) -> None:
    try:
        remember_tree(machine, receipt, placed)
    except OSError as error:
        machine.progress.note(f"file times could not be recorded, the next install hashes everything: {describe(error)}")


def _remember_answer(
    work: Work, done: Installed, began: float, answer: Callable[[Installed], Answered | None] | None, *, keep: int
) -> None:
    if work.inspection is None or done.receipt is None:
        return
    answered = None
    # What retained files and further generations are kept for is asked of the container runtime, each time.
    settled = not done.receipt.retained and len(load_state(work.machine.site).receipts) <= keep
    if answer is not None and settled and done.recovered is Recovered.NOTHING and not done.pruned:
        answered = answer(done)
    try:
        remember_answer(work.machine, done.receipt, work.inspection.stats, began, answered)
    except OSError as error:
        work.machine.progress.note(f"file times could not be recorded: {describe(error)}")


def _ensure_state(work: Work) -> None:
    ensure_state(work.machine.site, work.machine.files, own_dest=work.in_place is not None)


def _has_gap(work: Work, *, accept_gap: bool) -> bool:
    _ensure_state(work)
    if can_exchange(work.machine):
        return False
    if not accept_gap:
        msg = (
            f"the file system of {work.desired.dest} cannot exchange names, so the tree found there cannot be taken over at once"
        )
        raise HostError(msg, hint="--accept-gap takes it over with each name absent for a moment; or move the tree away")
    return True


def _stage(work: Work, prepared: Prepared, staging: Staging, *, durable: bool) -> Journal:
    """Build what the plan needs on disk; return the journal. What undoing host edits needs is flushed in any case."""
    machine, plan, receipt, old = work.machine, prepared.plan, prepared.receipt, work.old
    _ensure_state(work)
    staging.keep_originals(prepared.originals, work.contents)
    needed = {*prepared.originals, *(machine.objects.put(tree.to_json()) for tree in prepared.layers.trees.values())}
    keep_contents(machine, prepared.edits.contents)
    machine.objects.flush({*prepared.edits.contents, *(needed if durable else ())})
    if work.in_place is not None:
        stage_adoption(machine, work.in_place.names)
    if plan.stages:
        if not work.unknown:
            staging.begin()
        previous = None
        if old is not None and work.inspection is not None:
            previous = Previous(
                folder=work.old_folder,
                tree=old.tree,
                unchanged=work.inspection.unchanged,
                generated=frozenset(old.generated),
                stats=work.inspection.stats,
            )
        staging.fill(receipt.tree, work.contents, previous, receipt.generated)
        if old is not None:
            staging.carry(work.old_folder, prepared.user_files, receipt.tree.entries)
        staging.finish()
    else:
        staging.discard()
    replaces = old is not None and old.generation == plan.target
    receipts = (receipt,) if work.in_place is None else (work.in_place.receipt, receipt)
    return Journal(
        action=Action.INSTALL,
        started=clock.timestamp(),
        operations=plan.operations,
        second_stage=plan.second_stage,
        receipts=receipts,
        replaced=(old,) if replaces and old is not None else (),
    )


def _abandon(machine: Machine) -> None:
    """Take back what staging wrote, as far as that is possible now; the rest is garbage that the next start removes."""
    try:
        recover(machine)
    except (OSError, BundleError) as error:
        machine.progress.note(f"left for the next command to clean up: {describe(error)}")
