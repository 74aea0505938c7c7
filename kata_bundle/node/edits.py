"""Host edits against what is recorded and what is there: what to write, what to put back, what to leave to whom.

Three-way, by digest: a file still as we left it goes back to what it was before the first of our edits, byte for byte; one that
somebody edited since loses our keys and keeps the rest; one that is not ours stays. Planning sees the host through
:class:`PristineHost`, as if no edit of this install had ever been made, so equal input gives equal output at every reinstall.
Must not know: which programs read the files.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import HostError
from kata_bundle.core.record import field, record, replace
from kata_bundle.node.fileops import ChangeFile
from kata_bundle.node.hostedit import EditKind, HostDirectory
from kata_bundle.node.ops import MakeDirectory
from kata_bundle.node.receipt import FileState, RecordedEdit
from kata_bundle.node.state import Neighbours, neighbours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.node.hostedit import HostEdit
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.ops import Operation

__all__ = ["EditPlan", "PristineHost", "before_adoption", "plan_edits", "plan_restored_edits", "plan_reverts"]

_NOTHING: Mapping[str, bytes | None] = {}
_UNITS = "/etc/systemd/"
"""Unit files belong to the first stage of a staged activation, all else to the second."""
_Found = tuple[FileState, bytes]


@record(kw_only=False, frozen=False)
class EditPlan:
    """Operations in order, the records for the receipt, and the contents that both refer to."""

    operations: list[Operation] = field(default_factory=list)
    records: list[RecordedEdit] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    contents: dict[Digest, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    others: Neighbours = field(default_factory=Neighbours)
    """What the installs beside this one have made and edited."""
    late_from: int = 0
    """Index of the first operation on anything but a unit file: the second stage begins there."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Programs that would load something else now, sorted."""
        changes = [op for op in self.operations if isinstance(op, ChangeFile)]
        return tuple(sorted({op.loaded_by for op in changes if op.loaded_by is not None}))


