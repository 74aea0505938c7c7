"""Files that administrators put into the ``config.d`` directories of a generation: found, carried over, never linked.

A file there is theirs unless the generation's tree has it, or its name is one that only the installer uses. Carried files are
always copies, since readers of such directories refuse links, and so that an edit in place touches one generation only.
Must not know: receipts, activation.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, ClassVar, Final

from kata_bundle.core.digest import Digest, digest_bytes, parse_digest
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, parents, parse_relpath

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from kata_bundle.core.fields import Fields, JsonValue
    from kata_bundle.core.fsops import FileOps
    from kata_bundle.node.machine import Machine

__all__ = ["MANAGED_NAMES", "CarryUserFiles", "find_user_files", "mirror_user_files"]

MANAGED_NAMES: Final = frozenset(
    {
        "10-installation-prefix.toml",
        "20-debug.toml",
        "22-k0s-kubelet-root.toml",
        "25-devkit.toml",
        "30-kernel-params.toml",
        "50-overrides.toml",
        "50-user-overrides.toml",
    }
)
"""Names that only the installer writes (installer specification §7). A left-over of one of them would change how guests boot."""

_DROP_IN: Final = "config.d"
_UNFINISHED: Final = ".kata-bundle-new"
_BELOW: Final = "share/defaults/kata-containers"


def find_user_files(generation: str, ours: Collection[RelPath]) -> dict[RelPath, Digest]:
    """Return the administrators' files in the tree at ``generation`` with their digests; ``ours`` are the paths that are not.

    Links count with the content they lead to. What cannot be read as a regular file is left out.
    """
    known = set(ours)
    found: dict[RelPath, Digest] = {}
    for folder in _drop_in_folders(generation):
        for name in sorted(os.listdir(os.path.join(generation, folder))):
            path = RelPath(f"{folder}/{name}")
            if path in known or name in MANAGED_NAMES:
                continue
            data = _read(os.path.join(generation, path))
            if data is not None:
                found[path] = digest_bytes(data)
    return found


def mirror_user_files(
    files: FileOps, source: str, target: str, wanted: Mapping[RelPath, Digest], ours: Collection[RelPath]
) -> None:
    """Make the administrators' files of the tree at ``target`` the ``wanted`` ones of the tree at ``source``.

    Files at ``target`` that are not wanted go; equal ones are left alone. Directories are made as needed.
    """
    there = find_user_files(target, ours)
    for path in there:
        if path not in wanted:
            files.unlink(os.path.join(target, path))
    for path, digest in wanted.items():
        if there.get(path) != digest or os.path.islink(os.path.join(target, path)):
            _copy(files, source, target, path)


@record
class CarryUserFiles:
    """The second copy, after the switch: what administrators changed in the old generation since the first copy was made.

    ``carried`` is the first copy. Where both generations changed since, the new one's file stays. There is no undo: the old
    generation, which comes back, was never touched.
    """

    kind: ClassVar[str] = "carry-user-files"
    source: str
    target: str
    carried: Mapping[RelPath, Digest]
    ours: tuple[RelPath, ...]
    """Paths of the installer's own files in the source's drop-in directories."""
    reason: str

    @property
    def subject(self) -> str:
        """The tree that they are copied to."""
        return self.target

    def probe(self, machine: Machine) -> bool:
        """Return whether nothing has to be copied."""
        return not any(self._pending(machine))

    def apply(self, machine: Machine) -> None:
        """Copy what changed."""
        source, target = machine.site.at(self.source, follow=True), machine.site.at(self.target, follow=True)
        for path, now in list(self._pending(machine)):
            if now is None:
                machine.files.unlink(os.path.join(target, path))
            else:
                _copy(machine.files, source, target, path)

    def undo(self, machine: Machine) -> None:
        """Nothing: the old generation still has its files."""

    def clean(self, machine: Machine) -> None:
        """Remove temporary copies."""
        target = machine.site.at(self.target, follow=True)
        for folder in _drop_in_folders(target):
            parent = os.path.join(target, os.path.dirname(folder))
            for name in sorted(os.listdir(parent)):
                if name.startswith(".") and name.endswith(_UNFINISHED):
                    machine.files.unlink(os.path.join(parent, name))

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "source": self.source,
            "target": self.target,
            "carried": dict(self.carried.items()),
            "ours": list(self.ours),
            "reason": self.reason,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> CarryUserFiles:
        """Return the operation of its JSON form."""
        return cls(
            source=fields.text("source"),
            target=fields.text("target"),
            carried={parse_relpath(path): parse_digest(text) for path, text in fields.text_map("carried").items()},
            ours=tuple(parse_relpath(path) for path in fields.texts("ours")),
            reason=fields.text("reason"),
        )

    def _pending(self, machine: Machine) -> Iterator[tuple[RelPath, Digest | None]]:
        source, target = machine.site.at(self.source, follow=True), machine.site.at(self.target, follow=True)
        if not os.path.isdir(source) or not os.path.isdir(target):
            return
        now = find_user_files(source, self.ours)
        for path in {**self.carried, **now}:
            first, old = self.carried.get(path), now.get(path)
            if old == first:
                continue
            data = _read(os.path.join(target, path))
            new = None if data is None else digest_bytes(data)
            if new == first:
                yield path, old
            elif new != old:
                machine.progress.note(f"{self.target}/{path} was changed in both generations: the new one's is kept")


def _drop_in_folders(generation: str) -> Iterator[str]:
    """Yield the drop-in directories below ``generation``, links not followed, in byte order."""
    pending = [_BELOW]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(generation, folder)) as listing:
                names = sorted((item.name for item in listing if item.is_dir(follow_symlinks=False)), reverse=True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if name == _DROP_IN:
                yield f"{folder}/{name}"
            else:
                pending.append(f"{folder}/{name}")


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as stream:
        return stream.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _copy(files: FileOps, source: str, target: str, path: RelPath) -> None:
    origin, place = os.path.join(source, path), os.path.join(target, path)
    for parent in parents(path):
        if not os.path.isdir(os.path.join(target, parent)):
            files.make_directory(os.path.join(target, parent))
    # Readers load every name in a drop-in directory: the unfinished copy lies in its parent.
    temporary = _temporary(place)
    files.copy_file(os.path.realpath(origin), temporary, stat.S_IMODE(os.stat(origin).st_mode) & 0o777)
    files.rename(temporary, place)


def _temporary(place: str) -> str:
    folder, name = os.path.split(place)
    return os.path.join(os.path.dirname(folder), f".{name}{_UNFINISHED}")
