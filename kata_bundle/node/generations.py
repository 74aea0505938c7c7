"""Staging: a complete new generation beside the active one, verified and flushed before anything points to it.

Files equal to those of the active generation become further names of the same inodes, so modes are settled before anything is
linked and a linked inode is never modified. Where linking is impossible (another file system, too many links) or would bring a
wrong SELinux label along, the file is copied. Must not know: links in ``<dest>``, host edits, receipts.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.durable import flush_directories, flush_files
from kata_bundle.core.digest import HashingWriter
from kata_bundle.core.errors import HostError, IntegrityError
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import DIRECTORY_MODE, Directory, File, Hardlink, Symlink, Tree
from kata_bundle.node.seen import is_same_file, signature
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
_LAYERS: Final = ".layers"
_LABEL: Final = "security.selinux"


@record
class Previous:
    """The active generation as a source of links: its tree, and the paths found unchanged on disk."""

    folder: str
    tree: Tree
    unchanged: frozenset[RelPath]
    generated: frozenset[RelPath]
    """Never linked: an administrator's edit in place would reach both generations."""
    stats: Mapping[RelPath, str]
    """What ``lstat`` said of each path before it was found unchanged."""


class Staging:
    """Generation ``number`` while it is built, under names that the next start takes for garbage.

    With ``durable`` all of it is on the disk before it gets its name; without, the kernel writes it out in its own time.
    """

    def __init__(self, machine: Machine, number: int, *, durable: bool = False, verify_files: bool = False) -> None:
        self._machine = machine
        self._durable = durable
        self._verify_files = verify_files
        self._files = machine.files
        self._final = machine.site.generation(number)
        self._layers = self._final + _LAYERS
        self.folder = self._final + _PARTIAL
        self.placed: dict[RelPath, str] = {}
        """What ``lstat`` said of every file once it was in place."""
        self._unflushed: list[RelPath] = []
        """Files that were made here."""

    def begin(self) -> None:
        """Make the empty directory."""
        self._files.make_directory(self._machine.site.generations)
        self.discard()
        self._files.make_directory(self.folder)

    def discard(self) -> None:
        """Remove what was staged."""
        remove_tree(self._files, self.folder)
        remove_tree(self._files, self._layers)

    def extract(self, refs: Sequence[LayerRef], contents: Contents, dest: str) -> dict[str, Tree]:
        """Unpack each of ``refs`` into a directory of its own, all at once; return component → tree as archived.

        Files whose content is at hand already are left out, where the layer has a table of contents, and so are the frames that
        hold nothing else. Where the contents lie is added to ``contents``. Apart from each other, what two layers bring
        differently is not lost.
        """
        from kata_bundle.archive.extract import ExtractOptions, LayerJob, extract_layers

        self._files.make_directory(self._layers)
        jobs: list[LayerJob] = []
        for ref in refs:
            folder = os.path.join(self._layers, ref.component)
            self._files.make_directory(folder)
            jobs.append(
                LayerJob(
                    what=f"layer {ref.component}",
                    path=ref.path,
                    target=Path(folder),
                    packed=ref.packed,
                    tree=ref.tree,
                    table=ref.table,
                )
            )
        done = extract_layers(
            jobs,
            dest=dest,
            files=self._files,
            options=ExtractOptions(jobs=self._machine.jobs, durable=self._durable, verify_files=self._verify_files),
            wanted=lambda _path, file: not contents.has(file.digest),
            progress=self._machine.progress,
        )
        trees = {ref.component: extracted.tree for ref, extracted in zip(refs, done, strict=True)}
        for job, tree in zip(jobs, trees.values(), strict=True):
            for path, entry in tree.entries.items():
                place = os.path.join(job.target, path)
                if isinstance(entry, File) and entry.digest not in contents.files and os.path.lexists(place):
                    contents.files[entry.digest] = place
        return trees

    def restore(self, component: str, delta: Path, tree: Digest, contents: Contents) -> Tree:
        """Make the files of ``tree`` that are not at hand from those that are and ``delta``; return the tree.

        Where they lie is added to ``contents``. Raises :class:`IntegrityError` when the delta does not give them.
        """
        from kata_bundle.archive.deltaapply import restore_files

        folder = os.path.join(self._layers, f".delta-{component}")
        self._files.make_directory(self._layers)
        self._files.make_directory(folder)
        made = restore_files(
            delta,
            contents.path,
            Path(folder),
            what=f"delta of {component}",
            expected_tree=tree,
            jobs=self._machine.jobs,
            files=self._files,
            progress=self._machine.progress,
        )
        if self._durable:
            flush_files([(Path(folder), RelPath(path.name)) for path in made.files.values()])
        for digest, path in made.files.items():
            contents.files.setdefault(digest, os.fspath(path))
        return made.table.tree

    def keep_originals(self, originals: Collection[Digest], contents: Contents) -> None:
        """Keep payload files that the new tree does not have as objects: the next plan is computed from them."""
        for digest in sorted(originals):
            if not self._machine.objects.has(digest):
                self._machine.objects.put(contents.read(digest))

    def fill(self, tree: Tree, contents: Contents, previous: Previous | None, generated: Collection[RelPath]) -> None:
        """Make the empty directory hold exactly ``tree``: linked from ``previous`` where equal, else moved, copied or written."""
        fresh = frozenset(generated)
        for path, entry in tree.entries.items():
            place = os.path.join(self.folder, path)
            match entry:
                case Directory():
                    self._files.make_directory(place)
                case File():
                    if path in fresh or previous is None or not self._link_previous(previous, path, entry, place):
                        self._place(path, entry, contents)
                    self.placed[path] = signature(place)
                case Symlink(target=target):
                    self._files.symlink(target, place)
                case Hardlink(target=target):
                    self._link(target, path)
        for path, entry in reversed(list(tree.entries.items())):
            if isinstance(entry, Directory) and entry.mode != DIRECTORY_MODE:
                self._files.set_mode(os.path.join(self.folder, path), entry.mode)
        remove_tree(self._files, self._layers)

    def carry(self, source: str, wanted: Mapping[RelPath, Digest], ours: Collection[RelPath]) -> None:
        """Copy the administrators' files ``wanted`` from the generation at ``source``."""
        self._unflushed += wanted
        mirror_user_files(self._files, source, self.folder, wanted, ours)

    def finish(self) -> None:
        """Give the generation its name; when it shall survive a power cut, only after all of it is on the disk."""
        if self._durable:
            # What was unpacked was flushed while the rest was unpacked; renamed or linked since, its content is where it was.
            self._files.announce("fsync", self.folder)
            flush_files([(Path(self.folder), path) for path in self._unflushed])
            flush_directories([Path(self.folder)], self._files)
        self._files.rename(self.folder, self._final)
        self._files.sync_directory(self._machine.site.generations)

    def _place(self, path: RelPath, entry: File, contents: Contents) -> None:
        """Make ``path`` a file with an inode of its own, or that of an unpacked layer, which nobody else has."""
        place, source = os.path.join(self.folder, path), contents.path(entry.digest)
        if source is None:
            self._files.create_file(place, contents.read(entry.digest), entry.mode)
            self._unflushed.append(path)
        elif source.startswith(self._layers + "/"):
            self._files.rename(source, place)
            if os.lstat(place).st_mode & 0o7777 != entry.mode:
                self._files.set_mode(place, entry.mode)
            contents.files[entry.digest] = place
        else:
            self._copy(source, path, entry)

    def _copy(self, source: str, path: RelPath, entry: File) -> None:
        """Make ``path`` a file of its own with the content of ``source``, which is compared when it has to be read."""
        self._unflushed.append(path)
        hashed = HashingWriter(_Nowhere())
        is_read = self._files.copy_file(source, os.path.join(self.folder, path), entry.mode, on_data=hashed.write)
        if is_read and (hashed.digest, hashed.size_bytes) != (entry.digest, entry.size_bytes):
            msg = f'"{source}" was changed while the install ran: its digest is {hashed.digest}, expected {entry.digest}'
            raise IntegrityError(msg, hint="run the command again")

    def _link_previous(self, previous: Previous, path: RelPath, entry: File, place: str) -> bool:
        if path not in previous.unchanged or path in previous.generated or previous.tree.entries.get(path) != entry:
            return False
        source = os.path.join(previous.folder, path)
        if _label(source) != _label(self.folder):
            return False
        try:
            self._files.link(source, place)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        if path in previous.stats and not is_same_file(previous.stats[path], signature(place)):
            msg = f'"{source}" was changed while the install ran'
            raise HostError(msg, hint="run the command again")
        return True

    def _link(self, source: RelPath, path: RelPath) -> None:
        """Make ``path`` a further name of ``source`` in the same tree, or a copy where names have run out."""
        first, place = os.path.join(self.folder, source), os.path.join(self.folder, path)
        try:
            self._files.link(first, place)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._files.copy_file(first, place, os.lstat(first).st_mode & 0o7777)
            self._unflushed.append(path)


class _Nowhere:
    """Takes what is only to be hashed."""

    def write(self, data: bytes, /) -> object:
        return len(data)


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


def _label(path: str) -> str | None:
    """Return the type part of the SELinux label of ``path``, ``None`` without SELinux."""
    try:
        return os.getxattr(path, _LABEL, follow_symlinks=False).decode("ascii", "replace").split(":")[2]
    except (OSError, IndexError):
        return None
