"""Trees with files on disk, and deltas between them, for tests."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

from kata_bundle.archive.deltaapply import restore_files
from kata_bundle.archive.deltaencode import MadeDelta, current_recipe, encode_delta
from kata_bundle.core.digest import Digest, digest_bytes, hex_part
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Entry, File, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

MTIME = 1577836800


class Contents:
    """Files in a folder, named by their content's digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> Digest:
        digest = digest_bytes(data)
        (self.folder / hex_part(digest)).write_bytes(data)
        return digest

    def path(self, digest: Digest) -> str | None:
        place = self.folder / hex_part(digest)
        return os.fspath(place) if place.exists() else None

    def tree(self, files: Mapping[str, bytes], more: Mapping[str, Entry] | None = None) -> Tree:
        entries: dict[RelPath, Entry] = {
            RelPath(path): File(mode=0o644, size_bytes=len(data), digest=self.put(data)) for path, data in files.items()
        }
        return Tree.of(entries | {RelPath(path): entry for path, entry in (more or {}).items()})


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def make_delta(
    old: Tree, new: Tree, contents: Contents, place: Path, *, frame_size: int = 1 << 16, level: int = 3, jobs: int = 1
) -> MadeDelta:
    """Write the delta to ``place``."""
    recipe = current_recipe(level, frame_size=frame_size)
    with place.open("wb") as sink:
        return encode_delta(old, new, contents.path, contents.path, sink, recipe=recipe, mtime=MTIME, jobs=jobs)


def only(old: Tree, contents: Contents):
    """Return a finder that knows the files of ``old`` alone."""
    known = {entry.digest for entry in old.entries.values() if isinstance(entry, File)}
    return lambda digest: contents.path(digest) if digest in known else None


def restored(delta: Path, old: Tree, new: Tree, contents: Contents, target: Path, *, jobs: int = 1) -> dict[Digest, bytes]:
    """Apply ``delta`` and return all contents that the new tree lacks in the old one."""
    target.mkdir(parents=True, exist_ok=True)
    made = restore_files(delta, only(old, contents), target, what="delta", expected_tree=new.digest, jobs=jobs)
    return {digest: path.read_bytes() for digest, path in made.files.items()}
