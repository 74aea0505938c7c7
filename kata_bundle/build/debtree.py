"""Whole packages unpacked into one tree, as they would lie on a system, without running anything of them.

Paths follow the merged layout (``/bin`` is ``/usr/bin`` and so on). Set-id bits go; documentation, translations and what only a
package manager reads are left out. Must not know: what the tree is for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.tarheader import Kind
from kata_bundle.build.debfile import open_data
from kata_bundle.build.unpack import MemberStream
from kata_bundle.core.digest import CHUNK_SIZE
from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath, parse_relpath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kata_bundle.archive.tarreader import Member, TarReader
    from kata_bundle.build.deblock import DebPin
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.streams import Readable
    from kata_bundle.store import Store

__all__ = ["DEBTREE_VERSION", "LEFT_OUT", "unpack_packages"]

DEBTREE_VERSION: Final = "debtree-1"
"""Raised by whoever changes what this makes of equal packages."""
LEFT_OUT: Final = re.compile(
    r"usr/share/(doc/(?!.*/copyright$)|man/|locale/|lintian/|bug/|info/|doc-base/|menu/|help/|gnome/|applications/|pixmaps/|icons/)"
)
"""What builds and guests do without."""
_MERGED: Final = re.compile(r"(bin|sbin|lib|lib32|lib64|libx32)(/|$)")


def unpack_packages(pins: Iterable[DebPin], store: Store, *, left_out: re.Pattern[str] = LEFT_OUT) -> Tree:
    """Return the tree of the packages ``pins``, whose files and contents are in ``store``.

    Raises :class:`ArchiveError` for a malformed package, :class:`BuildError` naming both packages when two have one path that
    is not the same in both, :class:`IntegrityError` when the store lacks a package.
    """
    entries: dict[RelPath, Entry] = {}
    owner: dict[RelPath, str] = {}
    for pin in pins:
        what = f"package {pin.package} {pin.version}"
        with store.open(pin.digest) as stream, store.batch() as batch:
            with open_data(stream, what=what) as reader:
                for member in reader:
                    path = _path(member.name)
                    if path is None or left_out.match(path):
                        continue
                    entry = _entry(member, reader, batch.put_stream)
                    _claim(entries, owner, path, entry, what)
            # To the end, where the store checks the digest, even if the package's data ends earlier.
            while stream.read(CHUNK_SIZE):
                pass
    return Tree.of(entries)


def _path(name: str) -> RelPath | None:
    stripped = name.strip("/").removeprefix("./").strip("/")
    if stripped in {"", "."}:
        return None
    path = parse_relpath(stripped)
    return RelPath(f"usr/{path}") if _MERGED.match(path) and "/" in path else path


def _entry(member: Member, reader: TarReader, put: Callable[[Readable], tuple[Digest, int]]) -> Entry:
    match member.kind:
        case Kind.DIRECTORY:
            return Directory()
        case Kind.SYMLINK:
            return Symlink(target=member.target)
        case Kind.HARDLINK:
            target = _path(member.target)
            if target is None:
                reader.fail("is a link to nothing")
            return Hardlink(target=target)
        case Kind.FILE:
            digest, size = put(MemberStream(reader))
            return File(mode=0o755 if member.mode & 0o111 else 0o644, size_bytes=size, digest=digest)
        case _:
            return reader.fail("is neither file, folder nor link")


def _claim(entries: dict[RelPath, Entry], owner: dict[RelPath, str], path: RelPath, entry: Entry, what: str) -> None:
    known = entries.get(path)
    if known is not None and known != entry:
        # The links of the merged layout: packages that still name the folder mean what the link leads to.
        if _MERGED.fullmatch(path) and {type(known), type(entry)} == {Symlink, Directory}:
            entry = known if isinstance(known, Symlink) else entry
        else:
            msg = f'"{path}" is in {owner[path]} and differs in {what}'
            raise BuildError(msg)
    entries[path] = entry
    owner.setdefault(path, what)
