"""What is installed, at a glance: the receipt, the generations kept, and what visibly drifted without hashing anything.

Must not know: how to repair.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink
from kata_bundle.node.plan import link_of, links_there
from kata_bundle.node.state import load_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.receipt import Receipt

__all__ = ["Status", "status"]


@record
class Status:
    """The state of one install. ``receipt`` is ``None`` when nothing is installed; ``drifted`` are host paths."""

    dest: str
    receipt: Receipt | None
    generations: tuple[int, ...]
    interrupted: bool
    drifted: tuple[str, ...]

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form; the receipt without its tree."""
        receipt = None if self.receipt is None else self.receipt.to_dict()
        if receipt is not None and self.receipt is not None:
            receipt["tree"] = self.receipt.tree.digest
        return {
            "dest": self.dest,
            "installed": self.receipt is not None,
            "receipt": receipt,
            "generations": list(self.generations),
            "interrupted": self.interrupted,
            "drifted": list(self.drifted),
        }


def status(machine: Machine) -> Status:
    """Return what is installed at the machine's site. Raises what :func:`~kata_bundle.node.state.load_state` raises."""
    site = machine.site
    state = load_state(site)
    return Status(
        dest=site.dest,
        receipt=state.latest,
        generations=tuple(sorted(state.receipts)),
        interrupted=state.interrupted,
        drifted=() if state.latest is None else _drifted(machine, state.latest),
    )


def _drifted(machine: Machine, receipt: Receipt) -> tuple[str, ...]:
    site = machine.site
    there = links_there(site)
    found = [posixpath.join(site.dest, name) for name in receipt.names if there.get(name) != link_of(name)]
    if site.active() != receipt.generation:
        found.append(site.state_path("current"))
    folder = site.generation(receipt.generation)
    found += [
        posixpath.join(site.dest, path) for path in receipt.tree.entries if not _looks_right(folder, receipt.tree.entries, path)
    ]
    for edit in receipt.edits:
        try:
            state = machine.host.state(edit.path)
        except HostError:
            found.append(edit.path)
        else:
            if (None if state is None else state.digest) != edit.after:
                found.append(edit.path)
    return tuple(found)


def _looks_right(folder: str, entries: Mapping[RelPath, Entry], path: RelPath) -> bool:
    place = os.path.join(folder, path)
    try:
        there = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return False
    entry: Entry | None = entries[path]
    while isinstance(entry, Hardlink):
        entry = entries.get(entry.target)
    mode = stat.S_IMODE(there.st_mode)
    match entry:
        case Directory():
            return stat.S_ISDIR(there.st_mode) and mode == entry.mode
        case File():
            return stat.S_ISREG(there.st_mode) and (mode, there.st_size) == (entry.mode, entry.size_bytes)
        case Symlink():
            return stat.S_ISLNK(there.st_mode) and os.readlink(place) == entry.target
    return False