class PristineHost:
    """The host as it would be without the edits in ``records``. A :class:`~kata_bundle.node.hostedit.HostView`."""

    def __init__(self, machine: Machine, records: Iterable[RecordedEdit], before: Mapping[str, bytes | None] = _NOTHING) -> None:
        self._machine = machine
        self._records = {record.path: record for record in records}
        self._before = before
        self._view = HostDirectory(machine.site.root)

    def read(self, path: str) -> bytes | None:
        """Return the content that ``path`` would have, ``None`` for no such file."""
        record = self._records.get(path)
        if record is None and path in self._before:
            return self._before[path]
        found = self._machine.host.load(path)
        if record is not None:
            found = _pristine(self._machine, record, found)
        return None if found is None else found[1]

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names that directory ``path`` would have."""
        self._machine.watched.add(("names", path))
        changed = {p for p in (*self._records, *self._before) if posixpath.dirname(p) == path}
        names = {name for name in self._view.names(path) if posixpath.join(path, name) not in changed}
        names |= {posixpath.basename(p) for p in changed if self.read(p) is not None}
        return tuple(sorted(names))

    def is_directory(self, path: str) -> bool:
        """Return whether ``path`` is a directory."""
        self._machine.watched.add(("kind", path))
        return self._view.is_directory(path)


def before_adoption(machine: Machine, wanted: Iterable[HostEdit]) -> dict[str, bytes | None]:
    """Return what the files of ``wanted`` would be if the installer whose tree is taken over had never edited them.

    It left no receipt, but wrote the same files and keys: a file that is ours entirely was not there, of others our keys are
    taken out.
    """
    before: dict[str, bytes | None] = {}
    for edit in wanted:
        found = machine.host.load(edit.path)
        if edit.kind is EditKind.WHOLE:
            before[edit.path] = None
        elif found is not None:
            before[edit.path] = _without_keys(edit.path, edit.keys, found[1])
    return before


def plan_edits(
    machine: Machine,
    wanted: Iterable[HostEdit],
    records: Iterable[RecordedEdit],
    *,
    before: Mapping[str, bytes | None] = _NOTHING,
    traces: Mapping[str, bytes | None] = _NOTHING,
) -> EditPlan:
    """Return how to get from the edits in ``records`` to the ``wanted`` ones.

    ``before`` is what files without a record count as having been, ``None`` for no file: see :func:`before_adoption`. ``traces``
    are files that get such a content unless they are edited anew.
    """
    plan, known = EditPlan(others=neighbours(machine.site)), {record.path: record for record in records}
    in_order = list(wanted)
    if len({edit.path for edit in in_order}) != len(in_order):
        twice = next(edit.path for i, edit in enumerate(in_order) if edit.path in {other.path for other in in_order[:i]})
        msg = f"two edits of {twice} are wanted at once"
        raise HostError(msg)
    for late in (False, True):
        plan.late_from = len(plan.operations)
        for edit in in_order:
            if edit.path.startswith(_UNITS) is not late:
                _plan_edit(machine, plan, edit, known.pop(edit.path, None), before)
    for path, data in traces.items():
        found = machine.host.load(path)
        if path not in {edit.path for edit in in_order} and found is not None:
            after = None if data is None else (replace(found[0], digest=digest_bytes(data)), data)
            _change(plan, path, found, after, loaded_by=None, reason="left by the installer whose tree is taken over")
    plan_reverts(machine, known.values(), plan)
    return plan


def plan_reverts(machine: Machine, records: Iterable[RecordedEdit], plan: EditPlan | None = None) -> EditPlan:
    """Return how to take ``records`` back, last edit first."""
    plan = EditPlan() if plan is None else plan
    for edit in reversed(list(records)):
        found = machine.host.load(edit.path)
        if found is None and edit.after is not None:
            if edit.before is not None:
                plan.notes.append(f"{edit.path} was removed by somebody else: left so")
            continue
        if found is not None and edit.before is not None and _key(found[0]) == _key(edit.before):
            continue
        target = _pristine(machine, edit, found)
        edited = found is not None and found[0].digest != edit.after
        if edited and edit.kind is EditKind.KEYS:
            plan.notes.append(f"{edit.path} was edited since: our keys are taken out, the rest is kept")
        elif edited and found is not None and edit.after is not None:
            _keep_edited(machine, plan, edit, found)
        elif edited:
            plan.notes.append(f"{edit.path} is not ours: left as it is")
            continue
        _change(
            plan,
            edit.path,
            found,
            target,
            loaded_by=edit.loaded_by,
            reason=f"take back: {edit.reason}",
            keep_time=not edited,
        )
    return plan


def plan_restored_edits(machine: Machine, wanted: Iterable[RecordedEdit], records: Iterable[RecordedEdit]) -> EditPlan:
    """Return how to get from ``records`` back to the edits ``wanted`` of an earlier generation, whose contents are kept objects.

    Where somebody edited a file in between, only our keys are put back into it.
    """
    plan, known = EditPlan(others=neighbours(machine.site)), {record.path: record for record in records}
    for old in wanted:
        record = known.pop(old.path, None)
        found = machine.host.load(old.path)
        base = found if record is None else _pristine(machine, record, found)
        if old.after is None:
            after = None
        else:
            data = machine.objects.get(old.after)
            base_digest = None if base is None else base[0].digest
            if old.kind is EditKind.KEYS and base is not None and base_digest != (old.before and old.before.digest):
                data = _with_keys(old, base[1], data)
            after = _state_for(data, old.mode, found if old.kind is EditKind.KEYS else None), data
        _make_parents(machine, plan, old.path)
        _change(plan, old.path, found, after, loaded_by=old.loaded_by, reason=old.reason)
        _record(plan, replace(old, after=None if after is None else after[0].digest), base)
    plan_reverts(machine, known.values(), plan)
    return plan


def _plan_edit(
    machine: Machine, plan: EditPlan, edit: HostEdit, record: RecordedEdit | None, before: Mapping[str, bytes | None]
) -> None:
    found = machine.host.load(edit.path)
    base = found if record is None else _pristine(machine, record, found)
    if record is None and found is not None and edit.path in before:
        data = before[edit.path]
        base = None if data is None else (replace(found[0], digest=digest_bytes(data)), data)
    if record is not None and edit.kind is EditKind.WHOLE and found is not None and found[0].digest != record.after:
        plan.notes.append(f"{edit.path} was edited since: it is ours and is written anew")
    after: _Found | None = None
    if edit.after is not None:
        after = _state_for(edit.after, edit.mode, found if edit.kind is EditKind.KEYS else None), edit.after
        _make_parents(machine, plan, edit.path, adopted=edit.path in before)
    if after is None and base is None and found is None:
        return
    _change(plan, edit.path, found, after, loaded_by=edit.loaded_by, reason=edit.reason)
    made = RecordedEdit(
        path=edit.path,
        kind=edit.kind,
        keys=edit.keys,
        before=None,
        after=None if after is None else after[0].digest,
        mode=edit.mode if after is None else after[0].mode,
        loaded_by=edit.loaded_by,
        reason=edit.reason,
        remainder=_remainder(plan, edit, base),
    )
    _record(plan, made, base)
    if after is not None:
        plan.contents[after[0].digest] = after[1]


def _remainder(plan: EditPlan, edit: HostEdit, base: _Found | None) -> Digest | None:
    """Return what will be left of the file if only installs of this tree wrote to it, ``None`` when somebody else did."""
    if edit.kind is not EditKind.KEYS or edit.after is None:
        return None
    if base is None:
        return digest_bytes(_without_keys(edit.path, edit.keys, edit.after))
    theirs = [record for record in plan.others.edits if record.path == edit.path and record.remainder is not None]
    rest = digest_bytes(_without_keys(edit.path, [key for record in theirs for key in record.keys], base[1]))
    return rest if theirs and rest in {record.remainder for record in theirs} else None


def _record(plan: EditPlan, record: RecordedEdit, base: _Found | None) -> None:
    plan.records.append(replace(record, before=None if base is None else base[0]))
    if base is not None:
        plan.contents[base[0].digest] = base[1]


def _change(
    plan: EditPlan,
    path: str,
    found: _Found | None,
    after: _Found | None,
    *,
    loaded_by: str | None,
    reason: str,
    keep_time: bool = False,
) -> None:
    """Add the operation that brings ``path`` from ``found`` to ``after``, unless it is so already."""
    before_state, after_state = (None if each is None else each[0] for each in (found, after))
    if _key(before_state) == _key(after_state):
        return
    for each in (found, after):
        if each is not None:
            plan.contents[each[0].digest] = each[1]
    plan.operations.append(
        ChangeFile(path=path, before=before_state, after=after_state, keep_time=keep_time, loaded_by=loaded_by, reason=reason)
    )


def _key(state: FileState | None) -> tuple[object, ...] | None:
    return None if state is None else (state.digest, state.mode, state.uid, state.gid)


def _pristine(machine: Machine, record: RecordedEdit, found: _Found | None) -> _Found | None:
    """Return what the file of ``record``, which is ``found`` now, would be without our edit."""
    if found is None and record.after is not None:
        return None
    if found is not None and record.after is None:
        return found
    before = None if record.before is None else (record.before, machine.objects.get(record.before.digest))
    if found is None or record.kind is EditKind.WHOLE:
        return before
    if found[0].digest == record.after:
        # The content goes back; permission bits that somebody changed since are theirs.
        return before and (before[0] if found[0].mode == record.mode else replace(before[0], mode=found[0].mode), before[1])
    rest = _without_keys(record.path, record.keys, found[1])
    if digest_bytes(rest) == record.remainder or (not rest.strip() and record.before is None):
        return None
    return replace(found[0], digest=digest_bytes(rest)), rest


def _without_keys(path: str, keys: Iterable[str], text: bytes) -> bytes:
    from kata_bundle.node.tomledit import remove_keys
    from kata_bundle.node.tomltext import TomlError

    try:
        return remove_keys(text, keys)
    except TomlError as error:
        msg = f"our keys cannot be taken out of {path}: {error}"
        raise HostError(msg, hint=error.hint) from None


def _with_keys(old: RecordedEdit, base: bytes, source: bytes) -> bytes:
    from kata_bundle.node.tomledit import copy_keys
    from kata_bundle.node.tomltext import TomlError

    try:
        return copy_keys(base, source, old.keys)
    except TomlError as error:
        msg = f"our keys cannot be put back into {old.path}: {error}"
        raise HostError(msg, hint=error.hint) from None


def _state_for(data: bytes, mode: int, like: _Found | None) -> FileState:
    """Return the state a file gets: mode and owner of the administrator's file ``like``, else ``mode`` and this process."""
    if like is not None:
        return replace(like[0], digest=digest_bytes(data), mtime_ns=0)
    return FileState(digest=digest_bytes(data), mode=mode, uid=os.geteuid(), gid=os.getegid(), mtime_ns=0)


