"""Trees of the store as directories, for sandboxes to look at.

::

    <store>/checkouts/<64 hex>/     one tree, all dates set to one instant, made once and shared by every sandbox, read-only there
    <store>/checkouts/tmp/          trees being written, each locked by its writer

A checkout appears by rename, whole. It can be thrown away at any time when no build is running. Must not know: actions.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.core import clock
from kata_bundle.core.digest import hex_part
from kata_bundle.core.fsops import about
from kata_bundle.core.relpath import os_bytes
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import Tree
    from kata_bundle.store import Store

__all__ = ["INSTANT", "checkout", "remove_left", "write_tree"]

INSTANT: Final = 315532800
"""Date of every file in a checkout, in seconds since 1970: the first that a ZIP archive can state, 1980-01-01."""
_STALE_AFTER_S: Final = 60.0


def checkout(store: Store, tree: Tree) -> Path:
    """Return a directory with the content of ``tree``, made if there is none yet. Nothing in it may be changed.

    Raises :class:`IntegrityError` when the store lacks a file of it or has another one.
    """
    folder = store.root / "checkouts"
    target = folder / hex_part(tree.digest)
    if target.is_dir():
        return target
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    for left in (folder / "tmp").iterdir():
        # The age covers the instant between a folder's creation and its lock.
        remove_left(left, older_than_s=_STALE_AFTER_S)
    work = tempfile.mkdtemp(dir=folder / "tmp")
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        content = os.path.join(work, "tree")
        os.mkdir(content, 0o755)
        with about(content):
            write_tree(store, tree, Path(content))
        try:
            os.rename(content, target)
        except OSError:
            # Somebody else made the same one meanwhile; anything else that is there is no checkout.
            if not target.is_dir():
                raise
        return target
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(descriptor)


def write_tree(store: Store, tree: Tree, folder: Path, *, order: Iterable[RelPath] | None = None) -> None:
    """Write the content of ``tree`` into the empty ``folder``, all dates set to :data:`INSTANT`.

    ``order`` has all paths, each after its parent; by default the tree's own order.

    Raises :class:`IntegrityError` when the store lacks a file of it or has another one.
    """
    root = os.fsencode(folder)
    directories: list[tuple[bytes, int]] = [(root, 0o755)]
    for path in tree.entries if order is None else order:
        entry, full = tree.entries[path], os.path.join(root, os_bytes(path))
        match entry:
            case Directory(mode=mode):
                os.mkdir(full, 0o700)
                directories.append((full, mode))
            case File(mode=mode, digest=digest):
                with store.open(digest) as source, open(full, "xb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                os.chmod(full, mode)
                os.utime(full, (INSTANT, INSTANT))
            case Symlink(target=text):
                os.symlink(os_bytes(text), full)
                os.utime(full, (INSTANT, INSTANT), follow_symlinks=False)
            case Hardlink(target=first):
                os.link(os.path.join(root, os_bytes(first)), full)
    # Last and from the inside out: writing into a directory changes its date, and a mode may forbid it.
    for full, mode in sorted(directories, reverse=True):
        os.chmod(full, mode)
        os.utime(full, (INSTANT, INSTANT))


def remove_left(path: Path, *, older_than_s: float = 0.0) -> None:
    """Remove a working folder unless its maker holds it, or it is younger than ``older_than_s`` seconds.

    A maker locks its folder, and the lock dies with it.
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One from the future was made before the clock was set back.
            if abs(clock.now() - os.fstat(descriptor).st_mtime) >= older_than_s:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)
