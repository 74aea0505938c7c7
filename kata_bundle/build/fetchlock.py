"""The lock of files of the network that rules name by entry of ``versions.yaml`` instead of by digest.

``fetch.lock.toml`` lies beside the rules and is written by ``kata-bundle lock sources`` only. It names files, never hosts. Must
not know: networks, recipes.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.core.digest import Digest, hex_part
from kata_bundle.core.errors import IntegrityError, LockError
from kata_bundle.core.fields import Fields
from kata_bundle.core.fsops import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["FILE_NAME", "FetchPin", "load_fetch_lock", "write_fetch_lock"]

FILE_NAME: Final = "fetch.lock.toml"
COMMAND: Final = "kata-bundle lock sources"
_HEADER: Final = f"# Files that rules fetch. Written by: {COMMAND}\n"
_ENTRY: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_FILE: Final = re.compile(r"[^/\x00-\x1f]{1,255}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchPin:
    """One file: the entry it belongs to, its name, length and digest."""

    entry: str
    file: str
    size_bytes: int
    digest: Digest


def load_fetch_lock(folder: Path) -> Mapping[tuple[str, str], FetchPin]:
    """Return the pins of ``folder`` by entry and file name, none without a lock; raise :class:`LockError` for what is none."""
    path = folder / FILE_NAME
    try:
        fields = Fields(tomllib.loads(path.read_text("utf-8")), str(path))
        if fields.integer("version") != 1:
            msg = f"{path}: unknown version, this program reads version 1"
            raise LockError(msg)
        found = {}
        for one in fields.children("pins") if "pins" in fields else []:
            pin = FetchPin(
                entry=one.text("entry", _ENTRY),
                file=one.text("file", _FILE),
                size_bytes=one.integer("size"),
                digest=Digest("sha256:" + one.text("sha256", re.compile(r"[0-9a-f]{64}"))),
            )
            one.done()
            if (pin.entry, pin.file) in found:
                msg = f"{path}: {pin.file} of {pin.entry} is pinned twice"
                raise LockError(msg, hint=f"{COMMAND} writes it again")
            found[pin.entry, pin.file] = pin
        fields.done()
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IntegrityError) as error:
        msg = f"{path} is not a lock of sources: {error}"
        raise LockError(msg, hint=f"{COMMAND} writes it again") from None
    return found


def write_fetch_lock(folder: Path, pins: Iterable[FetchPin]) -> None:
    """Replace the lock file in ``folder``."""
    parts = [_HEADER, "version = 1\n"]
    for pin in sorted(pins, key=lambda one: (one.entry, one.file)):
        rows = [("entry", pin.entry), ("file", pin.file), ("size", pin.size_bytes), ("sha256", hex_part(pin.digest))]
        parts.append("[[pins]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows))
    write_atomic(folder / FILE_NAME, "\n".join(parts).encode())