def _make_parents(machine: Machine, plan: EditPlan, path: str, *, adopted: bool = False) -> None:
    parent, missing, shared = posixpath.dirname(path), list[str](), list[str]()
    while parent not in {"", "/"} and parent not in plan.created:
        if f"{machine.site.dest}/".startswith(f"{parent}/"):
            break  # the install directory and its parents are there before anything else
        machine.watched.add(("kind", parent))
        if not os.path.isdir(machine.site.at(parent, follow=True)):
            missing.append(parent)
        elif parent in plan.others.created or (adopted and parent.startswith(machine.site.dest + "/")):
            # Whoever goes last takes it away; what an adopted tree's installer made in its directory is ours now.
            shared.append(parent)
        parent = posixpath.dirname(parent)
    plan.created += reversed(shared)
    for directory in reversed(missing):
        plan.operations.append(MakeDirectory(path=directory, reason=f"holds {posixpath.basename(path)}"))
        plan.created.append(directory)


def _keep_edited(machine: Machine, plan: EditPlan, record: RecordedEdit, found: _Found) -> None:
    """Keep somebody's version of a file that was ours entirely, where no program loads it."""
    if record.path.startswith(machine.site.dest + "/"):
        plan.notes.append(f"{record.path} was edited since: it goes with the install directory")
        return
    folder, name = posixpath.split(record.path)
    saved = posixpath.join(posixpath.dirname(folder) if folder.endswith(".d") else folder, f"{name}.edited")
    if machine.host.load(saved) is None:
        _change(plan, saved, None, found, loaded_by=None, reason=f"keep what somebody changed in {record.path}", keep_time=True)
    plan.notes.append(f"{record.path} was edited since: it is ours and goes; the edited version is kept as {saved}")
