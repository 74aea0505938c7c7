"""Takes prebuilt ``kata-static-<component>.tar.zst`` files into the store, byte for byte.

Every file is checked before the first is stored, and one record that is replaced at the end says what is imported: so a folder is
taken whole or not at all, also when the process dies. Must not know: rules.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.archive.layer import scan_layer
from kata_bundle.core.componentmap import COMPONENT_NAME, TARBALL_PREFIX, TARBALL_SUFFIX
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import BundleError, IntegrityError, UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.store import LayerRecord

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.events import Progress
    from kata_bundle.core.tree import Tree
    from kata_bundle.store import Store

__all__ = ["ORIGIN", "Imported", "import_directory", "imported_layer"]

ORIGIN = "foreign"
"""Origin of layers that were packed elsewhere."""
_LOCK = "import"


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """A tarball that was (or, on trial, would be) taken: its record, and whether it was imported before."""

    record: LayerRecord
    file_count: int
    is_known: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**self.record.to_dict(), "file_count": self.file_count, "known": self.is_known}


def import_directory(
    folder: Path,
    store: Store,
    arch: Arch,
    *,
    known: Collection[str],
    dry_run: bool = False,
    progress: Progress = NO_PROGRESS,
) -> tuple[Imported, ...]:
    """Return what was taken from ``folder``, sorted by component; other files there are left alone.

    An earlier import of the same component and architecture is replaced. ``known`` are the names that components may have.

    Raises :class:`UsageError` when the folder has no tarball, and :class:`IntegrityError` listing everything wrong with every
    file: names of no component, links and other things that are no regular file, another compression, malformed and hostile
    archives. Then, and with ``dry_run``, nothing was stored.
    """
    problems: list[str] = []
    found: list[tuple[Path, str]] = []
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.startswith(TARBALL_PREFIX) and ".tar" in path.name:
            name = _component(path, known, problems)
            if name is not None:
                found.append((path, name))
    if not found and not problems:
        msg = f"{folder} has no {TARBALL_PREFIX}<component>{TARBALL_SUFFIX} files"
        raise UsageError(msg)
    scanned: list[tuple[Path, LayerRecord, Tree]] = []
    for path, name in sorted(found, key=lambda item: item[1]):
        try:
            scanned.append((path, *_scan(path, name, arch, progress)))
        except BundleError as error:
            problems.append(str(error))
    if problems:
        msg = f"{folder} was not imported, nothing was stored:\n  " + "\n  ".join(problems)
        raise IntegrityError(msg)
    with nullcontext() if dry_run else store.lock(_LOCK):
        current = _current(store, arch)
        result = tuple(
            Imported(record=record, file_count=tree.file_count, is_known=current.get(record.component) == record)
            for _, record, tree in scanned
        )
        if not dry_run:
            for (path, record, tree), imported in zip(scanned, result, strict=True):
                if not imported.is_known:
                    # The digest again, since the file may have changed after it was looked at.
                    store.put_file(path, record.packed)
                    store.put_tree(tree)
                    store.put_layer(record)
            after = current | {record.component: record for _, record, _ in scanned}
            store.set_root(_root(arch), [digest for record in after.values() for digest in (record.packed, record.tree)])
    return result


def imported_layer(store: Store, component: str, arch: Arch) -> LayerRecord | None:
    """Return the layer that was imported last for ``component`` on ``arch``, ``None`` when there is none."""
    return _current(store, arch, component).get(component)


def _current(store: Store, arch: Arch, component: str | None = None) -> dict[str, LayerRecord]:
    """Return the imported layers of ``arch`` by component: the foreign ones that the root record names."""
    named = set(store.roots().get(_root(arch), ()))
    return {
        record.component: record
        for record in store.layers(component)
        if record.arch is arch and record.origin == ORIGIN and record.packed in named
    }


def _root(arch: Arch) -> str:
    return f"imported-{arch.value}"


def _component(path: Path, known: Collection[str], problems: list[str]) -> str | None:
    if not path.name.endswith(TARBALL_SUFFIX):
        problems.append(f"{path.name}: only {TARBALL_SUFFIX} can be imported")
        return None
    name = path.name.removeprefix(TARBALL_PREFIX).removesuffix(TARBALL_SUFFIX)
    if not COMPONENT_NAME.fullmatch(name) or name not in known:
        hint = did_you_mean(name, known)
        problems.append(f"{path.name}: there is no component {name!a}" + (f"; {hint}" if hint else ""))
        return None
    if path.is_symlink() or not path.is_file():
        problems.append(f"{path.name}: not a regular file")
        return None
    return name


def _scan(path: Path, name: str, arch: Arch, progress: Progress) -> tuple[LayerRecord, Tree]:
    tree, packed = scan_layer(path, what=path.name, progress=progress)
    if not tree.entries:
        msg = f"{path.name} has no members below opt/kata"
        raise IntegrityError(msg)
    record = LayerRecord(
        component=name,
        arch=arch,
        tree=packed.tree,
        packed=packed.packed,
        packed_size_bytes=packed.packed_size_bytes,
        diff_id=packed.diff_id,
        unpacked_size_bytes=packed.unpacked_size_bytes,
        origin=ORIGIN,
        hermetic=False,
        table=packed.table,
    )
    return record, tree
