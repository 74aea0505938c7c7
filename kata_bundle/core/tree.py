"""Directory content as data. A tree's identity is the digest of its canonical JSON: names, modes, links, file digests.

Dates and owners are no part of it. Directories that a format leaves out (a tarball may name ``a/b`` without ``a``) are added with
mode 0755, so that an archive, its extraction and a re-reading of the extraction give the same tree.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kata_bundle.core import canonical
from kata_bundle.core.digest import Digest, digest_bytes, parse_digest
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, os_bytes, parse_relpath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "DIRECTORY_MODE",
    "Directory",
    "Entry",
    "File",
    "Hardlink",
    "Symlink",
    "Tree",
    "TreeDifference",
    "below",
    "compare",
    "entry_from_dict",
    "entry_to_dict",
    "merge",
]

DIRECTORY_MODE: Final = 0o755


@record
class Directory:
    """A directory with its permission bits."""

    mode: int = DIRECTORY_MODE


@record
class File:
    """A regular file: permission bits, length and content digest."""

    mode: int
    size_bytes: int
    digest: Digest


@record
class Symlink:
    """A symbolic link with its target as stored."""

    target: str


@record
class Hardlink:
    """A further name of the regular file at ``target``, which sorts before it."""

    target: RelPath


Entry: TypeAlias = Directory | File | Symlink | Hardlink


@record(kw_only=False, slots=False)
class Tree:
    """Immutable directory content; ``entries`` is sorted by the bytes of the path. Build one with :meth:`of`."""

    entries: Mapping[RelPath, Entry]

    @classmethod
    def of(cls, entries: Mapping[RelPath, Entry]) -> Tree:
        """Return a tree of ``entries`` with implied directories added.

        The first name in byte order of a set of hard links becomes the file, the others links to it. Raises
        :class:`IntegrityError` when an entry lies below something that is no directory or a hard link has no target.
        """
        full: dict[RelPath, Entry] = dict(entries)
        for path in entries:
            end = path.rfind("/")
            while end > 0:
                parent = RelPath(path[:end])
                kind = full.get(parent)
                if isinstance(kind, Directory):
                    break  # its own parents were or will be looked at; all of them again costs minutes for hostile depths
                if kind is not None:
                    msg = f'"{path}" lies below "{parent}", which is a {type(kind).__name__.lower()}'
                    raise IntegrityError(msg)
                full[parent] = Directory()
                end = path.rfind("/", 0, end)
        groups: dict[RelPath, list[RelPath]] = {}
        for path, entry in full.items():
            if isinstance(entry, Hardlink):
                first, seen = entry.target, {path}
                while isinstance(link := full.get(first), Hardlink) and first not in seen:
                    seen.add(first)
                    first = link.target
                if not isinstance(full.get(first), File):
                    msg = f'hard link "{path}" points to "{entry.target}", which is no regular file of the tree'
                    raise IntegrityError(msg)
                groups.setdefault(first, []).append(path)
        for first, others in groups.items():
            names = sorted([first, *others], key=os_bytes)
            content = full[first]
            full[names[0]] = content
            for name in names[1:]:
                full[name] = Hardlink(target=names[0])
        return cls(dict(sorted(full.items(), key=lambda item: os_bytes(item[0]))))

    @cached_property
    def digest(self) -> Digest:
        """The tree's identity."""
        return digest_bytes(self.to_json())

    @property
    def size_bytes(self) -> int:
        """Sum of the lengths of all regular files, hard-linked ones once."""
        return sum(entry.size_bytes for entry in self.entries.values() if isinstance(entry, File))

    @property
    def file_count(self) -> int:
        """Number of regular files, hard-linked ones once."""
        return sum(isinstance(entry, File) for entry in self.entries.values())

    def to_json(self) -> bytes:
        """Return the canonical document, whose sha256 is :attr:`digest`."""
        return canonical.dumps({"version": 1, "entries": {path: entry_to_dict(e) for path, e in self.entries.items()}})

    @classmethod
    def from_json(cls, data: bytes, *, what: str = "tree") -> Tree:
        """Return the tree of a document made by :meth:`to_json`; raise :class:`IntegrityError` for anything else."""
        document = canonical.loads(data, what=what)
        if not isinstance(document, dict) or document.get("version") != 1 or not isinstance(document.get("entries"), dict):
            msg = f"{what} is not a tree document of version 1"
            raise IntegrityError(msg)
        tree = cls.of({parse_relpath(path): entry_from_dict(path, entry) for path, entry in document["entries"].items()})
        if tree.to_json() != data:
            msg = f"{what} is not in canonical form"
            raise IntegrityError(msg)
        return tree


@record
class TreeDifference:
    """Paths that differ between an expected and a found tree, each list in byte order."""

    missing: tuple[RelPath, ...]
    extra: tuple[RelPath, ...]
    changed: tuple[RelPath, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.changed)


def compare(expected: Tree, found: Tree) -> TreeDifference:
    """Return where ``found`` differs from ``expected``."""
    old, new = expected.entries, found.entries
    return TreeDifference(
        missing=tuple(path for path in old if path not in new),
        extra=tuple(path for path in new if path not in old),
        changed=tuple(path for path in old if path in new and old[path] != new[path]),
    )


def below(tree: Tree, path: str) -> Tree:
    """Return what lies below directory ``path`` of ``tree``, with paths as seen from there; empty when nothing does."""
    prefix = f"{path}/"
    return Tree.of({RelPath(name.removeprefix(prefix)): e for name, e in tree.entries.items() if name.startswith(prefix)})


def merge(trees: Iterable[tuple[str, Tree]]) -> Tree:
    """Return the union of named trees; raise :class:`IntegrityError` naming both owners when a path differs between two."""
    entries: dict[RelPath, Entry] = {}
    owner: dict[RelPath, str] = {}
    for name, tree in trees:
        for path, entry in tree.entries.items():
            known = entries.get(path)
            if known is not None and known != entry:
                msg = f'"{path}" differs between components "{owner[path]}" and "{name}"'
                raise IntegrityError(msg)
            entries[path] = entry
            owner.setdefault(path, name)
    return Tree.of(entries)


def entry_to_dict(entry: Entry) -> dict[str, Any]:
    """Return the JSON form of one entry, as it stands in a tree document."""
    match entry:
        case Directory():
            return {"type": "directory", "mode": f"{entry.mode:04o}"}
        case File():
            return {"type": "file", "mode": f"{entry.mode:04o}", "size": entry.size_bytes, "digest": entry.digest}
        case Symlink():
            return {"type": "symlink", "target": entry.target}
        case Hardlink():
            return {"type": "hardlink", "target": entry.target}


def entry_from_dict(path: str, value: Any) -> Entry:
    """Return the entry of its JSON form; raise :class:`IntegrityError` naming ``path`` for anything else.

    Members that are not known are ignored: callers compare with the canonical form.
    """
    try:
        match value["type"]:
            case "directory":
                return Directory(mode=_mode(value["mode"]))
            case "file":
                size = value["size"]
                if type(size) is not int or size < 0:
                    raise ValueError
                return File(mode=_mode(value["mode"]), size_bytes=size, digest=parse_digest(value["digest"]))
            case "symlink":
                return Symlink(target=str(value["target"]))
            case "hardlink":
                return Hardlink(target=parse_relpath(value["target"]))
    except (KeyError, TypeError, ValueError):
        pass
    msg = f'tree entry "{path}" is malformed'
    raise IntegrityError(msg)


def _mode(text: str) -> int:
    mode = int(text, 8)
    if not 0 <= mode <= 0o7777:
        raise ValueError
    return mode
