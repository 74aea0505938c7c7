"""Staging: a complete new generation beside the active one, verified and flushed before anything points to it.

Files equal to those of the active generation become further names of the same inodes, so modes are settled before anything is
linked and a linked inode is never modified. Where linking is impossible (another file system, too many links) or would bring a
wrong SELinux label along, the file is copied. Must not know: links in ``<dest>``, host edits, receipts.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.core.relpath import RelPath, os_bytes
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree
from kata_bundle.node.overlay import TreeEditor
from kata_bundle.node.payload import extract_layers, installed_tree
from kata_bundle.node.state import remove_tree
from kata_bundle.node.userfiles import mirror_user_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kata_bundle.core.digest import Digest
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.payload import Contents
    from kata_bundle.node.source import LayerRef

__all__ = ["Previous", "Staging", "sweep_generations"]

_NO_LINK: Final = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS})
_PARTIAL: Final = ".partial"
_LABEL: Final = "security.selinux"


@dataclass(frozen=True, kw_only=True, slots=True)
class Previous:
    """The active generation as a source of links: its tree, and the paths found unchanged on disk."""

    folder: str
    tree: Tree
    unchanged: frozenset[RelPath]
    generated: frozenset[RelPath]
    """Never linked: an administrator's edit in place would reach both generations."""


class Staging:
    """Generation ``number`` while it is built, under a name that the next start takes for garbage."""

    def __init__(self, machine: Machine, number: int) -> None:
        self._machine = machine
        self._files = machine.files
        self._final = machine.site.generation(number)
        self._disk = TreeEditor()
        self.folder = self._final + _PARTIAL
        self.linked = 0
        self.written = 0

    def begin(self) -> None:
        """Make the empty directory."""
        self._files.make_directory(self._machine.site.generations)
        remove_tree(self._files, self.folder)
        self._files.make_directory(self.folder)

    def discard(self) -> None:
        """Remove what was staged."""
        remove_tree(self._files, self.folder)

    def extract(self, refs: Sequence[LayerRef], contents: Contents, dest: str) -> dict[str, Tree]:
        """Unpack ``refs`` here; return component → tree as archived, and add where contents lie to ``contents``."""
        trees = extract_layers(refs, self.folder, dest=dest, files=self._files, progress=self._machine.progress)
        for tree in trees.values():
            self._disk.merge(installed_tree(tree, dest))
        for path, entry in self._disk.tree().entries.items():
            if isinstance(entry, File):
                contents.files.setdefault(entry.digest, os.path.join(self.folder, path))
        return trees

    def keep_originals(self, originals: Collection[Digest], contents: Contents) -> None:
        """Keep payload files that the new tree does not have as objects: the next plan is computed from them."""
        for digest in sorted(originals):
            if not self._machine.objects.has(digest):
                self._machine.objects.put(contents.read(digest))

    def fill(self, tree: Tree, contents: Contents, previous: Previous | None, generated: Collection[RelPath]) -> None:
        """Make the directory hold exactly ``tree``: link what is equal in ``previous``, keep what was unpacked, write more."""
        self._settle(tree, contents)
        self._remove_unwanted(tree)
        fresh = frozenset(generated)
        for path, entry in tree.entries.items():
            place = os.path.join(self.folder, path)
            match entry:
                case Directory():
                    self._directory(path, place)
                case File():
                    self._file(path, place, entry, contents, None if path in fresh else previous)
                case Symlink(target=target):
                    if self._disk.get(path) != entry:
                        self._files.symlink(target, place)
                case Hardlink(target=target):
                    self._hardlink(os.path.join(self.folder, target), place)
        for path, entry in reversed(list(tree.entries.items())):
            if isinstance(entry, Directory):
                self._mode(os.path.join(self.folder, path), entry.mode)

    def carry(self, source: str, wanted: Mapping[RelPath, Digest], ours: Collection[RelPath]) -> None:
        """Copy the administrators' files ``wanted`` from the generation at ``source``."""
        mirror_user_files(self._files, source, self.folder, wanted, ours)

    def finish(self) -> None:
        """Flush everything, kept contents too, and give the generation its name."""
        self._files.sync_file_system(self.folder)
        self._files.rename(self.folder, self._final)
        self._files.sync_directory(self._machine.site.generations)

    def _settle(self, tree: Tree, contents: Contents) -> None:
        """Let ``contents`` name only unpacked files that stay as they are."""
        inside = self.folder + "/"
        for digest, path in list(contents.files.items()):
            if path.startswith(inside):
                del contents.files[digest]
        staying = TreeEditor(tree)
        for name in self._disk.paths():
            entry = self._disk.content(name)
            if isinstance(entry, File):
                wanted = staying.content(name)
                if isinstance(wanted, File) and wanted.digest == entry.digest:
                    contents.files.setdefault(entry.digest, os.path.join(self.folder, name))

    def _remove_unwanted(self, tree: Tree) -> None:
        for path in sorted(self._disk.paths(), key=os_bytes, reverse=True):
            entry, wanted = self._disk.get(path), tree.entries.get(path)
            if wanted is None or isinstance(entry, Directory) is not isinstance(wanted, Directory):
                remove_tree(self._files, os.path.join(self.folder, path))

    def _directory(self, path: RelPath, place: str) -> None:
        if not isinstance(self._disk.get(path), Directory):
            self._files.make_directory(place)
        elif os.geteuid() and not os.access(place, os.W_OK):
            self._files.set_mode(place, 0o755)

    def _file(self, path: RelPath, place: str, entry: File, contents: Contents, previous: Previous | None) -> None:
        there = self._disk.content(path)
        is_there = isinstance(there, File) and there.digest == entry.digest
        if previous is not None and _linkable(previous, path, entry) and self._link(previous, path, place):
            self.linked += 1
            return
        self.written += 1
        if not is_there:
            self._write(place, entry, contents)
        else:
            self._mode(place, entry.mode)

    def _write(self, place: str, entry: File, contents: Contents) -> None:
        source = contents.path(entry.digest)
        if source is None:
            self._files.create_file(place, contents.read(entry.digest), entry.mode)
        else:
            self._files.copy_file(source, place, entry.mode)

    def _link(self, previous: Previous, path: RelPath, place: str) -> bool:
        source = os.path.join(previous.folder, path)
        if _label(source) != _label(self.folder):
            return False
        try:
            if os.path.lexists(place):
                self._files.link(source, place + ".link")
                self._files.rename(place + ".link", place)
            else:
                self._files.link(source, place)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def _hardlink(self, source: str, place: str) -> None:
        if os.path.lexists(place):
            if os.path.samestat(os.lstat(source), os.lstat(place)):
                return
            self._files.unlink(place)
        self._files.link(source, place)

    def _mode(self, place: str, mode: int) -> None:
        if os.lstat(place).st_mode & 0o7777 != mode:
            self._files.set_mode(place, mode)


def sweep_generations(machine: Machine, keep: Collection[int]) -> None:
    """Remove every generation and every unfinished one but those in ``keep``."""
    wanted = {str(number) for number in keep}
    try:
        names = sorted(os.listdir(machine.site.generations))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name not in wanted:
            remove_tree(machine.files, os.path.join(machine.site.generations, name))


def _linkable(previous: Previous, path: RelPath, entry: Entry) -> bool:
    return path in previous.unchanged and path not in previous.generated and previous.tree.entries.get(path) == entry


def _label(path: str) -> str | None:
    """Return the type part of the SELinux label of ``path``, ``None`` without SELinux."""
    try:
        return os.getxattr(path, _LABEL, follow_symlinks=False).decode("ascii", "replace").split(":")[2]
    except (OSError, IndexError):
        return None
