"""What the installer wants of files outside its own tree, as values, and how it looks at a host.

Planning code turns a :class:`HostView` and the configuration into :class:`HostEdit` values; it never writes. Applying, recording
and undoing them three-way (ours and untouched, ours but edited, not ours) is the business of ``node.edits`` and receipts.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from kata_bundle.core.record import record
from kata_bundle.node.site import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EditKind", "HostDirectory", "HostEdit", "HostView", "MemoryHost"]


class EditKind(StrEnum):
    """Who owns the edited file."""

    WHOLE = "whole"
    """The file is ours entirely: uninstall removes it, or puts back what was there before."""
    KEYS = "keys"
    """A TOML file of the administrator's, in which only the listed keys are ours: uninstall takes those out."""


@record
class HostEdit:
    """One file of the host and the content it must have.

    ``path`` is absolute on the host (before ``--root`` is put in front); ``after`` the complete new content, ``None`` for "must
    not exist"; ``keys`` the TOML paths that are ours when ``kind`` is KEYS: ``"a.b"`` for a value, ``"a.b[]=text"`` for an array
    element. ``loaded_by`` names the program that reads the file at start (``containerd``, ``crio``), so that a change asks for
    its restart.
    """

    path: str
    after: bytes | None
    reason: str
    kind: EditKind = EditKind.WHOLE
    keys: tuple[str, ...] = ()
    mode: int = 0o644
    loaded_by: str | None = None


class HostView(Protocol):
    """Read-only view of a host's files; paths are absolute on the host."""

    def read(self, path: str) -> bytes | None:
        """Return the content of the regular file ``path`` (links followed inside the host), ``None`` when it is not there."""

    def names(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in directory ``path``; empty when it is not there."""

    def is_directory(self, path: str) -> bool:
        """Return whether ``path`` is a directory."""


@record(kw_only=False)
class HostDirectory:
    """A host whose root is the directory ``root`` (``/`` for this machine)."""

    root: str

    def _at(self, path: str) -> str:
        return resolve(self.root, path, follow=True)

    def read(self, path: str) -> bytes | None:
        """Return the content of ``path``, ``None`` when it does not exist. Raises ``OSError`` for anything else."""
        try:
            with open(self._at(path), "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in directory ``path``; empty when it is not there."""
        try:
            return tuple(sorted(os.listdir(self._at(path))))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def is_directory(self, path: str) -> bool:
        """Return whether ``path`` is a directory."""
        return os.path.isdir(self._at(path))


@record(kw_only=False)
class MemoryHost:
    """A host given as a mapping of absolute path to content, for planning against recorded facts and for tests."""

    files: Mapping[str, bytes]
    directories: frozenset[str] = frozenset()

    def read(self, path: str) -> bytes | None:
        """Return the content of ``path``, ``None`` when it is not there."""
        return self.files.get(os.path.normpath(path))

    def names(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in directory ``path``; empty when it is not there."""
        base = os.path.normpath(path).rstrip("/") + "/"
        known = [*self.files, *self.directories]
        return tuple(sorted({name[len(base) :].split("/")[0] for name in known if name.startswith(base) and name != base}))

    def is_directory(self, path: str) -> bool:
        """Return whether ``path`` is a directory or has something below it."""
        return os.path.normpath(path) in self.directories or bool(self.names(path))
