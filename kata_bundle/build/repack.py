"""Maps files of packages into a component, as a ``deb`` recipe says.

Every mapping and link has to find something, and no two may claim one path: a package that was rearranged upstream stops the
build instead of giving a component with a hole. Must not know: where packages come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NoReturn

from kata_bundle.archive.tarheader import Kind as MemberKind
from kata_bundle.build.debfile import open_data
from kata_bundle.build.kernelimage import MAX_KERNEL, vmlinux_from_bzimage
from kata_bundle.build.rules import Transform
from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath, parse_relpath, resolve_link
from kata_bundle.core.tree import Directory, Entry, File, Symlink, Tree

if TYPE_CHECKING:
    from kata_bundle.archive.tarreader import Member, TarReader
    from kata_bundle.build.rules import DebRecipe, FileMapping, Link
    from kata_bundle.store import Store

__all__ = ["Repacker"]


class Repacker:
    """Collects the files of one component, package by package, into ``store``; :meth:`finish` gives the tree."""

    def __init__(self, recipe: DebRecipe, component: str, store: Store) -> None:
        self._recipe = recipe
        self._component = component
        self._store = store
        self._entries: dict[RelPath, Entry] = {}
        self._unused = dict.fromkeys(recipe.files)

    def add_package(self, name: str, stream: BinaryIO, *, what: str) -> None:
        """Take what the recipe wants of package ``name``, whose file is ``stream``.

        Raises :class:`ArchiveError` for a malformed package and :class:`BuildError` for members that cannot be taken.
        """
        mappings = [mapping for mapping in self._recipe.files if mapping.package == name]
        with open_data(stream, what=what) as reader:
            for member in reader:
                if member.name.rstrip("/") in {".", ""}:
                    continue
                path = parse_relpath(member.name)
                wanted = [(mapping, target) for mapping in mappings if (target := _target(mapping, path)) is not None]
                if wanted:
                    self._take(member, reader, wanted, what)

    def finish(self) -> Tree:
        """Return the component's tree, links added; raise :class:`BuildError` naming mappings and links that found nothing."""
        if self._unused:
            missing = "\n  ".join(f'"{m.source}" in package "{m.package}"' for m in self._unused)
            msg = f'component "{self._component}": the packages lack what the rule takes from them:\n  {missing}'
            raise BuildError(msg, hint="the package was rearranged: change the rule's [[recipes.files]]")
        for link in self._recipe.links:
            self._claim(link.at, Symlink(target=self._link_target(link)))
        return Tree.of(self._entries)

    def _take(self, member: Member, reader: TarReader, wanted: list[tuple[FileMapping, RelPath]], what: str) -> None:
        match member.kind:
            case MemberKind.DIRECTORY:
                for mapping, target in wanted:
                    if not mapping.source.endswith("/"):
                        self._fail(member, what, "is a directory, which a mapping takes by a name that ends in a slash")
                    self._entries.setdefault(target, Directory())
                return
            case MemberKind.SYMLINK:
                for mapping, target in wanted:
                    if not mapping.source.endswith("/") or resolve_link(target, member.target) is None:
                        self._fail(member, what, f'is a link to "{member.target}"; name the file itself')
                    self._claim(target, Symlink(target=member.target))
            case MemberKind.FILE:
                self._take_file(member, reader, wanted, what)
            case other:
                self._fail(member, what, f"is a {other.value}, which no mapping can take")
        for mapping, _ in wanted:
            self._unused.pop(mapping, None)

    def _take_file(self, member: Member, reader: TarReader, wanted: list[tuple[FileMapping, RelPath]], what: str) -> None:
        mode = 0o755 if member.mode & 0o100 else 0o644
        changed = [(mapping.transform, target) for mapping, target in wanted if mapping.transform is not None]
        if changed and member.size_bytes > MAX_KERNEL:
            self._fail(member, what, f"has {member.size_bytes} bytes, more than a transformation takes")
        content = b"".join(reader.chunks()) if changed else None
        for transform, target in changed:
            result = _transformed(transform, content or b"")
            self._claim(target, File(mode=mode, size_bytes=len(result), digest=self._store.put_bytes(result)))
        plain = [target for mapping, target in wanted if mapping.transform is None]
        if not plain:
            return
        with self._store.new_blob() as blob:
            for chunk in reader.chunks() if content is None else [content]:
                blob.sink.write(chunk)
            digest, size = blob.publish()
        for target in plain:
            self._claim(target, File(mode=mode, size_bytes=size, digest=digest))

    def _claim(self, path: RelPath, entry: Entry) -> None:
        if path in self._entries:
            msg = f'component "{self._component}": two mappings of the rule make "{path}"'
            raise BuildError(msg)
        self._entries[path] = entry

    def _link_target(self, link: Link) -> str:
        folder, _, name = link.target.rpartition("/")
        start, star, end = name.partition("*")
        base = resolve_link(link.at, folder or ".")
        if link.is_elsewhere:
            return link.target
        if not star:
            resolved = resolve_link(link.at, link.target)
            if resolved not in Tree.of(self._entries).entries:
                msg = f'component "{self._component}": link "{link.at}" points to "{link.target}", which it does not have'
                raise BuildError(msg)
            return link.target
        prefix = f"{base}/" if base else ""
        found = [
            path.removeprefix(prefix)
            for path in self._entries
            if path.startswith(prefix) and "/" not in path.removeprefix(prefix) and path != link.at
        ]
        matching = sorted(n for n in found if n.startswith(start) and n.endswith(end) and len(n) >= len(start) + len(end))
        if len(matching) != 1:
            shown = ", ".join(matching) or "none"
            msg = f'component "{self._component}": link "{link.at}" wants one file "{link.target}", found {shown}'
            raise BuildError(msg)
        return f"{folder}/{matching[0]}" if folder else matching[0]

    def _fail(self, member: Member, what: str, reason: str) -> NoReturn:
        msg = f'component "{self._component}": "{member.name}" of {what} {reason}'
        raise BuildError(msg)


def _target(mapping: FileMapping, path: RelPath) -> RelPath | None:
    """Return where ``mapping`` puts member ``path``, ``None`` when it does not take it."""
    if mapping.source.endswith("/"):
        return RelPath(mapping.target + path.removeprefix(mapping.source)) if path.startswith(mapping.source) else None
    start, star, end = mapping.source.partition("*")
    if not star:
        return RelPath(mapping.target) if path == mapping.source else None
    middle = path[len(start) : len(path) - len(end)]
    if not (path.startswith(start) and path.endswith(end) and len(path) >= len(start) + len(end)) or "/" in middle:
        return None
    return RelPath(mapping.target.replace("*", middle))


def _transformed(transform: Transform, content: bytes) -> bytes:
    match transform:
        case Transform.VMLINUX_FROM_BZIMAGE:
            return vmlinux_from_bzimage(content)
