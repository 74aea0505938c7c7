"""A directory on disk → a tree, its files stored as blobs.

Must not know: archives, actions.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.relpath import RelPath, os_bytes, os_text, parse_relpath, quoted
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.core.events import Progress
    from kata_bundle.core.tree import Entry
    from kata_bundle.store.store import Store

__all__ = ["ingest_directory"]


def ingest_directory(store: Store, directory: Path, *, progress: Progress = NO_PROGRESS) -> Tree:
    """Store every regular file below ``directory`` and return the tree; the directory itself is no entry.

    Names of one inode become hard links; symbolic links are kept as they are. Devices, FIFOs and sockets raise
    :class:`IntegrityError` naming the path, as does a directory that is not there or changes meanwhile.
    """
    task = f"storing {directory}"
    progress.start(task, None)

    try:
        entries, files = _scan(directory)
        with store.batch() as batch:
            for path, found in files:
                digest, size = batch.put_file(os.fsdecode(found.path))
                entries[path] = File(mode=_mode(found.stat(follow_symlinks=False).st_mode), size_bytes=size, digest=digest)
                progress.advance(task, size)
    except FileNotFoundError as error:
        msg = f"{error.filename} is not there, or went away while {directory} was read"
        raise IntegrityError(msg) from None
    except NotADirectoryError as error:
        msg = f"{error.filename} is not a folder"
        raise IntegrityError(msg) from None
    finally:
        progress.finish(task)
    return Tree.of(entries)


def _scan(directory: Path) -> tuple[dict[RelPath, Entry], list[tuple[RelPath, os.DirEntry[bytes]]]]:
    """Return the entries that need no content, and the regular files, each inode once, in byte order."""
    entries: dict[RelPath, Entry] = {}
    files: list[tuple[RelPath, os.DirEntry[bytes]]] = []
    inodes: dict[tuple[int, int], RelPath] = {}
    for path, item in _walk(os.fsencode(directory)):
        status = item.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            entries[path] = Directory(mode=_mode(status.st_mode))
        elif stat.S_ISLNK(status.st_mode):
            entries[path] = Symlink(target=os_text(os.readlink(item.path)))
        elif stat.S_ISREG(status.st_mode):
            first = inodes.setdefault((status.st_dev, status.st_ino), path)
            if first == path:
                files.append((path, item))
            else:
                entries[path] = Hardlink(target=first)
        else:
            msg = f"{quoted(path)} in {directory} is a {_kind(status.st_mode)}, which no component may hold"
            raise IntegrityError(msg)
    return entries, files


def _walk(top: bytes) -> list[tuple[RelPath, os.DirEntry[bytes]]]:
    # As bytes: what Python makes of names depends on the locale, and a tree must not.
    found: list[tuple[RelPath, os.DirEntry[bytes]]] = []
    pending = [(top, "")]
    while pending:
        folder, prefix = pending.pop()
        with os.scandir(folder) as items:
            for item in items:
                path = parse_relpath(f"{prefix}{os_text(item.name)}")
                found.append((path, item))
                if item.is_dir(follow_symlinks=False):
                    pending.append((item.path, f"{path}/"))
    found.sort(key=lambda pair: os_bytes(pair[0]))
    return found


def _mode(mode: int) -> int:
    # Set-id and sticky bits are no content: archives drop them too (installer specification §5.3).
    return stat.S_IMODE(mode) & 0o777


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"
