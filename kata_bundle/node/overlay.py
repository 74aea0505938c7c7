"""What is put on top of the payload for this node: generated configuration files and links, and payload files left out.

An overlay is a value that a pure function of configuration and payload makes; staging lays it over the payload with new inodes,
never through a file that an earlier generation shares. Must not know: what the files say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.record import field, record
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.tree import Entry

__all__ = [
    "EMPTY_OVERLAY",
    "Overlay",
    "OverlayFile",
    "OverlayLink",
    "Payload",
    "TreeEditor",
    "with_executable_bits",
    "with_overlay",
]

EXECUTABLE_FOLDERS: Final = ("bin", "runtime-rs/bin")
"""Where every file is a program (installer specification §5.4, point 5)."""


@record
class OverlayFile:
    """A generated file."""

    data: bytes
    mode: int = 0o644


@record
class OverlayLink:
    """A generated symbolic link."""

    target: str


OverlayEntry: TypeAlias = OverlayFile | OverlayLink


@record
class Overlay:
    """Files and links to add or replace, and payload paths to leave out (with everything below them)."""

    files: Mapping[RelPath, OverlayEntry] = field(default_factory=dict)
    removals: frozenset[RelPath] = frozenset()
    directories: frozenset[RelPath] = frozenset()
    """Directories that have to exist even if nothing is in them, such as an empty ``config.d``."""
    notes: tuple[str, ...] = ()
    """What an operator should know of it, a sentence each."""


EMPTY_OVERLAY: Final = Overlay()


class Payload(Protocol):
    """The components as they will be installed, before the overlay: what an overlay is computed from."""

    @property
    def tree(self) -> Tree:
        """All components merged, links rewritten, programs executable."""

    def read(self, path: RelPath) -> bytes:
        """Return the content of the regular file ``path``, links inside the tree followed; ``KeyError`` when it is none."""


class TreeEditor:
    """A tree that is changed entry by entry, the way a disk would be: later entries win, also across types (D31).

    Hard links stay true: when the name that holds the file goes, another name of it takes over.
    """

    def __init__(self, tree: Tree | None = None) -> None:
        self._entries: dict[RelPath, Entry] = dict(tree.entries) if tree is not None else {}

    def __contains__(self, path: RelPath) -> bool:
        return path in self._entries

    def get(self, path: RelPath) -> Entry | None:
        """Return the entry at ``path``, ``None`` when there is none."""
        return self._entries.get(path)

    def put(self, path: RelPath, entry: Entry) -> None:
        """Set one entry; parents become directories whatever they were, and what was below a former directory goes."""
        found = self._entries.get(path)
        if found is not None and not (isinstance(found, Directory) and isinstance(entry, Directory)):
            self.remove(path)
        end = path.find("/")
        while end > 0:
            parent = RelPath(path[:end])
            known = self._entries.get(parent)
            if known is not None and not isinstance(known, Directory):
                self.remove(parent)
            self._entries.setdefault(parent, Directory())
            end = path.find("/", end + 1)
        self._entries[path] = entry

    def remove(self, path: RelPath) -> None:
        """Remove ``path`` and everything below it."""
        below = f"{path}/"
        gone = [name for name in self._entries if name == path or name.startswith(below)]
        removed = {name: self._entries.pop(name) for name in gone}
        for name, entry in removed.items():
            if isinstance(entry, File):
                self._promote(name, entry)

    def merge(self, tree: Tree) -> tuple[RelPath, ...]:
        """Lay ``tree`` over what is there; return the paths at which something different was replaced."""
        before = {path: self.content(path) for path in tree.entries if path in self._entries}
        replaced = [
            path
            for path, entry in tree.entries.items()
            if path in before and (isinstance(entry, Directory) is not isinstance(before[path], Directory))
        ]
        for path, entry in tree.entries.items():
            self.put(path, entry)
        replaced += [
            path
            for path, entry in before.items()
            if path not in replaced and not isinstance(entry, Directory) and self.content(path) != entry
        ]
        return tuple(sorted(replaced))

    def content(self, path: RelPath) -> Entry | None:
        """Return the entry at ``path``, a hard link as the file it names."""
        entry = self._entries.get(path)
        while isinstance(entry, Hardlink):
            entry = self._entries.get(entry.target)
        return entry

    def set_mode(self, path: RelPath, mode: int) -> None:
        """Give the file at ``path``, and so all its names, the permission bits ``mode``."""
        entry = self._entries.get(path)
        while isinstance(entry, Hardlink):
            path = entry.target
            entry = self._entries.get(path)
        if isinstance(entry, File) and entry.mode != mode:
            self._entries[path] = File(mode=mode, size_bytes=entry.size_bytes, digest=entry.digest)

    def paths(self) -> tuple[RelPath, ...]:
        """Return all paths there are."""
        return tuple(self._entries)

    def tree(self) -> Tree:
        """Return what is there now."""
        return Tree.of(self._entries)

    def _promote(self, name: RelPath, entry: File) -> None:
        others = sorted(other for other, link in self._entries.items() if isinstance(link, Hardlink) and link.target == name)
        for other in others:
            self._entries[other] = entry if other == others[0] else Hardlink(target=others[0])


def with_executable_bits(tree: Tree, dest: str) -> Tree:
    """Return ``tree`` with every file that lies, or is linked to, directly in a program folder having mode 0755."""
    editor = TreeEditor(tree)
    for path in tree.entries:
        if path.rpartition("/")[0] in EXECUTABLE_FOLDERS:
            real = follow(tree, path, dest)
            if real is not None and isinstance(editor.content(real), File):
                editor.set_mode(real, 0o755)
    return editor.tree()


def with_overlay(tree: Tree, overlay: Overlay) -> Tree:
    """Return ``tree`` with ``overlay`` on top."""
    editor = TreeEditor(tree)
    for path in sorted(overlay.removals):
        editor.remove(path)
    for path in sorted(overlay.directories):
        editor.put(path, Directory())
    for path in sorted(overlay.files):
        editor.put(path, overlay_entry(overlay.files[path]))
    return editor.tree()


def overlay_entry(entry: OverlayEntry) -> Entry:
    """Return what core.tree says of a generated entry."""
    if isinstance(entry, OverlayLink):
        return Symlink(target=entry.target)
    return File(mode=entry.mode, size_bytes=len(entry.data), digest=digest_bytes(entry.data))


def follow(tree: Tree, path: RelPath, dest: str) -> RelPath | None:
    """Return the path that ``path`` leads to when all links inside the tree are followed, ``None`` when it leaves or loops.

    Absolute targets below ``dest`` are inside.
    """
    pending, done, links = path.split("/")[::-1], list[str](), 0
    while pending:
        part = pending.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not done:
                return None
            done.pop()
            continue
        entry = tree.entries.get(RelPath("/".join([*done, part])))
        if isinstance(entry, Symlink):
            links += 1
            target = entry.target
            if links > 40:
                return None
            if target.startswith("/"):
                if target != dest and not target.startswith(dest + "/"):
                    return None
                done.clear()
                target = target[len(dest) :]
            pending.extend(target.split("/")[::-1])
            continue
        done.append(part)
    found = RelPath("/".join(done))
    return found if found in tree.entries else None
