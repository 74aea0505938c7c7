"""Carrying out an activation so that it survives being killed and undoes itself when it fails.

The journal is on disk before the first operation. Forward: operations in order, receipts, then the journal goes. When an
operation fails, the journal is renamed to say "backward" and everything is undone in reverse. Killed anywhere, the next start
continues in the direction the journal says. An activation in two stages pauses in between: the tree is switched, what a runtime
loads is not edited yet. Must not know: what is being installed.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from kata_bundle.core.errors import BundleError, HostError, InstallError, InstallRestoredError
from kata_bundle.node.fileops import ChangeFile
from kata_bundle.node.journal import Action, Journal, read_journal
from kata_bundle.node.ops import CallService, RemoveLink, SetLink
from kata_bundle.node.state import parting_folder, remove_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.node.machine import Machine
    from kata_bundle.node.ops import Operation

__all__ = ["activate", "continue_backward", "continue_forward", "describe", "finish_parting", "remove_state", "resume"]


def activate(machine: Machine, journal: Journal, *, pause: bool = False) -> None:
    """Carry ``journal`` out; with ``pause`` only its first stage.

    Raises :class:`InstallRestoredError` when it failed and was undone, :class:`InstallError` when undoing failed too. What is
    interrupted by anything but an error is left for ``node.recover``.
    """
    try:
        journal.write(machine.site, machine.files)
    except (OSError, BundleError) as error:
        msg = f"{journal.action} could not begin: {describe(error)}"
        try:
            # It may be there already, when flushing it failed.
            machine.files.unlink(machine.site.journal)
        except OSError:
            raise InstallError(msg, hint="the next command finishes or takes back") from error
        raise InstallRestoredError(msg, hint=_hint(error)) from error
    continue_forward(machine, journal, pause=pause)


def continue_forward(machine: Machine, journal: Journal, *, pause: bool = False) -> None:
    """Carry out what is left of ``journal``, which is on disk; undo everything when that fails. Raises like :func:`activate`."""
    if journal.action is Action.UNINSTALL:
        _uninstall(machine, journal, pause=pause)
        return
    reached = False
    try:
        for index, operation in enumerate(journal.operations[: journal.second_stage] if pause else journal.operations):
            reached = reached or isinstance(operation, CallService)
            operation.clean(machine)
            if not operation.probe(machine) and not _is_superseded(machine, operation, journal.operations[index + 1 :]):
                operation.apply(machine)
        if pause:
            _flush(machine)
            machine.files.rename(machine.site.journal, machine.site.paused)
            machine.files.sync_directory(machine.site.state)
            return
        if any(_concerns_runtime(operation) for operation in journal.operations):
            machine.services.confirm()
        _write_receipts(machine, journal)
    except (OSError, BundleError) as error:
        _take_back(machine, journal, error, called=reached)
    try:
        _finish(machine, machine.site.journal)
    except OSError as error:
        msg = f"{journal.action} is done, but its journal could not be removed: {describe(error)}"
        raise InstallError(msg, hint="the next command tries again") from error


def resume(machine: Machine) -> Journal:
    """Carry out the second stage of the paused activation and return its journal; raises like :func:`activate`.

    Raises :class:`HostError` when no activation waits for one.
    """
    try:
        journal = read_journal(machine.site.paused)
    except FileNotFoundError:
        msg = f"no activation in {machine.site.dest} waits for its second stage"
        raise HostError(msg, hint="run the first stage before") from None
    try:
        machine.files.rename(machine.site.paused, machine.site.journal)
    except OSError as error:
        msg = f"the second stage of the {journal.action} could not begin: {describe(error)}"
        raise InstallError(msg, hint="run it again") from error
    continue_forward(machine, journal)
    return journal


def continue_backward(machine: Machine, journal: Journal, *, called: bool = True) -> None:
    """Undo ``journal``, whose name on disk says so, in reverse; raise :class:`InstallError` for what could not be undone.

    Every step is tried, since one that fails must not keep the others from happening. ``called``: services may have been called,
    and are called again to load what is there then.
    """
    errors: list[str] = []
    for operation in reversed(journal.operations):
        try:
            operation.clean(machine)
            operation.undo(machine)
        except (OSError, BundleError) as error:
            errors.append(f"{operation.subject}: {describe(error)}")
    if called:
        errors += _call_again(machine, journal)
    try:
        _restore_receipts(machine, journal)
        if not errors:
            _finish(machine, machine.site.undo)
    except OSError as error:
        errors.append(describe(error))
    if errors:
        msg = f"{journal.action} could not be taken back: {'; '.join(errors)}"
        raise InstallError(msg, hint="put right what the message names; the next command goes on taking back")


def describe(error: Exception) -> str:
    """Return what an error says in one line, the file first for errors of the system."""
    if isinstance(error, OSError) and error.strerror:
        return f'"{error.filename}": {error.strerror}' if error.filename else error.strerror
    return str(error)


def _is_superseded(machine: Machine, operation: Operation, later: Sequence[Operation]) -> bool:
    """Return whether a later operation on the same link is done already: adoption sets ``current`` twice."""
    return isinstance(operation, SetLink) and any(
        isinstance(other, SetLink) and other.path == operation.path and other.probe(machine) for other in later
    )


def _concerns_runtime(operation: Operation) -> bool:
    return isinstance(operation, CallService) or (isinstance(operation, ChangeFile) and operation.loaded_by is not None)


def _take_back(machine: Machine, journal: Journal, error: Exception, *, called: bool) -> None:
    try:
        if os.path.lexists(machine.site.journal):
            machine.files.rename(machine.site.journal, machine.site.undo)
        else:  # failed just after it was paused
            machine.files.rename(machine.site.paused, machine.site.undo)
        machine.files.sync_directory(machine.site.state)
    except OSError as second:
        msg = f"{journal.action} failed: {describe(error)}; taking it back could not begin: {describe(second)}"
        raise InstallError(msg, hint="the next command finishes or takes back") from error
    try:
        continue_backward(machine, journal, called=called)
    except InstallError as second:
        msg = f"{journal.action} failed: {describe(error)}; {second}"
        raise InstallError(msg, hint=second.hint) from error
    msg = f"{journal.action} failed and was taken back: {describe(error)}"
    raise InstallRestoredError(msg, hint=_hint(error)) from error


def _hint(error: Exception) -> str | None:
    return error.hint if isinstance(error, BundleError) else None


def _write_receipts(machine: Machine, journal: Journal) -> None:
    site = machine.site
    machine.files.make_directory(site.receipts)
    for receipt in journal.receipts:
        path = site.receipt(receipt.generation)
        machine.files.replace_file(path, receipt.to_json(), temporary=f"{path}.new", mode=0o600)


def _restore_receipts(machine: Machine, journal: Journal) -> None:
    site, before = machine.site, {receipt.generation: receipt for receipt in journal.replaced}
    for receipt in journal.receipts:
        path, old = site.receipt(receipt.generation), before.get(receipt.generation)
        if old is None:
            if os.path.lexists(path):
                machine.files.unlink(path)
        else:
            machine.files.replace_file(path, old.to_json(), temporary=f"{path}.new", mode=0o600)


def _finish(machine: Machine, path: str) -> None:
    """Flush what the links in ``<dest>`` and the state folder say, then let the journal go."""
    _flush(machine)
    machine.files.unlink(path)
    machine.files.sync_directory(machine.site.state)


def _flush(machine: Machine) -> None:
    machine.files.sync_directory(machine.site.folder)
    machine.files.sync_directory(machine.site.state)


def _call_again(machine: Machine, journal: Journal) -> list[str]:
    """Have the services load what is there after undoing."""
    errors = []
    for operation in journal.operations:
        if isinstance(operation, CallService):
            try:
                operation.apply(machine)
            except (OSError, BundleError) as error:
                errors.append(f"{operation.subject}: {describe(error)}")
    return errors


def _uninstall(machine: Machine, journal: Journal, *, pause: bool) -> None:
    """Only ever forward: every step that does not depend on a failed one is carried out, then all failures are told (D8, D36).

    The links and the tree go last, and only when no file outside can refer to them any more: until then an uninstall that failed
    is given up, and planned anew next time from the receipts and what the files are like then.
    """
    errors: list[str] = []
    given_up = incomplete = False
    for operation in journal.operations[: journal.second_stage] if pause else journal.operations:
        if given_up and isinstance(operation, RemoveLink):
            continue
        try:
            operation.clean(machine)
            if not operation.probe(machine):
                operation.apply(machine)
        except (OSError, BundleError) as error:
            errors.append(f"{operation.subject}: {describe(error)}")
            incomplete = incomplete or isinstance(operation, RemoveLink)
            given_up = given_up or not isinstance(operation, RemoveLink | CallService)
    if given_up:
        with contextlib.suppress(OSError):
            machine.files.unlink(machine.site.journal)
    elif not incomplete:
        try:
            if pause:
                machine.files.rename(machine.site.journal, machine.site.paused)
                machine.files.sync_directory(machine.site.state)
            else:
                remove_state(machine, journal.created)
        except OSError as error:
            errors.append(describe(error))
    if errors:
        msg = f"uninstall is not complete: {'; '.join(errors)}"
        raise InstallError(msg, hint="put right what the message names, then run uninstall again")


def remove_state(machine: Machine, created: tuple[str, ...]) -> None:
    """Remove the state folder with everything in it, and the ``created`` directories as far as nobody else uses them."""
    site, files = machine.site, machine.files
    for name in sorted(os.listdir(site.state)):
        path = os.path.join(site.state, name)
        if path not in {site.journal, site.origin} and not remove_tree(files, path):
            raise OSError(errno.EBUSY, "something is mounted or being made inside", path)
    parting = parting_folder(site, created)
    files.rename(site.state, parting)
    finish_parting(machine, parting, created)


def finish_parting(machine: Machine, parting: str, created: tuple[str, ...]) -> None:
    """Remove the directories that were made for this install, as far as nobody else uses them, and then the journal.

    ``parting`` is the state folder, which by now holds only the record of them and was moved out of what is removed.
    """
    for path in sorted(created, reverse=True):
        real = machine.site.at(path)
        if os.path.isdir(real) and not os.path.islink(real):
            machine.files.remove_directory(real)
    remove_tree(machine.files, parting)
