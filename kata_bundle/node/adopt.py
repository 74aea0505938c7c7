"""Taking over a tree that the reference installer wrote in place: it becomes generation 0, without any path ever missing.

``current`` first points to generation 0, whose names are links back into ``<dest>`` so far; then each top-level name and its link
are exchanged in one system call; after the last one everything is reached through ``current``, which can then be switched like at
any upgrade. Where the file system cannot exchange, the operator has to accept that each name is absent for a moment.
Must not know: what is installed afterwards.
"""

from __future__ import annotations

import errno
import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.readtree import read_tree
from kata_bundle.core import clock
from kata_bundle.core.digest import Digest, digest_stream
from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree
from kata_bundle.node.ops import Exchange, SetLink
from kata_bundle.node.plan import link_of, links_there
from kata_bundle.node.receipt import Receipt, ReceiptKind, SourceKind
from kata_bundle.node.site import STATE
from kata_bundle.node.state import remove_tree
from kata_bundle.node.userfiles import MANAGED_NAMES, find_user_files
from kata_bundle.node.verify import Inspection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.node.machine import Machine
    from kata_bundle.node.ops import Operation
    from kata_bundle.node.site import Site

__all__ = ["InPlaceTree", "can_exchange", "find_in_place", "plan_adoption", "stage_adoption"]

GENERATION: Final = 0
_NAMES: Final = frozenset({"VERSION", "bin", "libexec", "nydus-for-kata-tee", "runtime-rs", "share", "versions.yaml"})
"""Top-level names that the reference installer writes."""
_SIGNS: Final = ("bin/containerd-shim-kata-v2", "runtime-rs/bin/containerd-shim-kata-v2", "share/defaults/kata-containers")
_CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV})
_CONFIGURATIONS: Final = "share/defaults/"


@record
class InPlaceTree:
    """The tree found in ``<dest>``: its top-level names, and what a receipt and an inspection would say of it."""

    names: tuple[str, ...]
    receipt: Receipt
    inspection: Inspection


def find_in_place(machine: Machine) -> InPlaceTree | None:
    """Return the tree that the reference installer wrote into ``<dest>``, ``None`` when nothing there looks like one.

    Raises :class:`HostError` when it holds devices or the like.
    """
    there = links_there(machine.site)
    adopted = tuple(name for name in sorted(_NAMES) if name in there and not _is_ours(there[name]))
    if not any(sign.split("/", 1)[0] in adopted and os.path.lexists(os.path.join(machine.site.folder, sign)) for sign in _SIGNS):
        return None
    return _read(machine, adopted)


def plan_adoption(site: Site, names: Iterable[str], *, gap: bool) -> list[Operation]:
    """Return the operations that turn the tree in ``<dest>`` into generation 0 and make it the active one."""
    return [
        SetLink(
            path=site.state_path("current"),
            target=f"generations/{GENERATION}",
            before=None,
            reason="the tree found here becomes generation 0",
        ),
        *(
            Exchange(
                path=posixpath.join(site.dest, name),
                stored=site.state_path(f"generations/{GENERATION}/{name}"),
                gap=gap,
                reason=f"moves {name} into generation 0 and leaves a link to it",
            )
            for name in sorted(names)
        ),
    ]


def stage_adoption(machine: Machine, names: Iterable[str]) -> None:
    """Make generation 0 with links back to where its names still are. The caller flushes."""
    site, files = machine.site, machine.files
    folder = site.generation(GENERATION)
    partial = f"{folder}.partial"
    files.make_directory(site.generations)
    remove_tree(files, partial)
    files.make_directory(partial)
    # Links inside the old tree that lead from one name to another resolve from its new place too, while half of it is moved:
    # from there ".kata-bundle/current/<name>" goes through this link to <dest>, where the name still is.
    files.make_directory(os.path.join(partial, STATE))
    files.symlink("../../../..", os.path.join(partial, STATE, "current"))
    for name in names:
        files.symlink(link_of(name), os.path.join(partial, name))
    files.rename(partial, folder)


def can_exchange(machine: Machine) -> bool:
    """Return whether names in ``<dest>`` can be exchanged, by trying it in the state folder."""
    first, second = (os.path.join(machine.site.state, f"{name}.link-new") for name in ("exchange-a", "exchange-b"))
    machine.files.symlink("a", first)
    machine.files.symlink("b", second)
    try:
        machine.files.exchange(first, second)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    finally:
        machine.files.unlink(first)
        machine.files.unlink(second)
    return True


def _is_ours(target: str | None) -> bool:
    return target is not None and target.startswith(f"{STATE}/")


def _read(machine: Machine, names: tuple[str, ...]) -> InPlaceTree:
    site = machine.site
    special: list[str] = []
    entries: dict[RelPath, Entry] = {}
    for name in names:
        place = Path(site.folder, name)
        if place.is_symlink():
            entries[RelPath(name)] = Symlink(target=os.readlink(place))
        elif place.is_dir():
            entries[RelPath(name)] = Directory(mode=place.stat().st_mode & 0o7777)
            for path, entry in read_tree(place, on_special=special.append).entries.items():
                inside = Hardlink(target=RelPath(f"{name}/{entry.target}")) if isinstance(entry, Hardlink) else entry
                entries[RelPath(f"{name}/{path}")] = inside
        elif place.is_file():
            with place.open("rb") as stream:
                digest, size = digest_stream(iter(lambda stream=stream: stream.read(1 << 18), b""))  # type: ignore[misc]
            entries[RelPath(name)] = File(mode=place.stat().st_mode & 0o7777, size_bytes=size, digest=digest)
        else:
            special.append(name)
    if special:
        msg = f"{site.dest} holds what is no file, directory or link: {', '.join(special[:5])}"
        raise HostError(msg, hint="remove it and run the command again")
    user_files: Mapping[RelPath, Digest] = {
        path: digest
        for path, digest in find_user_files(site.folder, ()).items()
        if path.rpartition("/")[2] not in MANAGED_NAMES and path.split("/", 1)[0] in names
    }
    tree = Tree.of({path: entry for path, entry in entries.items() if path not in user_files})
    receipt = Receipt(
        generation=GENERATION,
        kind=ReceiptKind.ADOPTED,
        activated=clock.timestamp(),
        previous=None,
        tool="reference installer",
        dest=site.dest,
        suffix=None,
        arch=None,
        source=SourceKind.IN_PLACE,
        source_digest=None,
        shims={},
        layers={},
        tree=tree,
        generated=tuple(path for path in tree.entries if path.startswith(_CONFIGURATIONS)),
        retained=(),
        created=(),
        edits=(),
        services=(),
    )
    unchanged = frozenset(path for path, entry in tree.entries.items() if isinstance(entry, File))
    inspection = Inspection(missing=(), extra=(), changed=(), unchanged=unchanged, user_files=user_files)
    return InPlaceTree(names=names, receipt=receipt, inspection=inspection)
