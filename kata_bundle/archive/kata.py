"""What a kata-static archive may contain: the entry rules of the node installer (installer specification §5.3, D2, D31).

Members are taken by name, component by component: ``opt/kata/...`` or ``./opt/kata/...``. ``opt/katana``, ``/opt/kata`` and
``../x`` do not have that prefix and are left out like everything else without it. What stays is either a well-defined tree or
refused:

- ``..`` in a name; a member below a file or a link of the archive, so that nothing is ever written through a link;
- devices and FIFOs;
- relative links that leave the tree. ``..`` may stand at the start of a target only: parents are real directories, so there it
  is exact, while after a name its meaning would depend on other links. Absolute targets below ``/opt/kata`` may have none at
  all. Other absolute targets are allowed, since nothing is written through them;
- hard links to anything but a regular file that came earlier in the same archive. Their targets may be written with the prefix,
  with ``./`` or ``/`` before it, or relative to the tree;
- a name that is a directory once and something else another time.

A file or link that comes twice is replaced by the later one, as tar does: the tree is what an extraction leaves. Names linked
to the earlier file keep its content. A directory that comes twice has its last mode. Directories that no member names have mode
0755. Set-id and sticky bits are dropped. Must not know: disks, compression.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.holes import Hole, HoleFinder
from kata_bundle.archive.rules import DEFAULT_LIMITS, PREFIX, Limits, check_symlink, rewrite_target
from kata_bundle.archive.tarheader import Kind
from kata_bundle.archive.tarreader import Member, TarReader
from kata_bundle.core.digest import Digest
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, parse_relpath, quoted
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.streams import Readable

__all__ = ["PREFIX", "KataEntry", "KataReader", "check_symlink", "iter_kata_entries", "rewrite_target"]

_PREFIX_PARTS: Final = PREFIX.split("/")


@record
class KataEntry:
    """An entry on its way: what :mod:`core.tree` says of it, but for a file's digest, which its content will give.

    ``target`` is a symbolic link's text as stored, or the path a hard link shares its file with.
    """

    path: RelPath
    kind: Kind
    mode: int
    size_bytes: int
    mtime_ns: int
    target: str


class KataReader:
    """Iterate the entries of the uncompressed archive in ``stream``, once; then :meth:`tree` is what it holds.

    :meth:`chunks` gives the content of the entry last handed out; what is not asked for is read all the same. ``left_out``
    counts the members without the prefix. ``what`` names the archive in errors. Without ``identify`` contents are not hashed, and
    there is no tree. With ``find_holes`` runs of zeros are looked for in contents.
    """

    def __init__(
        self, stream: Readable, *, what: str, limits: Limits = DEFAULT_LIMITS, identify: bool = True, find_holes: bool = False
    ) -> None:
        self._tar = TarReader(stream, what=what, limits=limits)
        self._limits = limits
        self._identify = identify
        self._find_holes = find_holes
        self._names_left = limits.max_name_bytes
        self._found: dict[RelPath, Directory | Symlink | _File] = {}
        self._content: Iterator[bytes] = iter(())
        self.left_out = 0

    def __iter__(self) -> Iterator[KataEntry]:
        for member in self._tar:
            parts = [part for part in member.name.split("/") if part not in {"", "."}]
            if member.name.startswith("/") or parts[:2] != _PREFIX_PARTS:
                self.left_out += 1
                continue
            if len(parts) == 2:
                if member.kind is not Kind.DIRECTORY:
                    self._tar.fail(f"a {member.kind.value}, expected the directory that holds everything else")
                continue
            try:
                entry = self._accept(parse_relpath("/".join(parts[2:])), member)
            except ArchiveError as error:
                self._tar.fail(str(error))
            yield entry
            for _ in self._content:
                pass

    def chunks(self) -> Iterator[bytes]:
        """Yield the content of the current file in pieces of at most 512 KiB."""
        return self._content

    def tree(self) -> Tree:
        """Return the tree of what was read."""
        entries: dict[RelPath, Entry] = {}
        first: dict[int, RelPath] = {}
        for path, found in self._found.items():
            if isinstance(found, _File):
                shared = first.setdefault(id(found), path)
                entries[path] = found.entry() if shared == path else Hardlink(target=shared)
            else:
                entries[path] = found
        return Tree.of(entries)

    @property
    def outside(self) -> bytes:
        """The sha256 of every byte read that is no file's content."""
        return self._tar.outside.digest()

    def holes(self) -> Iterator[tuple[RelPath, tuple[Hole, ...]]]:
        """Yield the holes of every regular file that has any."""
        for path, found in self._found.items():
            if isinstance(found, _File) and found.finder is not None and found.finder.holes:
                yield path, found.finder.holes

    def _accept(self, path: RelPath, member: Member) -> KataEntry:
        self._enter_parent(path)
        known = self._found.get(path)
        is_directory = member.kind is Kind.DIRECTORY
        if known is None:
            self._charge(path)
        elif isinstance(known, Directory) != is_directory:
            msg = f"a {member.kind.value} after {_kind_of(known)} of the same name"
            raise ArchiveError(msg)
        mode = member.mode & 0o777
        target = ""
        self._content = iter(())
        match member.kind:
            case Kind.DIRECTORY:
                self._found[path] = Directory(mode=mode)
            case Kind.FILE:
                file = _File(mode, member.size_bytes, HoleFinder() if self._find_holes else None)
                self._found[path] = file
                self._content = file.hashed(self._tar.chunks()) if self._identify else self._tar.chunks()
            case Kind.SYMLINK:
                target = member.target
                check_symlink(path, target)
                self._charge(target)
                self._found[path] = Symlink(target=target)
            case Kind.HARDLINK:
                target = _hard_link_target(member.target)
                shared = self._found.get(RelPath(target))
                if target == path or not isinstance(shared, _File):
                    msg = f"a hard link to {quoted(member.target)}, expected a regular file that came earlier in the archive"
                    raise ArchiveError(msg)
                self._found[path] = shared
            case Kind.DEVICE | Kind.FIFO:
                msg = f"a {member.kind.value}, which no component has"
                raise ArchiveError(msg)
        return KataEntry(
            path=path, kind=member.kind, mode=mode, size_bytes=member.size_bytes, mtime_ns=member.mtime_ns, target=target
        )

    def _enter_parent(self, path: RelPath) -> None:
        """Make sure that all parents of ``path`` are directories, adding those not named so far."""
        missing: list[RelPath] = []
        end = path.rfind("/")
        while end > 0:
            parent = RelPath(path[:end])
            found = self._found.get(parent)
            if isinstance(found, Directory):
                break
            if found is not None:
                msg = f"below {quoted(parent)}, which is {_kind_of(found)}"
                raise ArchiveError(msg)
            missing.append(parent)
            end = path.rfind("/", 0, end)
        for parent in reversed(missing):
            self._charge(parent)
            self._found[parent] = Directory()

    def _charge(self, name: str) -> None:
        self._names_left -= len(name)
        if self._names_left < 0 or len(self._found) >= self._limits.max_members:
            msg = "the tree gets too large: too many entries or too long names"
            raise ArchiveError(msg)


