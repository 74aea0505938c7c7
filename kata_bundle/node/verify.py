"""Comparing what a receipt says with what is there: the tree byte for byte, the links to it, the host edits.

Administrators' files in drop-in directories are theirs: told, never counted as drift. Must not know: how to repair.
"""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kata_bundle.archive.readtree import read_tree
from kata_bundle.core.errors import HostError, IntegrityError
from kata_bundle.core.record import field, record
from kata_bundle.core.relpath import RelPath, parents
from kata_bundle.core.tree import Entry, File, Hardlink, Tree
from kata_bundle.node.hostedit import EditKind
from kata_bundle.node.plan import link_of, links_there
from kata_bundle.node.seen import is_of_this_boot, load_record, signature
from kata_bundle.node.userfiles import find_user_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.receipt import Receipt, RecordedEdit
    from kata_bundle.node.site import Site

__all__ = ["Inspection", "Verification", "inspect_generation", "recorded_stats", "same_tree", "verify"]


@record
class Inspection:
    """A generation's tree on disk compared with its receipt; paths are below the generation, in byte order."""

    missing: tuple[RelPath, ...]
    extra: tuple[RelPath, ...]
    changed: tuple[RelPath, ...]
    unchanged: frozenset[RelPath]
    """Files found with the recorded content and mode."""
    user_files: Mapping[RelPath, Digest]
    stats: Mapping[RelPath, str] = field(default_factory=dict)
    """What ``lstat`` said of every entry before it was read (``node.seen``); of none when it was not read."""
    hashed: int = 0
    """Number of files that were read; the others are as they were when they last were."""

    @property
    def drifted(self) -> bool:
        """Whether the tree is not what the receipt says."""
        return bool(self.missing or self.extra or self.changed)


