"""Relative paths that cannot leave the directory they are taken from.

Used for archive members, tree entries and installed files alike, so that there is one rule.
"""

from __future__ import annotations

from typing import NewType

from kata_bundle.core.errors import ArchiveError

__all__ = [
    "MAX_NAME",
    "MAX_PATH",
    "RelPath",
    "os_bytes",
    "os_text",
    "parents",
    "parse_relpath",
    "printable",
    "quoted",
    "resolve_link",
]

RelPath = NewType("RelPath", str)
"""A checked relative path: ``/``-separated, no empty, ``.`` or ``..`` part, no NUL. Never empty."""

MAX_PATH = 4095
"""Longest path in bytes that Linux takes (``PATH_MAX`` less the terminating NUL)."""
MAX_NAME = 255
"""Longest single name in bytes (``NAME_MAX``)."""
_SHOWN = 160


def parse_relpath(text: str) -> RelPath:
    """Return ``text`` normalised (``./``, doubled and trailing slashes dropped), or raise :class:`ArchiveError`.

    Refused: absolute paths, ``..``, NUL, the empty path, parts over 255 bytes and paths over 4,095 bytes.
    """
    shown = quoted(text)
    if "\0" in text:
        msg = f"path {shown} contains a NUL byte"
        raise ArchiveError(msg)
    if text.startswith("/"):
        msg = f"path {shown} is absolute, expected a relative one"
        raise ArchiveError(msg)
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if not parts:
        msg = f"path {shown} names no entry"
        raise ArchiveError(msg)
    if ".." in parts:
        msg = f'path {shown} contains ".."'
        raise ArchiveError(msg)
    path = "/".join(parts)
    size = len(os_bytes(path))
    if size > MAX_NAME and (size > MAX_PATH or any(len(os_bytes(part)) > MAX_NAME for part in parts)):
        msg = f"path {shown} is longer than Linux allows ({MAX_NAME} bytes a name, {MAX_PATH} a path)"
        raise ArchiveError(msg)
    return RelPath(path)


def quoted(text: str) -> str:
    """Return a name from a stranger as messages show it: in double quotes, at most 160 characters, unprintable ones escaped."""
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f'"{printable(short)}"'


def printable(text: str) -> str:
    """Return ``text`` on one line, all but visible characters escaped: no file's name may move a terminal's cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def os_bytes(text: str) -> bytes:
    """Return the bytes of a file name; undecodable input bytes travel as surrogate escapes."""
    return text.encode("utf-8", "surrogateescape")


def os_text(data: bytes) -> str:
    """Return the text of a file name, the inverse of :func:`os_bytes`, whatever the locale."""
    return data.decode("utf-8", "surrogateescape")


def parents(path: RelPath) -> list[RelPath]:
    """Return the parent directories of ``path``, outermost first: ``a/b/c`` gives ``a``, ``a/b``."""
    parts = path.split("/")
    return [RelPath("/".join(parts[:i])) for i in range(1, len(parts))]


def resolve_link(path: RelPath, target: str) -> RelPath | None:
    """Return where the relative link ``target`` stored at ``path`` points, below the root.

    Lexical: links on the way are not followed. Returns ``None`` for the root itself. Raises :class:`ArchiveError` when the
    target is absolute or leaves the root.
    """
    if target.startswith("/"):
        msg = f'link "{path}" has the absolute target "{target}"'
        raise ArchiveError(msg)
    stack = path.split("/")[:-1]
    for part in target.split("/"):
        if part in {"", "."}:
            continue
        if part == "..":
            if not stack:
                msg = f'link "{path}" points outside the tree: "{target}"'
                raise ArchiveError(msg)
            stack.pop()
        else:
            stack.append(part)
    return RelPath("/".join(stack)) if stack else None
