"""Plans: from the tree a node shall have and what is there, the ordered operations, as data to be printed, approved or applied.

Order (the only order in which no path is ever missing): links for new top-level names, ``current``, obsolete links, the second
copy of administrators' files, host edits, service calls. Uninstalling is the reverse. Must not know: how trees are staged.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from kata_bundle.core import canonical
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.errors import HostError
from kata_bundle.core.record import field, record
from kata_bundle.core.tree import Directory, File, Hardlink
from kata_bundle.node.ops import CallService, RemoveLink, SetLink
from kata_bundle.node.site import STATE
from kata_bundle.node.userfiles import CarryUserFiles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import Entry, Tree
    from kata_bundle.node.edits import EditPlan
    from kata_bundle.node.journal import Action
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.ops import Operation
    from kata_bundle.node.site import Site

__all__ = [
    "FileChange",
    "Plan",
    "file_changes",
    "keep_contents",
    "link_of",
    "links_there",
    "plan_calls",
    "plan_links",
    "plan_removed_links",
    "plan_second_copy",
    "plan_services",
    "plan_switch",
]


@record
class FileChange:
    """One path of the tree that the new generation has differently."""

    path: RelPath
    change: str
    """``add``, ``change`` or ``remove``."""
    origin: str
    """The component it is from, or ``generated``, ``retained``, ``administrator``."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"path": self.path, "change": self.change, "origin": self.origin}


