"""What a command finds around it that its action does not state: where it lies, who it runs as, on which host, when.

The usual surroundings are the same for every action. Others are for finding out whether a result depends on them; a result that
was made in others is never remembered. Must not know: stores, rules.

References: faketime(1) for the variables of the clock's library; tmpfs(5), readdir(3) for the order of names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kata_bundle.core.relpath import RelPath

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kata_bundle.core.tree import Tree

__all__ = ["CLOCK_FILE", "HOST_NAME", "USER_ID", "USUAL", "Surroundings", "clock_environment", "other_order"]

USER_ID: Final = 1000
HOST_NAME: Final = "kata-bundle"
CLOCK_FILE: Final = "/dev/kata-bundle-clock.so"
"""Where the clock's library is seen: the only folder that is writable for whoever sets up the walls and no tree of an action."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What may differ between two machines that carry out one action."""

    folder: str = "build"
    """Path below the root at which the work folder is seen."""
    temporary: str = "tmp"
    """Path below the root of the folder for temporary files; another one is told in ``TMPDIR``, and ``/tmp`` is it too."""
    user_id: int = USER_ID
    group_id: int = USER_ID
    host_name: str = HOST_NAME
    env: Mapping[str, str] = field(default_factory=dict)
    """Set over what the action states."""
    umask: int = -1
    """Inherited by the command; -1 for this program's own."""
    processors: int | None = None
    """Number of processors that the command may use; ``None``: all that this program may."""
    clock_library: Path | None = None
    """A library that answers for the clock; not seen by static programs."""
    clock_shift_s: float = 0.0
    """Seconds that its clock is ahead of the real one."""
    clock_at: float | None = None
    """What it says when the command begins, in seconds since 1970, instead of a shift."""
    scratch: Path | None = None
    """Folder of a tmpfs for the work folder and copies of the inputs, whose names are then listed in another order."""


USUAL: Final = Surroundings()


def clock_environment(around: Surroundings, now: float, library: str) -> dict[str, str]:
    """Return the variables that make programs load ``library`` and believe its clock, at ``now`` seconds since 1970."""
    if around.clock_library is None:
        return {}
    shift = around.clock_shift_s if around.clock_at is None else around.clock_at - now
    # Dates of files stay as they are: shifted ones would be other inputs, not another clock.
    return {"LD_PRELOAD": library, "FAKETIME": f"{shift:+.6f}", "NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def other_order(tree: Tree, usual: Path, folder: Path) -> list[RelPath]:
    """Return the paths of ``tree`` in the order to write them into ``folder`` so that its names are listed in the reverse of the
    order in which ``usual``, a directory with the same content, lists them.

    ``folder`` is on a file system that lists names by age, as tmpfs does; whether the newest come first is tried out there.
    """
    children: dict[str, list[str]] = {}
    for path in tree.entries:
        parent, _, name = path.rpartition("/")
        children.setdefault(parent, []).append(name)
    newest_first = _lists_newest_first(folder)
    ordered: list[RelPath] = []
    pending = [""]
    while pending:
        parent = pending.pop()
        names = children.get(parent, [])
        rank = {name: number for number, name in enumerate(os.listdir(usual / parent))}
        names = sorted(names, key=rank.__getitem__, reverse=not newest_first)
        paths = [RelPath(f"{parent}/{name}" if parent else name) for name in names]
        ordered += paths
        pending += [path for path in paths if path in children]
    return ordered


def _lists_newest_first(folder: Path) -> bool:
    probe = folder / ".order"
    probe.mkdir()
    for name in ("b", "a", "c"):
        (probe / name).mkdir()
    found = os.listdir(probe)
    for name in found:
        (probe / name).rmdir()
    probe.rmdir()
    return found == ["c", "a", "b"]
