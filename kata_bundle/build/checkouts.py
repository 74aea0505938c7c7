"""Local folders as sources: their content as a tree, the same for everybody who has the same files.

In a git work tree counts what git tracks or would offer to track, submodules included; elsewhere every file. Names of the root,
owners and dates never count. Must not know: rules, stores.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from kata_bundle.core.digest import digest_stream
from kata_bundle.core.errors import ArchiveError, BuildError, UsageError
from kata_bundle.core.process import base_environment, find_program, run
from kata_bundle.core.relpath import RelPath, parse_relpath, resolve_link
from kata_bundle.core.tree import File, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from kata_bundle.core.tree import Entry
    from kata_bundle.store import Store

__all__ = ["checkout_tree", "parse_given", "put_tree_files"]

_GIT: Final = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotepath=off")
"""Nothing that the folder's own configuration could start is started."""


def parse_given(words: Iterable[str]) -> Mapping[str, Path]:
    """Return the folders of ``NAME=DIR`` words; raise :class:`UsageError` for one that is not of that form or no folder."""
    from pathlib import Path

    found: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            msg = f'"{word}" names no source'
            raise UsageError(msg, hint="a source is NAME=DIR, such as kata-containers=../kata-containers")
        if not Path(folder).is_dir():
            msg = f'source "{name}": "{folder}" is no folder'
            raise UsageError(msg)
        if name in found and found[name] != Path(folder):
            msg = f'source "{name}" is given twice'
            raise UsageError(msg)
        found[name] = Path(folder)
    return found


def checkout_tree(root: Path, *, name: str) -> Tree:
    """Return the content of ``root``: files, their executable bit, links.

    Raises :class:`BuildError` for what a source cannot hold: devices, sockets, and links or paths that lead out of the folder.
    """
    entries: dict[RelPath, Entry] = {}
    for text in sorted(set(_paths(root))):
        at = os.path.join(root, text)
        try:
            path = parse_relpath(text)
            entry = _entry(at, path)
        except FileNotFoundError:
            continue  # tracked, and removed from the work tree
        except ArchiveError as error:
            msg = f'source "{name}", "{text}": {error}'
            raise BuildError(msg) from None
        if entry is None:
            msg = f'source "{name}", "{text}" is neither a file nor a link'
            raise BuildError(msg)
        if any(isinstance(entries.get(RelPath(parent)), Symlink) for parent in _parents(path)):
            msg = f'source "{name}", "{text}" lies behind a link'
            raise BuildError(msg)
        entries[path] = entry
    if not entries:
        msg = f'source "{name}": "{root}" holds no file'
        raise BuildError(msg)
    return Tree.of(entries)


def _paths(root: Path) -> Iterator[str]:
    if os.path.lexists(os.path.join(root, ".git")):
        yield from _of_git(root, "")
        return
    for folder, folders, names in os.walk(root):
        for one in (*names, *(d for d in folders if os.path.islink(os.path.join(folder, d)))):
            yield os.path.relpath(os.path.join(folder, one), root)


def _of_git(root: Path, prefix: str) -> Iterator[str]:
    """Yield what git would keep; of a submodule that is checked out, what git would keep there."""
    git = find_program("git", package="git")
    env = base_environment(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull, GIT_OPTIONAL_LOCKS="0")
    argv = [git, *_GIT, "-C", os.path.join(root, prefix), "ls-files", "-co", "--exclude-standard", "-z"]
    for raw in run(argv, env=env).stdout.split(b"\0"):
        if not raw:
            continue
        path = os.path.join(prefix, os.fsdecode(raw).rstrip("/"))
        at = os.path.join(root, path)
        if os.path.isdir(at) and not os.path.islink(at):
            if os.path.lexists(os.path.join(at, ".git")):
                yield from _of_git(root, path)
        else:
            yield path


def _entry(at: str, path: RelPath) -> Entry | None:
    mode = os.lstat(at).st_mode
    if stat.S_ISLNK(mode):
        target = os.readlink(at)
        resolve_link(path, target)
        return Symlink(target=target)
    if not stat.S_ISREG(mode):
        return None
    with os.fdopen(os.open(at, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        digest, size = digest_stream(iter(partial(stream.read, 1 << 20), b""))
    return File(mode=0o755 if mode & 0o100 else 0o644, size_bytes=size, digest=digest)


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def put_tree_files(tree: Tree, root: Path, store: Store) -> None:
    """Put the files of ``tree``, which :func:`checkout_tree` read below ``root``, into ``store``.

    Raises :class:`IntegrityError` for a file that changed since.
    """
    for path, entry in tree.entries.items():
        if isinstance(entry, File):
            store.put_file(root / path, entry.digest)
