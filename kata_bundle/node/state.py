"""What is installed at a site, read from its state folder; and making or removing that folder without half-way states.

Must not know: how an activation proceeds.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from kata_bundle.core import canonical
from kata_bundle.core.errors import BundleError, HostError, InstallError, IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import record
from kata_bundle.node.receipt import Receipt, load_receipt
from kata_bundle.node.site import STATE, Site

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from kata_bundle.core.fsops import FileOps
    from kata_bundle.node.receipt import RecordedEdit

__all__ = [
    "Neighbours",
    "NodeState",
    "ensure_state",
    "find_parting",
    "leftover_places",
    "load_state",
    "neighbours",
    "other_sites",
    "parting_folder",
    "read_origin",
    "remove_leftovers",
    "remove_tree",
]

_ORIGIN_VERSION = 1
_UNFINISHED = ".kata-bundle-new"
_PARTING = ".kata-bundle-gone"


@record
class NodeState:
    """The generations of one install. ``active`` is ``None`` when nothing is installed."""

    active: int | None
    receipts: Mapping[int, Receipt]
    created: tuple[str, ...]
    """Directories that the first install made, ``<dest>`` and parents of it, outermost first."""
    interrupted: bool
    """Whether an activation was interrupted, or waits for its second stage, and nobody has finished or undone it yet."""

    @property
    def receipt(self) -> Receipt | None:
        """The active generation's receipt."""
        return None if self.active is None else self.receipts.get(self.active)

    @property
    def latest(self) -> Receipt | None:
        """The active generation's receipt; when somebody took the link to it away, the one activated last."""
        if self.receipt is not None or not self.receipts:
            return self.receipt
        return max(self.receipts.values(), key=lambda receipt: (receipt.activated, receipt.generation))

    @property
    def next_number(self) -> int:
        """The number that the next generation gets."""
        return max(self.receipts, default=0) + 1


def load_state(site: Site) -> NodeState:
    """Return what is installed; raise :class:`IntegrityError` for a bad receipt, :class:`InstallError` for a missing one."""
    interrupted = any(os.path.lexists(path) for path in (site.journal, site.undo, site.paused))
    receipts = {number: load_receipt(site.receipt(number)) for number in site.numbers(site.receipts, ".json")}
    for number, receipt in receipts.items():
        if receipt.generation != number or receipt.dest != site.dest:
            msg = f"{site.receipt(number)} is of generation {receipt.generation} at {receipt.dest}"
            raise IntegrityError(msg)
    active = site.active()
    if active is not None and active not in receipts and not interrupted:
        msg = f"generation {active} of {site.dest} is active but has no receipt"
        raise InstallError(msg, hint="restore the receipts folder, or remove the install directory and install again")
    return NodeState(active=active, receipts=receipts, created=read_origin(site.origin), interrupted=interrupted)


def ensure_state(site: Site, files: FileOps, *, own_dest: bool = False) -> tuple[str, ...]:
    """Make ``<dest>`` and its state folder if need be; return the directories that an install here has made.

    With ``own_dest``, ``<dest>`` counts as made by us although it is there: another installer of this tree made it. What is made
    appears with the record of it, in one rename, so that an interruption cannot make us forget it.
    """
    if os.path.isdir(site.state):
        return read_origin(site.origin)
    if not os.path.isdir(site.root):
        msg = f'root directory "{site.root}" does not exist'
        raise HostError(msg)
    folder = site.folder
    if os.path.lexists(folder) and not os.path.isdir(folder):
        msg = f'"{site.dest}" exists but is not a directory'
        raise HostError(msg)
    missing: list[str] = []
    top = folder
    while not os.path.isdir(top):
        missing.append(top)
        top = os.path.dirname(top)
    made = [site.dest] if own_dest else []
    made += ["/" + os.path.relpath(path, site.root) for path in reversed(missing)]
    # Parents that another install made are ours too as long as we need them: whoever goes last takes them away.
    shared = {path for path in neighbours(site).created if f"{site.dest}/".startswith(f"{path}/")}
    created = tuple(sorted({*made, *shared}))
    final = missing[-1] if missing else site.state
    start = _beside(final, _UNFINISHED)
    remove_tree(files, start)
    files.make_directory(start)
    state = start
    for path in missing[-2::-1]:
        state = os.path.join(state, os.path.basename(path))
        files.make_directory(state)
    if missing:
        state = os.path.join(state, STATE)
        files.make_directory(state)
    origin = canonical.dumps({"version": _ORIGIN_VERSION, "created": list(created)})
    files.write_file(os.path.join(state, os.path.basename(site.origin)), origin)
    files.rename(start, final)
    files.sync_directory(os.path.dirname(final))
    return created


