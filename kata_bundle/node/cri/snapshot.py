"""Whether the runtime would load anything else than before (installer specification §15.10, §23.3, D42).

The fingerprint is of content only: files that are written anew with the same bytes change nothing. Must not read files.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.node.runtime import Runtime

__all__ = ["fingerprint", "may_skip_restart", "written_at"]


def fingerprint(files: Iterable[tuple[str, bytes | None]]) -> str | None:
    """Return the fingerprint of the files in order, ``None`` when there is no first one.

    Path, length and content of each go in, so that content moved to another file, a file that appears, and a lost import all
    change it. A later file that is missing counts as empty; a repeated one counts once.
    """
    digest = hashlib.sha256()
    seen: set[str] = set()
    for path, content in files:
        if content is None and not seen:
            return None
        if path in seen:
            continue
        seen.add(path)
        data = content or b""
        name = path.encode("utf-8", "surrogateescape")
        digest.update(f"{len(name)}:".encode() + name + f"{len(data)}:".encode() + data)
    return digest.hexdigest() if seen else None


def written_at(order: Iterable[str], mtimes: Mapping[str, float]) -> float | None:
    """Return the newest modification time of the files that are there, ``None`` when the first is not."""
    files = list(dict.fromkeys(order))
    if not files or files[0] not in mtimes:
        return None
    return max(mtimes[path] for path in files if path in mtimes)


def may_skip_restart(runtime: Runtime, *, written_at: float | None, active_since: float | None) -> bool:
    """Return whether the running runtime has loaded the unchanged configuration: it started after that was written.

    k0s picks changes up by itself. Anything that could not be established means no.
    """
    if runtime.is_k0s:
        return True
    return written_at is not None and active_since is not None and active_since > written_at
