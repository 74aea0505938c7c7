"""Reading a folder as a tree: what packing, comparing and verifying begin with.

Must not know: archives.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO, cast

from kata_bundle.archive.directories import Directories
from kata_bundle.core.digest import CHUNK_SIZE, Digest, HashingReader
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.relpath import RelPath, os_bytes, os_text, quoted
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["read_tree"]


def read_tree(
    directory: Path,
    *,
    on_progress: Callable[[int], None] | None = None,
    on_special: Callable[[RelPath], None] | None = None,
    known: Callable[[RelPath, os.stat_result], Digest | None] | None = None,
) -> Tree:
    """Return the content of ``directory``, every byte hashed, no link followed; modes with all twelve bits.

    Names of one file below ``directory`` become hard links. ``on_progress`` is told of every number of bytes read. What is
    neither file, directory nor symbolic link is told to ``on_special``; without it :class:`IntegrityError` lists them. ``known``
    is asked with every entry before it is read; a digest that it returns for a file is taken without reading. Raises ``OSError``.
    """
    entries: dict[RelPath, Entry] = {}
    inodes: dict[tuple[int, int], RelPath] = {}
    special: list[str] = []
    pending = [""]
    with Directories(directory) as directories:
        while pending:
            parent = pending.pop()
            descriptor = directories.descriptor(parent)
            with os.scandir(descriptor) as listing:
                names = sorted(os.fsencode(item.name) for item in listing)
            for name in names:
                text = os_text(name)
                path = RelPath(f"{parent}/{text}" if parent else text)
                found = os.lstat(name, dir_fd=descriptor)
                mode = stat.S_IMODE(found.st_mode)
                trusted = None if known is None else known(path, found)
                if stat.S_ISDIR(found.st_mode):
                    entries[path] = Directory(mode=mode)
                    pending.append(path)
                elif stat.S_ISLNK(found.st_mode):
                    target = os.readlink(name, dir_fd=descriptor)
                    entries[path] = Symlink(target=os_text(target))
                elif not stat.S_ISREG(found.st_mode):
                    (on_special or special.append)(path)
                elif (first := inodes.setdefault((found.st_dev, found.st_ino), path)) != path:
                    entries[path] = Hardlink(target=first)
                elif trusted is not None:
                    entries[path] = File(mode=mode, size_bytes=found.st_size, digest=trusted)
                else:
                    digest, size = _digest_file(name, descriptor, on_progress)
                    entries[path] = File(mode=mode, size_bytes=size, digest=digest)
    if special:
        shown = ", ".join(quoted(path) for path in sorted(special, key=os_bytes)[:10]) + (", ..." if len(special) > 10 else "")
        msg = f"{directory} has {len(special)} entries that are no file, directory or symbolic link: {shown}"
        raise IntegrityError(msg)
    return Tree.of(entries)


def _digest_file(name: bytes, directory: int, on_progress: Callable[[int], None] | None) -> tuple[Digest, int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb", buffering=0) as stream:
        reader = HashingReader(cast("BinaryIO", stream))
        while chunk := reader.read(CHUNK_SIZE):
            if on_progress is not None:
                on_progress(len(chunk))
    return reader.digest, reader.size_bytes