def remove_leftovers(site: Site, files: FileOps) -> None:
    """Remove what an interrupted :func:`ensure_state` left."""
    for path in _ancestors(site):
        if os.path.lexists(_beside(path, _UNFINISHED)):
            remove_tree(files, _beside(path, _UNFINISHED))


def leftover_places(site: Site) -> tuple[str, ...]:
    """Return the real paths where an interrupted :func:`ensure_state` or removal may have left something."""
    return tuple(_beside(path, ending) for path in _ancestors(site) for ending in (_UNFINISHED, _PARTING))


def parting_folder(site: Site, created: Collection[str]) -> str:
    """Return where the state folder goes when everything else is gone: beside the outermost directory that is removed.

    There a later start finds the journal and knows which of the directories, empty by then, were made by us.
    """
    device = os.lstat(site.state).st_dev
    for path in reversed(list(_ancestors(site))):
        host = "/" + os.path.relpath(path, site.root)
        if host in created and os.lstat(os.path.dirname(path)).st_dev == device:
            return _beside(path, _PARTING)
    return _beside(site.state, _PARTING)


def find_parting(site: Site) -> str | None:
    """Return the state folder that an interrupted removal left, ``None`` when there is none."""
    found = (_beside(path, _PARTING) for path in _ancestors(site))
    return next((path for path in found if os.path.isdir(path)), None)


def remove_tree(files: FileOps, path: str) -> bool:
    """Remove ``path`` bottom-up, following no link; return whether it is gone. A mount point is emptied but stays."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return True
    if not stat.S_ISDIR(found.st_mode):
        files.unlink(path)
        return True
    if os.geteuid() and found.st_mode & 0o300 != 0o300:
        files.set_mode(path, 0o700)
    for name in sorted(os.listdir(path)):
        remove_tree(files, os.path.join(path, name))
    if os.lstat(path).st_dev != os.lstat(os.path.dirname(path)).st_dev:
        return False
    return files.remove_directory(path)


def other_sites(site: Site) -> tuple[Site, ...]:
    """Return the installs beside ``site``: directories of the same parent, named like it but for the suffix."""
    parent, name = os.path.split(site.dest)
    stem = name.partition("-")[0]
    try:
        names = sorted(os.listdir(site.at(parent, follow=True)))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    others = [
        Site(site.root, os.path.join(parent, other)) for other in names if other.partition("-")[0] == stem and other != name
    ]
    return tuple(other for other in others if os.path.isdir(other.state))


@record
class Neighbours:
    """The installs beside one: the directories that they have made, and the host edits that they have."""

    created: frozenset[str] = frozenset()
    edits: tuple[RecordedEdit, ...] = ()


def neighbours(site: Site) -> Neighbours:
    """Return what is recorded of the installs beside ``site``. An install that cannot be read is left out."""
    created: set[str] = set()
    edits: list[RecordedEdit] = []
    for other in other_sites(site):
        with contextlib.suppress(BundleError, OSError):
            created |= {*read_origin(other.origin)}
            state = load_state(other)
            created |= {path for receipt in state.receipts.values() for path in receipt.created}
            edits += () if state.latest is None else state.latest.edits
    return Neighbours(created=frozenset(created), edits=tuple(edits))


def _ancestors(site: Site) -> Iterator[str]:
    """Yield the state folder, ``<dest>`` and its parents below the root, as real paths."""
    path, root = site.state, site.root.rstrip("/") or "/"
    while path not in {root, "/"}:
        yield path
        path = os.path.dirname(path)


def _beside(path: str, ending: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name.lstrip('.')}{ending}")


def read_origin(path: str) -> tuple[str, ...]:
    """Return the directories that the first install made, from its record in file ``path``; none when there is no record."""
    try:
        with open(path, "rb") as stream:
            fields = Fields(canonical.loads(stream.read(), what=path), path)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    if fields.integer("version") != _ORIGIN_VERSION:
        msg = f"{path} is of a version that this program does not read"
        raise IntegrityError(msg)
    created = fields.texts("created")
    fields.done()
    return created
