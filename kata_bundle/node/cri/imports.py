"""What the ``imports`` of a containerd configuration load.

As containerd resolves them: a pattern with ``*`` is a glob, a relative one starts at the importing file's directory, ``*``
stays within one directory level. Must not know what stands in the imported files, nor who wrote them.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import tomllib
from typing import TYPE_CHECKING, Any

from kata_bundle.node.tomledit import split_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.node.hostedit import HostView

__all__ = ["imported_files", "imports_of", "is_imported", "parse_config"]


def parse_config(text: str | bytes | None) -> dict[str, Any] | None:
    """Return the data of a configuration, ``None`` when there is none or it is no valid TOML."""
    if text is None:
        return None
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return tomllib.loads(split_header(decoded)[1])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None


def imports_of(data: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the import patterns of a parsed configuration."""
    found = (data or {}).get("imports", [])
    return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()


def _resolved(pattern: str, config_file: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(config_file), pattern))


def is_imported(path: str, patterns: tuple[str, ...], config_file: str) -> bool:
    """Return whether one of ``patterns``, written in ``config_file``, loads ``path``."""
    wanted = posixpath.normpath(path).split("/")
    for pattern in patterns:
        parts = _resolved(pattern, config_file).split("/")
        if "*" not in pattern:
            if parts == wanted:
                return True
        elif len(parts) == len(wanted) and all(_glob(part).match(name) for part, name in zip(parts, wanted, strict=True)):
            return True
    return False


def _glob(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))


def imported_files(host: HostView, config_file: str, data: dict[str, Any] | None) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield the path and parsed data (``None``: not readable) of everything ``config_file`` loads, in containerd's order."""
    seen = {posixpath.normpath(config_file)}
    pending = [(config_file, pattern) for pattern in imports_of(data)]
    while pending:
        parent, pattern = pending.pop(0)
        for path in _expand(host, _resolved(pattern, parent)):
            if path in seen:
                continue
            seen.add(path)
            content = parse_config(host.read(path))
            yield path, content
            pending += [(path, below) for below in imports_of(content)]


def _expand(host: HostView, pattern: str) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    found = ["/"]
    for part in pattern.strip("/").split("/"):
        if "*" in part:
            found = [posixpath.join(base, name) for base in found for name in host.names(base) if _glob(part).match(name)]
        else:
            found = [posixpath.join(base, part) for base in found]
    return [path for path in found if host.read(path) is not None]
