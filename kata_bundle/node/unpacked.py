"""A component that is a directory tree in place of an archive, as a build leaves it (installer specification §5.3, S37).

The tree is packed for the moment, so that from there on it takes the way of every layer: links checked, digests known, switched
at once. Must not know: which components there are, what is installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.kata import PREFIX
from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.core.tree import Directory, File, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kata_bundle.archive.layer import PackedLayer
    from kata_bundle.core.digest import Digest

__all__ = ["Unpacked", "places_below", "read_unpacked"]

_LEVEL: Final = 1
_MODE: Final = 0o777


@record
class Unpacked:
    """A tree as an archive would hold it, and where its files are."""

    tree: Tree
    files: dict[Digest, str]

    def pack(self, path: Path) -> PackedLayer:
        """Write the tree to ``path`` as a layer. Raises ``ArchiveError`` for links that leave the tree, ``OSError``."""
        from kata_bundle.archive.layer import pack_layer
        from kata_bundle.archive.zstd import current_recipe

        with path.open("wb") as sink:
            recipe = current_recipe(_LEVEL, None)
            return pack_layer(self.tree, lambda digest: open(self.files[digest], "rb"), sink, recipe=recipe, mtime=0)


def read_unpacked(folder: Path) -> Unpacked:
    """Return what is in ``folder``: what belongs below ``opt/kata``, or ``opt/kata`` itself.

    Links are taken as links and never followed; an absolute target inside the folder is one inside the install directory.
    Set-id bits are dropped. Raises :class:`HostError` when there is no such directory, and what
    :func:`~kata_bundle.archive.layer.read_tree` raises.
    """
    from kata_bundle.archive.readtree import read_tree

    if not folder.is_dir():
        msg = f'"{folder}" is not a directory'
        raise HostError(msg, hint="it has to hold the component's files, as an archive would")
    root = folder / PREFIX if (folder / PREFIX).is_dir() else folder
    entries = dict(read_tree(root).entries)
    bases = {str(root), os.path.realpath(root)}
    files: dict[Digest, str] = {}
    for path, entry in entries.items():
        match entry:
            case Symlink(target=target):
                entries[path] = Symlink(target=_inside(target, bases))
            case File(digest=digest):
                files.setdefault(digest, os.path.join(root, path))
                entries[path] = File(mode=entry.mode & _MODE, size_bytes=entry.size_bytes, digest=digest)
            case Directory(mode=mode):
                entries[path] = Directory(mode=mode & _MODE)
            case _:
                pass
    return Unpacked(tree=Tree.of(entries), files=files)


def places_below(folder: str) -> Iterator[str]:
    """Yield every path whose state tells whether the tree in ``folder`` is still the same."""
    yield folder
    for parent, directories, names in os.walk(folder):
        for name in (*directories, *names):
            yield os.path.join(parent, name)


def _inside(target: str, bases: set[str]) -> str:
    for base in bases:
        if target == base or target.startswith(f"{base}/"):
            return f"/{PREFIX}{target[len(base) :]}"
    return target
