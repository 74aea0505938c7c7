"""Where things of one install lie: the layout below ``<dest>``, and how host paths map into a root directory.

::

    <dest>/                       may be a mount point, so never renamed
      bin -> .kata-bundle/current/bin         one such link for every top-level payload name
      containerd/                             a real directory: what is in it are host edits
      .kata-bundle/
        current -> generations/42
        generations/42/                       one complete tree
        receipts/42.json                      what its activation did
        objects/<hex>                         contents that receipts refer to by digest
        origin.json                           what had to be created for the first generation
        journal.json | undo.json              an activation under way, forward or backward
        paused.json                           one whose first stage is done, waiting for the second
        seen                                  file times of what was last found in order (node.seen)

Knows: names. Must not know: what the files hold.
"""

from __future__ import annotations

import os
import re
import stat
from functools import cached_property
from typing import TYPE_CHECKING

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_DEST", "RESERVED", "STATE", "Site", "destination", "resolve"]

DEFAULT_DEST = "/opt/kata"
STATE = ".kata-bundle"
RESERVED = frozenset({STATE, "containerd"})
"""Top-level names that no payload may bring."""

_SUFFIX = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")
_LINKS_FOLLOWED = 40
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


def destination(dest: str = DEFAULT_DEST, suffix: str | None = None) -> str:
    """Return the install directory: ``dest``, with ``-suffix`` appended unless it ends so already.

    Raises :class:`UsageError` for a path that is not absolute or a suffix that is not a lower-case DNS label (D20).
    """
    if not dest.startswith("/") or "\0" in dest or ".." in dest.split("/"):
        msg = f'install directory "{dest}" is not an absolute path without ".."'
        raise UsageError(msg)
    plain = os.path.normpath("/" + dest.lstrip("/"))
    if plain == "/":
        msg = "the install directory cannot be the root directory"
        raise UsageError(msg)
    if not suffix:
        return plain
    if not _SUFFIX.fullmatch(suffix):
        msg = f'suffix "{suffix}" is not allowed'
        raise UsageError(msg, hint="1 to 30 lower-case letters, digits and '-', beginning and ending with a letter or digit")
    return plain if plain.endswith(f"-{suffix}") else f"{plain}-{suffix}"


def resolve(root: str, path: str, *, follow: bool, on_link: Callable[[str], object] | None = None) -> str:
    """Return where host path ``path`` lies when ``root`` stands for ``/``; links on the way are followed inside ``root``.

    The last name is followed only with ``follow``. Names that do not exist are kept. ``on_link`` is told the real path of every
    link that was followed. Raises :class:`HostError` for a loop.
    """
    pending = [part for part in reversed(path.split("/")) if part]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == ".":
            continue
        if part == "..":
            del done[-1:]
            continue
        here = os.path.join(root, *done, part)
        if pending or follow:
            try:
                is_link = stat.S_ISLNK(os.lstat(here).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                is_link = False
            if is_link:
                links += 1
                if links > _LINKS_FOLLOWED:
                    msg = f'"{path}" goes through more than {_LINKS_FOLLOWED} symbolic links'
                    raise HostError(msg)
                if on_link is not None:
                    on_link(here)
                target = os.readlink(here)
                if target.startswith("/"):
                    done.clear()
                pending.extend(name for name in reversed(target.split("/")) if name)
                continue
        done.append(part)
    return os.path.join(root, *done)


@record(kw_only=False, slots=False)
class Site:
    """One install on one host: ``root`` is the directory that stands for the host's ``/``, ``dest`` the install directory."""

    root: str
    dest: str

    def at(self, path: str, *, follow: bool = False) -> str:
        """Return the real path of host path ``path``."""
        return resolve(self.root, path, follow=follow)

    @cached_property
    def folder(self) -> str:
        """Real path of ``<dest>``."""
        return self.at(self.dest, follow=True)

    @property
    def state(self) -> str:
        """Real path of the state folder."""
        return os.path.join(self.folder, STATE)

    @property
    def current(self) -> str:
        """Real path of the link to the active generation."""
        return os.path.join(self.state, "current")

    @property
    def generations(self) -> str:
        """Real path of the folder of generations."""
        return os.path.join(self.state, "generations")

    @property
    def receipts(self) -> str:
        """Real path of the folder of receipts."""
        return os.path.join(self.state, "receipts")

    @property
    def objects(self) -> str:
        """Real path of the folder of contents by digest."""
        return os.path.join(self.state, "objects")

    @property
    def origin(self) -> str:
        """Real path of the record of what was created for the first generation."""
        return os.path.join(self.state, "origin.json")

    @property
    def journal(self) -> str:
        """Real path of the journal of an activation under way."""
        return os.path.join(self.state, "journal.json")

    @property
    def undo(self) -> str:
        """Real path of the journal of an activation that is being taken back."""
        return os.path.join(self.state, "undo.json")

    @property
    def paused(self) -> str:
        """Real path of the journal of an activation that waits for its second stage."""
        return os.path.join(self.state, "paused.json")

    @property
    def seen(self) -> str:
        """Real path of the record of what was last found in order."""
        return os.path.join(self.state, "seen")

    def generation(self, number: int) -> str:
        """Real path of a generation."""
        return os.path.join(self.generations, str(number))

    def receipt(self, number: int) -> str:
        """Real path of a generation's receipt."""
        return os.path.join(self.receipts, f"{number}.json")

    def state_path(self, name: str = "") -> str:
        """Host path of ``name`` in the state folder."""
        return os.path.join(self.dest, STATE, name) if name else os.path.join(self.dest, STATE)

    def active(self) -> int | None:
        """Return the number of the active generation, ``None`` when there is none."""
        try:
            target = os.readlink(self.current)
        except (FileNotFoundError, NotADirectoryError):
            return None
        folder, _, name = target.rpartition("/")
        if folder != "generations" or not _NUMBER.fullmatch(name):
            msg = f'"{self.current}" points to "{target}", expected a generation'
            raise HostError(msg, hint="somebody changed it; point it at generations/<number> again")
        return int(name)

    def numbers(self, folder: str, ending: str = "") -> tuple[int, ...]:
        """Return the generation numbers that ``folder`` has entries for, ascending; absent folder: none."""
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        stems = [name.removesuffix(ending) for name in names if name.endswith(ending)]
        return tuple(sorted(int(stem) for stem in stems if _NUMBER.fullmatch(stem)))
