"""The files of an upstream tree: a directory, or one revision of a git repository without a work tree.

Knows: paths and bytes. Must not know: what any file means. Nothing of the tree is executed: a directory is only walked and read,
links are followed inside the tree only; of a repository only ``git ls-tree`` and ``git cat-file`` are asked, with its own
settings for networks, hooks and monitors switched off, so that a hostile repository can start nothing.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.core.errors import BuildError, UsageError
from kata_bundle.core.process import base_environment, find_program, run
from kata_bundle.manifest.refusal import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["DirectoryFiles", "Files", "GitFiles", "MemoryFiles", "git_directory"]

_SKIPPED_FOLDERS: Final = frozenset({".git", "target", "vendor", "node_modules"})
"""Folders of dependencies and results, in which nothing is declared."""
_MAX_FILES: Final = 300_000
_MAX_LINKS: Final = 8
_BATCH_TIMEOUT_S: Final = 120.0


class Files(Protocol):
    """What readers see of a tree: the names of its files, and their bytes."""

    @property
    def names(self) -> frozenset[str]:
        """Every file and link of the tree, relative to its top, with ``/``."""

    def prefetch(self, names: Iterable[str]) -> None:
        """Read ``names`` at once, where reading one by one would be slow."""

    def read(self, name: str) -> bytes | None:
        """Return the content of ``name``, ``None`` when there is no such file, it is too long, or its content is absent."""


@dataclass(slots=True)
class MemoryFiles:
    """A tree given as a mapping of names to bytes."""

    content: Mapping[str, bytes]

    @property
    def names(self) -> frozenset[str]:
        """Every file of the tree."""
        return frozenset(self.content)

    def prefetch(self, names: Iterable[str]) -> None:
        """Do nothing: all is there."""

    def read(self, name: str) -> bytes | None:
        """Return the content of ``name``."""
        data = self.content.get(name)
        return None if data is None or len(data) > MAX_BYTES else data


class DirectoryFiles:
    """A checkout. Folders of dependencies and build results are left out, links never lead out of it."""

    def __init__(self, root: Path) -> None:
        """List the tree; raise :class:`UsageError` when ``root`` is not a folder or holds too much to be one."""
        self._root = root
        self._links: dict[str, str] = {}
        if not root.is_dir():
            msg = f"{root} is not a folder"
            raise UsageError(msg, hint="name a checkout of the upstream repository")
        names: set[str] = set()
        for folder, below, files in os.walk(root, followlinks=False):
            relative = os.path.relpath(folder, root)
            prefix = "" if relative == "." else f"{relative}/"
            for name in [name for name in below if os.path.islink(os.path.join(folder, name))]:
                below.remove(name)
            below[:] = sorted(name for name in below if name not in _SKIPPED_FOLDERS)
            names.update(prefix + name for name in files)
            if len(names) > _MAX_FILES:
                msg = f"{root} has more than {_MAX_FILES} files"
                raise UsageError(msg, hint="name a clean checkout of the upstream repository")
        self._names = frozenset(names)

    @property
    def names(self) -> frozenset[str]:
        """Every file and link of the tree."""
        return self._names

    def prefetch(self, names: Iterable[str]) -> None:
        """Do nothing: files are read when they are asked for."""

    def read(self, name: str) -> bytes | None:
        """Return the content of ``name``; a link is followed when it leads to a file of the tree."""
        for _ in range(_MAX_LINKS):
            if name not in self._names:
                return None
            path = self._root / name
            try:
                if not os.path.islink(path):
                    return _bounded(path)
                target = os.readlink(path)
            except OSError:
                return None
            name = _resolved(name, target)
        return None


def _bounded(path: Path) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return None
        return stream.read(MAX_BYTES + 1)[:MAX_BYTES]


def _resolved(name: str, target: str) -> str:
    """Return where a link called ``name`` leads; a name that no file has when it leads out of the tree."""
    if target.startswith("/"):
        return ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return "" if path.startswith("../") else path


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    blob: str


@dataclass(slots=True)
class GitFiles:
    """One revision of a repository, bare or not. Blobs are read in batches."""

    directory: str
    revision: str
    _entries: dict[str, _Entry] = field(default_factory=dict, repr=False)
    _blobs: dict[str, bytes | None] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, directory: Path | str, revision: str) -> GitFiles:
        """List ``revision`` of the repository in ``directory``; raise :class:`UsageError` when there is no such thing."""
        files = cls(str(directory), revision)
        if revision.startswith("-"):
            msg = f'"{revision}" is not a revision'
            raise UsageError(msg)
        try:
            commit = files._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{tree}}").decode().strip()
        except BuildError:
            msg = f'{directory} has no revision "{revision}"'
            raise UsageError(msg, hint="name a branch, a tag or a commit that the repository holds") from None
        for record in files._git("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
            head, _, name = record.partition(b"\t")
            parts = head.split(b" ")
            if len(parts) == 3 and parts[1] == b"blob":
                files._entries[name.decode("utf-8", "replace")] = _Entry(parts[0].decode(), parts[2].decode())
        return files

    @property
    def names(self) -> frozenset[str]:
        """Every file and link of the revision."""
        return frozenset(self._entries)

    def prefetch(self, names: Iterable[str]) -> None:
        """Read the blobs of ``names`` with one call each for sizes and contents."""
        wanted = sorted({self._entries[n].blob for n in names if n in self._entries} - self._blobs.keys())
        if not wanted:
            return
        small: list[str] = []
        for line in self._git("cat-file", "--batch-check", stdin="\n".join(wanted) + "\n").decode().splitlines():
            parts = line.split()
            if len(parts) == 3 and parts[1] == "blob" and int(parts[2]) <= MAX_BYTES:
                small.append(parts[0])
            else:
                self._blobs[parts[0]] = None
        if not small:
            return
        data = self._git("cat-file", "--batch", stdin="\n".join(small) + "\n")
        at = 0
        while at < len(data):
            end = data.index(b"\n", at)
            parts = data[at:end].decode().split()
            size = int(parts[2])
            self._blobs[parts[0]] = data[end + 1 : end + 1 + size]
            at = end + 2 + size

    def read(self, name: str) -> bytes | None:
        """Return the content of ``name``; a link is followed when it leads to a file of the revision."""
        for _ in range(_MAX_LINKS):
            entry = self._entries.get(name)
            if entry is None:
                return None
            if entry.blob not in self._blobs:
                self.prefetch([name])
            data = self._blobs.get(entry.blob)
            if entry.mode != "120000" or data is None:
                return data
            name = _resolved(name, data.decode("utf-8", "replace"))
        return None

    def _git(self, *arguments: str, stdin: str | None = None) -> bytes:
        git = find_program("git", package="git")
        argv = [git, "--git-dir", self.directory, *_HARMLESS, *arguments]
        data = None if stdin is None else stdin.encode()
        return run(argv, env=_environment(), timeout_s=_BATCH_TIMEOUT_S, stdin=data).stdout


_HARMLESS: Final = ("-c", "protocol.allow=never", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


def _environment() -> dict[str, str]:
    # No lazy fetch: a repository could name a transport that is a program.
    return base_environment(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_NO_LAZY_FETCH="1",
        GIT_OPTIONAL_LOCKS="0",
        GIT_TERMINAL_PROMPT="0",
    )


def git_directory(path: Path) -> Path:
    """Return the git directory of ``path``: itself when bare, else its ``.git``; raise :class:`UsageError` when there is none."""
    dot = path / ".git"
    if dot.is_dir():
        return dot
    if dot.is_file():  # a linked work tree names its directory in a file
        text = dot.read_text(encoding="utf-8", errors="replace").strip()
        if text.startswith("gitdir:"):
            return path / text.removeprefix("gitdir:").strip()
    if (path / "HEAD").is_file() and (path / "objects").is_dir():
        return path
    msg = f"{path} is not a git repository"
    raise UsageError(msg)
