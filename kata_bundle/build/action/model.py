"""An action as a value: a command, the trees it sees and where, the paths it makes.

The sandbox's root is one tree, put together from trees at mount points: a builder tree at ``/``, everything else below
``/build``, where the command starts. What the command leaves at its output paths is the result. Nothing else can be seen or
kept. Must not know: rules, components, how actions are run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath, parse_relpath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.arch import Arch

__all__ = ["ROOT", "WORK", "Action", "Platform"]

ROOT: Final = RelPath("")
"""Mount point of the builder tree."""
WORK: Final = RelPath("build")
"""The folder that a command starts in, below the root."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """What a machine has to be to run an action, in the words of the Remote Execution API's platform lexicon."""

    arch: Arch

    def properties(self) -> tuple[tuple[str, str], ...]:
        """Return names and values, sorted."""
        isa = {"x86_64": "x86-64", "aarch64": "aarch64", "s390x": "s390x", "ppc64le": "ppc64le"}[self.arch.value]
        return (("ISA", isa), ("OSFamily", "linux"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """A command with everything that can change what it makes.

    Raises :class:`BuildError` for a value that a sandbox or server could not take: no command, a relative program, NUL in a text,
    an output outside the work folder, a mount point outside of it that is not the root.
    """

    argv: tuple[str, ...]
    outputs: tuple[RelPath, ...]
    """Paths below :data:`WORK` that the command makes, files or directories."""
    platform: Platform
    inputs: Mapping[RelPath, Tree]
    """Mount point below the root → what is seen there; :data:`ROOT` is the builder tree."""
    env: Mapping[str, str] = field(default_factory=dict)
    salt: str = ""
    """Told apart by this alone: raised by who changes how commands are carried out."""
    name: str = "action"
    """What people call it; changes nothing."""
    timeout_s: float = 3600.0
    """How long it may take; changes nothing."""

    def __post_init__(self) -> None:
        problems = []
        if not self.argv or not self.argv[0].startswith("/"):
            problems.append("the command has to begin with an absolute path")
        if any("\0" in text for text in (*self.argv, *self.env.values())):
            problems.append("a NUL character can be passed to no program")
        problems += [f'"{name[:80]}" is no name of an environment variable' for name in self.env if not _VARIABLE.fullmatch(name)]
        if not self.outputs:
            problems.append("no outputs: nothing that it makes would be kept")
        for path in self.outputs:
            parse_relpath(path)
            problems += [f'output "{path}" is also an input' for at in self.inputs if at == RelPath(f"{WORK}/{path}")]
        problems += [f'inputs can be seen at "/" and below "/{WORK}", not at "/{at}"' for at in self.inputs if not _is_place(at)]
        if problems:
            msg = f"{self.name}: " + "; ".join(problems)
            raise BuildError(msg)

    def input_root(self) -> Tree:
        """Return all inputs as one tree, as the command sees it: hard links as files, modes 0644 and 0755 only.

        Raises :class:`BuildError` when two inputs claim one path.
        """
        entries: dict[RelPath, Entry] = {}
        for at, tree in sorted(self.inputs.items()):
            prefix = f"{at}/" if at else ""
            if at:
                entries.setdefault(at, Directory())
            for path, entry in normalized(tree).entries.items():
                full = RelPath(prefix + path)
                known = entries.get(full)
                if known is not None and not (isinstance(known, Directory) and isinstance(entry, Directory)):
                    msg = f'{self.name}: two inputs have "/{full}"'
                    raise BuildError(msg)
                entries[full] = entry
        return Tree.of(entries)


def normalized(tree: Tree) -> Tree:
    """Return ``tree`` as it crosses the border of an action: of modes only the executable bit is kept, a hard link is a file."""
    entries: dict[RelPath, Entry] = {}
    for path, entry in tree.entries.items():
        content = tree.entries[entry.target] if isinstance(entry, Hardlink) else entry
        match content:
            case File(mode=mode, size_bytes=size, digest=digest):
                entries[path] = File(mode=0o755 if mode & 0o100 else 0o644, size_bytes=size, digest=digest)
            case Directory():
                entries[path] = Directory()
            case other:
                entries[path] = other
    return Tree.of(entries)


def _is_place(at: RelPath) -> bool:
    return at == ROOT or (at.startswith(f"{WORK}/") and parse_relpath(at) == at)