@record
class Verification:
    """Everything that differs from the receipt, as host paths."""

    generation: int
    checked: int
    """Number of entries compared."""
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    administrators: tuple[str, ...]
    """Files of administrators in drop-in directories, which are as they like them."""
    edited: tuple[str, ...] = field(default=())
    """Files of administrators that hold our keys, changed since by them."""
    hashed: int = 0
    """Number of the tree's files that were read; the others look untouched since they last were."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.changed or self.missing or self.extra)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "generation": self.generation,
            "checked": self.checked,
            "changed": list(self.changed),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "administrators": list(self.administrators),
            "edited": list(self.edited),
            "hashed": self.hashed,
            "clean": self.is_clean,
        }


def inspect_generation(machine: Machine, receipt: Receipt, *, trust: bool = False) -> Inspection:
    """Compare the generation of ``receipt`` on disk with what it says, every file hashed.

    With ``trust``, files that are by size, times and inode as they were when the generation was last found in order are not.
    """
    folder = machine.site.generation(receipt.generation)
    wanted = receipt.tree.entries
    special: list[RelPath] = []
    if not os.path.isdir(folder):
        return Inspection(missing=tuple(wanted), extra=(), changed=(), unchanged=frozenset(), user_files={})
    old = _contents(wanted)
    recorded = recorded_stats(machine.site, receipt.generation) if trust else {}
    stats: dict[RelPath, str] = {}
    hashed = 0

    def known(path: RelPath, at: os.stat_result) -> Digest | None:
        nonlocal hashed
        stats[path] = text = signature(path, at)
        if not stat.S_ISREG(at.st_mode):
            return None
        entry = old.get(path)
        if isinstance(entry, File) and entry.size_bytes == at.st_size and recorded.get(os.path.join(folder, path)) == text:
            machine.progress.advance(task, at.st_size)
            return entry.digest
        hashed += 1
        return None

    task = f"check generation {receipt.generation}"
    machine.progress.start(task, receipt.tree.size_bytes)
    try:
        found = read_tree(
            Path(folder),
            on_progress=lambda count: machine.progress.advance(task, count),
            on_special=special.append,
            known=known,
        ).entries
    finally:
        machine.progress.finish(task)
    theirs = find_user_files(folder, wanted)
    allowed = {*theirs, *(parent for path in theirs for parent in parents(path))}
    new = _contents(found)
    return Inspection(
        missing=tuple(path for path in old if path not in new and path not in special),
        extra=tuple(sorted(path for path in (*new, *special) if path not in old and path not in allowed)),
        changed=tuple(path for path in old if (path in new and old[path] != new[path]) or path in special),
        unchanged=frozenset(path for path, entry in old.items() if isinstance(entry, File) and new.get(path) == entry),
        user_files=theirs,
        stats=stats,
        hashed=hashed,
    )


def recorded_stats(site: Site, generation: int) -> Mapping[str, str]:
    """Return real path → ``lstat`` result of what was last found in order; nothing when it was another generation's.

    Nor when the system was started anew since, or the receipt is another one: what a file's content should be stands there.
    """
    record = load_record(site.seen)
    receipt = site.receipt(generation)
    if record is None or record.generation != generation or not is_of_this_boot(record):
        return {}
    if record.stats.get(receipt) != signature(receipt):
        return {}
    return record.stats


def verify(machine: Machine, receipt: Receipt, *, quick: bool = False) -> Verification:
    """Compare everything that ``receipt``, the active generation's, says with the host.

    With ``quick``, files that look untouched since they were last found in order are not hashed.
    """
    site = machine.site
    tree = inspect_generation(machine, receipt, trust=quick)
    base = site.dest

    def place(path: str) -> str:
        return posixpath.join(base, path)

    changed, missing = [place(path) for path in tree.changed], [place(path) for path in tree.missing]
    edited: list[str] = []
    there = links_there(site)
    names = {*receipt.names, *(path.split("/", 1)[0] for path in tree.user_files)}
    for name in sorted(names):
        if name not in there:
            missing.append(place(name))
        elif there[name] != link_of(name):
            changed.append(place(name))
    active = site.active()
    if active != receipt.generation:
        (missing if active is None else changed).append(site.state_path("current"))
    extra = [place(path) for path in tree.extra]
    extra += [place(name) for name, target in there.items() if target == link_of(name) and name not in names]
    for edit in receipt.edits:
        try:
            state = machine.host.state(edit.path)
        except HostError:
            changed.append(edit.path)
            continue
        if edit.after is None:
            extra += [edit.path] if state is not None else []
        elif state is None:
            missing.append(edit.path)
        elif (state.digest, state.mode) != (edit.after, edit.mode):
            (edited if _keys_intact(machine, edit) else changed).append(edit.path)
    return Verification(
        generation=receipt.generation,
        checked=len(receipt.tree.entries) + len(names) + len(receipt.edits),
        changed=tuple(sorted(set(changed))),
        missing=tuple(sorted(set(missing))),
        extra=tuple(sorted(set(extra))),
        administrators=tuple(sorted(place(path) for path in tree.user_files)),
        edited=tuple(sorted(edited)),
        hashed=tree.hashed,
    )


def _keys_intact(machine: Machine, edit: RecordedEdit) -> bool:
    """Return whether somebody edited a file of theirs without touching our keys in it."""
    found = machine.host.load(edit.path)
    if edit.kind is not EditKind.KEYS or edit.after is None or found is None:
        return False
    from kata_bundle.node.tomledit import copy_keys
    from kata_bundle.node.tomltext import TomlError

    try:
        return copy_keys(found[1], machine.objects.get(edit.after), edit.keys) == found[1]
    except (IntegrityError, TomlError):
        return False


def _contents(entries: Mapping[RelPath, Entry]) -> dict[RelPath, Entry]:
    """Return the entries with hard links as the files they are: a restored backup may have copies instead."""
    result: dict[RelPath, Entry] = {}
    for path, found in entries.items():
        entry: Entry | None = found
        while isinstance(entry, Hardlink):
            entry = entries.get(entry.target)
        if entry is not None:
            result[path] = entry
    return result


def same_tree(first: Tree, second: Tree) -> bool:
    """Return whether two trees install the same, hard links taken as the files they are."""
    return _contents(first.entries) == _contents(second.entries)
