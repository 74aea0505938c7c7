"""Key paths into documents, and their text."""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["KeyPath", "key_text"]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys and list indexes from the top of the document."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key_text(path: KeyPath) -> str:
    """Return ``path`` as text: ``shims.qemu.x86_64[3]``; other keys than letters, digits, ``_`` and ``-`` in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text
