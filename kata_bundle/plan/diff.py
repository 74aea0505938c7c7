"""What differs between two catalogs, two locks or two bundles.

Each is a set of items first (a shim, a component, a RuntimeClass, …) with flat facts, so that one comparison serves all three.
Files are compared only where trees differ, through a function of the caller's, who can read them. Must not know: where the sides
come from, how a difference is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kata_bundle.core.relpath import os_bytes
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink, Tree
from kata_bundle.plan.size import Weight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.tree import Entry

__all__ = [
    "Change",
    "DiffReport",
    "Difference",
    "FileChange",
    "Item",
    "ItemKey",
    "Snapshot",
    "SnapshotKind",
    "Subject",
    "compare_snapshots",
    "compare_trees",
    "flatten",
]


class SnapshotKind(StrEnum):
    """What a side is."""

    CATALOG = "catalog"
    LOCK = "lock"
    BUNDLE = "bundle"


class Subject(StrEnum):
    """What an item is, in the order in which differences are told."""

    SHIM = "shim"
    COMPONENT = "component"
    RUNTIME_CLASS = "RuntimeClass"
    DEFAULTS = "defaults"
    RELEASE = "release"


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemKey:
    """What an item is called; ``arch`` is the kernel's name, ``None`` for what is the same everywhere."""

    subject: Subject
    name: str
    arch: str | None = None

    @property
    def order(self) -> tuple[int, str, str]:
        """Sorting key: by subject, name, architecture."""
        return list(Subject).index(self.subject), self.name, self.arch or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """Flat facts of one thing, and what it weighs and contains where that is known."""

    facts: Mapping[str, JsonValue]
    weight: Weight | None = None
    packed: Digest | None = None
    tree: Digest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One side of a comparison."""

    kind: SnapshotKind
    name: str
    """As the user named it."""
    items: Mapping[ItemKey, Item]

    @property
    def weight(self) -> Weight | None:
        """Bytes of all layers, equal ones once; ``None`` when nothing has a weight."""
        layers = {item.packed: item.weight for item in self.items.values() if item.packed is not None and item.weight is not None}
        return sum(layers.values(), start=Weight()) if layers else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A fact that differs; ``None`` where a side does not have it."""

    key: str
    old: JsonValue
    new: JsonValue

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"key": self.key, "old": self.old, "new": self.new}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """A path that differs; sizes are those of regular files in bytes, ``None`` on a side that has none there."""

    path: str
    """Bytes that are not UTF-8 as ``\\xNN``."""
    change: str
    """``added``, ``removed``, ``content``, ``mode``, ``target`` (of a link) or ``type``."""
    old_bytes: int | None
    new_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"path": self.path, "change": self.change, "old_bytes": self.old_bytes, "new_bytes": self.new_bytes}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """An item that is only on one side, or differs."""

    key: ItemKey
    change: str
    """``added``, ``removed`` or ``changed``."""
    changes: tuple[Change, ...]
    """Of an added or removed item: all its facts, against nothing."""
    old_weight: Weight | None
    new_weight: Weight | None
    is_repacked: bool
    """Only the bytes of the layer differ: the same content, repacked."""
    files: tuple[FileChange, ...] | None
    """``None`` when files were not compared."""

    def fact(self, key: str) -> Change | None:
        """Return the change of the fact ``key``, ``None`` when it does not differ."""
        return next((change for change in self.changes if change.key == key), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "subject": self.key.subject.value,
            "name": self.key.name,
            "arch": self.key.arch,
            "change": self.change,
            "changes": [change.to_dict() for change in self.changes],
            "old_size": None if self.old_weight is None else self.old_weight.to_dict(),
            "new_size": None if self.new_weight is None else self.new_weight.to_dict(),
            "repacked": self.is_repacked,
            "files": None if self.files is None else [file.to_dict() for file in self.files],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffReport:
    """All differences, by subject, name and architecture."""

    kind: SnapshotKind
    old: str
    new: str
    differences: tuple[Difference, ...]
    old_weight: Weight | None = None
    new_weight: Weight | None = None
    new_layers: Weight | None = field(default=None)
    """Layers that the new side has and the old one lacks: what somebody who has the old one transfers."""

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def of(self, subject: Subject, change: str | None = None) -> tuple[Difference, ...]:
        """Return the differences of one subject, of one kind if given."""
        return tuple(d for d in self.differences if d.key.subject is subject and change in {None, d.change})

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        weights = {"old": self.old_weight, "new": self.new_weight, "new_layers": self.new_layers}
        return {
            "version": 1,
            "kind": self.kind.value,
            "old": self.old,
            "new": self.new,
            "equal": self.is_equal,
            "differences": [difference.to_dict() for difference in self.differences],
            "size": {key: None if weight is None else weight.to_dict() for key, weight in weights.items()},
        }


def compare_snapshots(
    old: Snapshot, new: Snapshot, *, read_trees: Callable[[ItemKey], tuple[Tree | None, Tree | None]] | None = None
) -> DiffReport:
    """Return what differs. ``read_trees`` gives the content of an item on both sides; it is asked only where trees differ."""
    differences = []
    for key in sorted({*old.items, *new.items}, key=lambda key: key.order):
        before, after = old.items.get(key), new.items.get(key)
        if before == after:
            continue
        changes = _changes(before.facts if before else {}, after.facts if after else {})
        trees = {item.tree for item in (before, after) if item is not None}
        files = None
        if read_trees is not None and trees - {None} and (before is None or after is None or len(trees) > 1):
            files = compare_trees(*read_trees(key))
        differences.append(
            Difference(
                key=key,
                change="added" if before is None else "removed" if after is None else "changed",
                changes=changes,
                old_weight=before.weight if before else None,
                new_weight=after.weight if after else None,
                is_repacked=before is not None
                and after is not None
                and before.tree == after.tree
                and before.packed != after.packed,
                files=files,
            )
        )
    return DiffReport(
        kind=new.kind,
        old=old.name,
        new=new.name,
        differences=tuple(differences),
        old_weight=old.weight,
        new_weight=new.weight,
        new_layers=_new_layers(old, new),
    )


def compare_trees(old: Tree | None, new: Tree | None) -> tuple[FileChange, ...]:
    """Return every path below which something other than a directory's existence differs, in byte order."""
    before = old.entries if old else {}
    after = new.entries if new else {}
    paths = dict.fromkeys([*before, *after])
    found = []
    for path in sorted(paths, key=os_bytes):
        a, b = before.get(path), after.get(path)
        if a == b or (isinstance(a or b, Directory) and (a is None or b is None)):
            continue
        shown = os_bytes(path).decode("utf-8", "backslashreplace")
        found.append(FileChange(path=shown, change=_how(a, b), old_bytes=_size(a), new_bytes=_size(b)))
    return tuple(found)


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, JsonValue]:
    """Return nested objects as one, keys joined by dots; lists and empty objects stay values."""
    flat: dict[str, JsonValue] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat.update(flatten(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def _changes(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> tuple[Change, ...]:
    keys = dict.fromkeys([*new, *old])
    return tuple(
        Change(key=key, old=old.get(key), new=new.get(key))
        for key in keys
        if (key in old) != (key in new) or old[key] != new[key]
    )


def _new_layers(old: Snapshot, new: Snapshot) -> Weight | None:
    if new.weight is None:
        return None
    had = {item.packed for item in old.items.values()}
    fresh = {
        i.packed: i.weight for i in new.items.values() if i.packed is not None and i.weight is not None and i.packed not in had
    }
    return sum(fresh.values(), start=Weight())


def _how(old: Entry | None, new: Entry | None) -> str:
    match old, new:
        case None, _:
            return "added"
        case _, None:
            return "removed"
        case File(), File():
            return "mode" if (old.digest, old.size_bytes) == (new.digest, new.size_bytes) else "content"
        case (Symlink(), Symlink()) | (Hardlink(), Hardlink()):
            return "target"
        case Directory(), Directory():
            return "mode"
    return "type"


def _size(entry: Entry | None) -> int | None:
    return entry.size_bytes if isinstance(entry, File) else None