@record
class Plan:
    """Everything one command would do. Equal input gives an equal plan, hence an equal :attr:`digest`."""

    action: Action
    dest: str
    suffix: str | None
    active: int | None
    """The generation that is active now."""
    target: int | None
    """The generation that will be; ``None`` for none."""
    stages: bool = False
    """Whether the target has to be built first."""
    tree: Digest | None = None
    layers: tuple[Mapping[str, JsonValue], ...] = ()
    """The layers of the target, with what has to be unpacked and what is linked."""
    files: tuple[FileChange, ...] = ()
    operations: tuple[Operation, ...] = ()
    second_stage: int = 0
    """Index of the first operation that a staged activation leaves to its second stage."""
    removes: tuple[str, ...] = ()
    """Host paths that go after the last operation."""
    notes: tuple[str, ...] = field(default=())
    transfer_bytes: int | None = None
    """How much would be fetched, for a source elsewhere. No part of the identity: what came before is not fetched again."""

    @property
    def changes_nothing(self) -> bool:
        """Whether everything is as it shall be."""
        return not self.stages and not self.operations and self.active == self.target

    @property
    def digest(self) -> Digest:
        """Identity of the plan, for approving it elsewhere."""
        return digest_bytes(canonical.dumps(self._to_dict()))

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form, with the digest."""
        transfer: dict[str, JsonValue] = {} if self.transfer_bytes is None else {"transfer_bytes": self.transfer_bytes}
        return {**self._to_dict(), **transfer, "digest": self.digest}

    def _to_dict(self) -> dict[str, JsonValue]:
        return {
            "version": 1,
            "action": self.action.value,
            "dest": self.dest,
            "suffix": self.suffix,
            "active": self.active,
            "target": self.target,
            "stages": self.stages,
            "tree": self.tree,
            "layers": [dict(layer) for layer in self.layers],
            "files": [change.to_dict() for change in self.files],
            "operations": [operation.to_dict() for operation in self.operations],
            "second_stage": self.second_stage,
            "removes": list(self.removes),
            "notes": list(self.notes),
            "changes_nothing": self.changes_nothing,
        }


def file_changes(
    old: Tree | None, new: Tree, owners: Mapping[RelPath, str], generated: Collection[RelPath], retained: Collection[RelPath]
) -> tuple[FileChange, ...]:
    """Return the files and links that differ between two trees, in byte order; directories are not listed."""
    before: Mapping[RelPath, Entry] = {} if old is None else old.entries
    made, kept = frozenset(generated), frozenset(retained)
    changes: list[FileChange] = []
    for path, entry in new.entries.items():
        if isinstance(entry, Directory) or same_entry(before, path, new.entries, path):
            continue
        origin = "generated" if path in made else "retained" if path in kept else owners.get(path, "generated")
        changes.append(FileChange(path=path, change="change" if path in before else "add", origin=origin))
    for path, entry in before.items():
        if path not in new.entries and not isinstance(entry, Directory):
            changes.append(FileChange(path=path, change="remove", origin="no longer wanted"))
    return tuple(sorted(changes, key=lambda change: change.path))


def same_entry(old: Mapping[RelPath, Entry], path: RelPath, new: Mapping[RelPath, Entry], other: RelPath) -> bool:
    """Return whether two paths have equal content and mode, hard links taken as the files they are."""
    return path in old and _content(old, path) == _content(new, other)


def link_of(name: str) -> str:
    """Return where the top-level link ``name`` in ``<dest>`` points."""
    return f"{STATE}/current/{name}"


def links_there(site: Site) -> dict[str, str | None]:
    """Return the names in ``<dest>`` with the text of links, ``None`` for what is no link."""
    try:
        names = sorted(os.listdir(site.folder))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    places = {name: os.path.join(site.folder, name) for name in names}
    return {name: os.readlink(place) if os.path.islink(place) else None for name, place in places.items()}


def plan_links(site: Site, names: Iterable[str], there: Mapping[str, str | None]) -> list[Operation]:
    """Return the links for top-level ``names`` that are missing. Raises :class:`HostError` for a name that somebody else has."""
    operations: list[Operation] = []
    for name in sorted(names):
        wanted, found = link_of(name), there.get(name)
        if found == wanted:
            continue
        path = posixpath.join(site.dest, name)
        if name in there and (found is None or not found.startswith(f"{STATE}/")):
            msg = f'"{path}" is in the way: it is not of this install'
            raise HostError(msg, hint="move it away, or choose another install directory")
        operations.append(SetLink(path=path, target=wanted, before=found, reason=f"makes {path} lead into the active generation"))
    return operations


def plan_removed_links(site: Site, names: Collection[str], there: Mapping[str, str | None]) -> list[Operation]:
    """Return the removal of our links whose name is not in ``names``."""
    return [
        RemoveLink(path=posixpath.join(site.dest, name), before=found, reason="nothing in the new generation has that name")
        for name, found in sorted(there.items())
        if found is not None and found == link_of(name) and name not in names
    ]


def plan_switch(site: Site, active: int | None, target: int) -> list[Operation]:
    """Return the one rename that makes ``target`` the active generation; nothing when it is."""
    if active == target:
        return []
    before = None if active is None else f"generations/{active}"
    return [
        SetLink(
            path=site.state_path("current"),
            target=f"generations/{target}",
            before=before,
            reason=f"makes generation {target} the active one",
        )
    ]


def plan_second_copy(
    site: Site, active: int | None, target: int, carried: Mapping[RelPath, Digest], ours: Iterable[RelPath]
) -> list[Operation]:
    """Return the second copy of administrators' files, for what they changed while the generation was staged."""
    if active is None or active == target:
        return []
    return [
        CarryUserFiles(
            source=site.state_path(f"generations/{active}"),
            target=site.state_path(f"generations/{target}"),
            carried=carried,
            ours=tuple(sorted(ours)),
            reason="copies what administrators changed meanwhile",
        )
    ]


def plan_calls(calls: Iterable[Mapping[str, JsonValue]], reason: str) -> list[Operation]:
    """Return service calls as operations."""
    return [CallService(what=what, reason=reason) for what in calls]


def plan_services(
    edits: EditPlan, services: Iterable[Mapping[str, JsonValue]], restarts: Mapping[str, Mapping[str, JsonValue]]
) -> list[Operation]:
    """Return the service calls: ``services`` as they are, a program's restart only when one of its files changes."""
    operations = plan_calls(services, "asked for by the configuration")
    for program in edits.programs:
        what = restarts.get(program, {"call": "restart", "program": program})
        operations.append(CallService(what=what, reason=f"{program} has to load what changed"))
    return operations


def keep_contents(machine: Machine, contents: Mapping[Digest, bytes]) -> None:
    """Store the contents that operations refer to; to be called, and flushed, before the journal is written."""
    for digest, data in sorted(contents.items()):
        if not machine.objects.has(digest):
            machine.objects.put(data)


def _content(entries: Mapping[RelPath, Entry], path: RelPath) -> Entry | None:
    entry = entries.get(path)
    while isinstance(entry, Hardlink):
        entry = entries.get(entry.target)
    return entry if not isinstance(entry, File) else File(mode=entry.mode, size_bytes=entry.size_bytes, digest=entry.digest)
