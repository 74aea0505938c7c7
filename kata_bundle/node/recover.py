"""The first thing every command that changes something does: finish or undo what was interrupted, then clean up after it.

Must not know: what is being installed.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.errors import InstallError, InstallRestoredError
from kata_bundle.node.activate import continue_backward, continue_forward, describe, finish_parting, remove_state
from kata_bundle.node.adopt import GENERATION
from kata_bundle.node.generations import sweep_generations
from kata_bundle.node.journal import Action, clean_journal, load_journal, read_journal
from kata_bundle.node.site import STATE
from kata_bundle.node.state import find_parting, load_state, read_origin, remove_leftovers, remove_tree

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.node.journal import Journal
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.receipt import Receipt

__all__ = ["Recovered", "recover", "sweep"]


class Recovered(StrEnum):
    """What :func:`recover` found to do."""

    NOTHING = "nothing"
    FINISHED = "finished"
    UNDONE = "undone"


def recover(machine: Machine) -> Recovered:
    """Finish or undo an interrupted activation, and remove what it left.

    What cannot be finished is undone. Raises :class:`~kata_bundle.core.errors.InstallError` when neither is possible now. The
    node-wide lock has to be held.
    """
    try:
        return _recover(machine)
    except OSError as error:
        msg = f"what an interrupted command left cannot be cleaned up: {describe(error)}"
        raise InstallError(msg, hint="put right what the message names; the next command tries again") from error


def _recover(machine: Machine) -> Recovered:
    site, outcome = machine.site, Recovered.NOTHING
    remove_leftovers(site, machine.files)
    parting = find_parting(site)
    if parting is not None:
        _part(machine, parting)
        outcome = Recovered.FINISHED
    if not os.path.isdir(site.state):
        return outcome
    if os.path.lexists(site.paused):
        _end_pause(machine)
    found = load_journal(site)
    if found is not None:
        journal, backward = found
        machine.progress.note(
            f"{journal.action} of {journal.started} was interrupted: {'undoing' if backward else 'finishing'} it"
        )
        outcome = _continue(machine, journal, backward=backward)
    sweep(machine)
    state = load_state(site)
    if state.active is None and not state.receipts and os.path.isdir(site.state):
        # A first install that did not get far: nothing is installed, so nothing of it stays.
        remove_state(machine, state.created)
    return outcome


def _end_pause(machine: Machine) -> None:
    """Take back an activation that waits for a second stage nobody asked for; finish an uninstall that does."""
    site = machine.site
    forward = read_journal(site.paused).action is Action.UNINSTALL
    machine.files.rename(site.paused, site.journal if forward else site.undo)
    machine.files.sync_directory(site.state)


def _continue(machine: Machine, journal: Journal, *, backward: bool) -> Recovered:
    if backward:
        continue_backward(machine, journal)
        return Recovered.UNDONE
    try:
        continue_forward(machine, journal)
    except InstallRestoredError as error:
        machine.progress.note(str(error))
        return Recovered.UNDONE
    return Recovered.FINISHED


def _part(machine: Machine, parting: str) -> None:
    """Finish a removal that was interrupted after everything but the journal was gone."""
    try:
        created = read_journal(os.path.join(parting, os.path.basename(machine.site.journal))).created
    except FileNotFoundError:
        created = read_origin(os.path.join(parting, os.path.basename(machine.site.origin)))
    finish_parting(machine, parting, created)


def sweep(machine: Machine) -> None:
    """Remove what nothing refers to: generations without a receipt, receipts without a generation, contents, temporary files."""
    site, files = machine.site, machine.files
    if not os.path.isdir(site.state):
        return
    clean_journal(site, files)
    remove_tree(files, os.path.join(site.generation(GENERATION), STATE))
    state = load_state(site)
    for name in sorted(os.listdir(site.state)):
        if name.endswith((".link-new", ".kata-bundle-new")):
            files.unlink(os.path.join(site.state, name))
    there = set(site.numbers(site.generations))
    for number in set(state.receipts) - there:
        if number != state.active:
            files.unlink(site.receipt(number))
    if os.path.isdir(site.receipts):
        for name in sorted(os.listdir(site.receipts)):
            if name.endswith(".new"):
                files.unlink(os.path.join(site.receipts, name))
    keep = there & set(state.receipts)
    sweep_generations(machine, keep)
    wanted: set[Digest] = set()
    for number in keep:
        wanted |= state.receipts[number].objects() | originals(machine, state.receipts[number])
    machine.objects.sweep(wanted)


def originals(machine: Machine, receipt: Receipt) -> frozenset[Digest]:
    """Return the contents of a generation's layers that its tree does not have, because the overlay replaced them."""
    from kata_bundle.core.errors import IntegrityError
    from kata_bundle.core.tree import File

    there = {entry.digest for entry in receipt.tree.entries.values() if isinstance(entry, File)}
    found: set[Digest] = set()
    for layer in receipt.layers.values():
        try:
            tree = machine.objects.tree(layer.tree)
        except IntegrityError:
            continue
        found |= {entry.digest for entry in tree.entries.values() if isinstance(entry, File)} - there
    return frozenset(found)
