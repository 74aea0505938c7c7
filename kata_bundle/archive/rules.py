"""Rules that archives and tables of contents share: limits, and which symbolic links may stand where.

Apart from readers, so that unpacking from tables need not import those. Must not know: formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.record import record
from kata_bundle.core.relpath import MAX_PATH, os_bytes, quoted

if TYPE_CHECKING:
    from kata_bundle.core.relpath import RelPath

__all__ = ["DEFAULT_LIMITS", "PREFIX", "Limits", "check_symlink", "rewrite_target"]

PREFIX: Final = "opt/kata"
"""Where components lie in an archive, and by default on a node."""
_PREFIX_PARTS: Final = PREFIX.split("/")


@record
class Limits:
    """How much an archive may ask for."""

    max_members: int = 250_000
    """Members, and entries of the tree including directories that no member names."""
    max_unpacked_bytes: int = 64 << 30
    """Length of the whole tar."""
    max_name_bytes: int = 64 << 20
    """Sum of all extended header data, and of all names of the tree."""


DEFAULT_LIMITS: Final = Limits()


def check_symlink(path: RelPath, target: str) -> None:
    """Raise :class:`ArchiveError` unless the link ``target`` may stand at ``path``; :mod:`archive.kata` has the rules."""
    if not target:
        msg = "a symbolic link without a target"
        raise ArchiveError(msg)
    if "\0" in target:
        msg = "a symbolic link with a NUL byte in its target"
        raise ArchiveError(msg)
    if len(os_bytes(target)) > MAX_PATH:
        msg = f"a symbolic link with a target of more than {MAX_PATH} bytes"
        raise ArchiveError(msg)
    if target.startswith("/"):
        if ".." in (_below_prefix(target) or ()):
            msg = f'a symbolic link to {quoted(target)}, which has ".." below /{PREFIX}'
            raise ArchiveError(msg)
        return
    parts = [part for part in target.split("/") if part not in {"", "."}]
    up = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    if up > path.count("/"):
        msg = f"a symbolic link that leaves the tree: {quoted(target)}"
        raise ArchiveError(msg)
    if ".." in parts[up:]:
        msg = f'a symbolic link to {quoted(target)}, which has ".." after a name'
        raise ArchiveError(msg)


def rewrite_target(target: str, dest: str) -> str:
    """Return symbolic link ``target`` for a tree installed at ``dest``: what is below ``/opt/kata`` moves along."""
    if not dest.startswith("/"):
        msg = f"destination {quoted(dest)} is not absolute"
        raise ValueError(msg)
    rest = _below_prefix(target) if dest != "/" + PREFIX else None
    return target if rest is None else "/".join([dest.rstrip("/"), *rest]) or "/"


def _below_prefix(target: str) -> list[str] | None:
    """Return the parts of an absolute ``target`` below ``/opt/kata``, ``None`` for other targets."""
    parts = [part for part in target.split("/") if part not in {"", "."}]
    return parts[2:] if target.startswith("/") and parts[:2] == _PREFIX_PARTS else None