def iter_kata_entries(
    stream: Readable, *, what: str, limits: Limits = DEFAULT_LIMITS, identify: bool = True, find_holes: bool = False
) -> KataReader:
    """Return the entries of an uncompressed archive, to be iterated once."""
    return KataReader(stream, what=what, limits=limits, identify=identify, find_holes=find_holes)


class _File:
    """A regular file under one or more names; its identity is that of the inode an extraction makes."""

    __slots__ = ("_digest", "_mode", "_size_bytes", "finder")

    def __init__(self, mode: int, size_bytes: int, finder: HoleFinder | None) -> None:
        self.finder = finder
        self._mode = mode
        self._size_bytes = size_bytes
        self._digest = ""

    def hashed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        state = hashlib.sha256()
        for chunk in chunks:
            state.update(chunk)
            if self.finder is not None:
                self.finder.feed(chunk)
            yield chunk
        self._digest = state.hexdigest()

    def entry(self) -> File:
        if not self._digest:
            msg = "the tree of an archive is known only after the archive was read"
            raise IntegrityError(msg)
        return File(mode=self._mode, size_bytes=self._size_bytes, digest=Digest("sha256:" + self._digest))


def _kind_of(found: Directory | Symlink | _File) -> str:
    return "a directory" if isinstance(found, Directory) else "a symbolic link" if isinstance(found, Symlink) else "a file"


def _hard_link_target(target: str) -> RelPath:
    parts = [part for part in target.split("/") if part not in {"", "."}]
    if parts[:2] == _PREFIX_PARTS:
        parts = parts[2:]
    elif target.startswith("/"):
        msg = f"a hard link to {quoted(target)}, which is outside the tree"
        raise ArchiveError(msg)
    try:
        return parse_relpath("/".join(parts))
    except ArchiveError as error:
        msg = f"a hard link whose target is not allowed: {error}"
        raise ArchiveError(msg) from None
