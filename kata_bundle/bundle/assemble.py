"""Assemble packed layers as a bundle: one OCI layout, or a plain set of tarballs with its component map.

Knows: plans, the catalog's defaults and RuntimeClasses, layer records. Must not know: how layers were made.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.blobs import link_or_copy
from kata_bundle.core.componentmap import FILE_NAME, ComponentMap, component_of_tarball, tarball_name
from kata_bundle.core.errors import UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.fsops import FileOps, one_writer, write_atomic
from kata_bundle.oci import BundleIndex, Layout, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.closure import Plan
    from kata_bundle.store import Store
    from kata_bundle.store.records import LayerRecord

__all__ = ["bundle_indexes", "check_targets", "write_layout", "write_tarballs"]


def bundle_indexes(catalog: Catalog, plan: Plan, layers: Sequence[LayerRecord]) -> dict[Arch, BundleIndex]:
    """Return the bundle index of every architecture of ``plan``; ``layers`` must hold each planned component.

    An install without a choice of its own enables the shims that were selected by name; of a bundle of everything, the
    architecture's defaults.
    """
    known = {(layer.arch, layer.component): layer for layer in layers}
    indexes = {}
    for arch in plan.arches:
        shims = plan.shims_on(arch)
        defaults = catalog.arches[arch]
        indexes[arch] = BundleIndex(
            arch=arch,
            shims={shim: catalog.component_map.components(shim, arch) or () for shim in shims},
            layers={c.component: known[arch, c.component].to_bundle_layer() for c in plan.components_on(arch)},
            default_shim=defaults.default_shim if defaults.default_shim in shims else None,
            default_shims=tuple(s for s in defaults.default_shims if s in shims) if plan.is_everything else shims,
            runtime_classes=tuple(
                {
                    "shim": shim,
                    "name": runtime_class.name,
                    "handler": runtime_class.name,
                    "overhead": {"memory": runtime_class.memory, "cpu": runtime_class.cpu},
                    "node_selector": dict(runtime_class.node_selector),
                }
                for shim in shims
                if (runtime_class := catalog.runtime_classes.get(shim)) is not None
            ),
        )
    return indexes


def check_targets(plan: Plan, *, layout: Path | None, tarballs: Path | None, lock: Path | None = None) -> None:
    """Raise :class:`UsageError` when a bundle of ``plan`` cannot be written there; called before anything is made or written.

    A folder has to be new, empty, or hold what an earlier run wrote, and nothing else may lie in it.
    """
    if layout is not None:
        Layout.check_target(layout)
    if tarballs is not None:
        folders = _tarball_folders(plan, tarballs)
        if len(folders) > 1:
            _refuse_strangers(tarballs, lambda name: name in set(Arch))
        for folder in folders.values():
            _refuse_strangers(folder, lambda name: name == FILE_NAME or component_of_tarball(name) is not None)
    if lock is not None and not lock.parent.is_dir():
        msg = f"the folder of the lock {lock} does not exist"
        raise UsageError(msg)
    named = [("layout", layout), ("tarballs", tarballs), ("lock", lock)]
    places = [(what, path, f"{os.path.realpath(path)}/") for what, path in named if path is not None]
    for what, path, place in places:
        for other, folder, whole in places:
            if other not in {what, "lock"} and place.startswith(whole):
                msg = f"the {what} {path} would lie in the folder of the {other}, {folder}"
                raise UsageError(msg, hint="name places side by side")


def write_layout(
    catalog: Catalog,
    plan: Plan,
    layers: Sequence[LayerRecord],
    store: Store,
    directory: Path,
    *,
    source_date: int,
    progress: Progress = NO_PROGRESS,
) -> Digest:
    """Write the bundle of ``plan`` to ``directory`` and return its digest (of the image index).

    Blobs are hard-linked from the store where the file system allows, each after its content was checked. Raises
    :class:`UsageError` when the directory holds something else, :class:`IntegrityError` when the store is damaged.
    """
    indexes = bundle_indexes(catalog, plan, layers)
    with _checked_blobs(store, layers, "write the layout", progress) as source:
        return write_bundle(directory, indexes, source, created=source_date).digest


def write_tarballs(
    catalog: Catalog,
    plan: Plan,
    layers: Sequence[LayerRecord],
    store: Store,
    directory: Path,
    *,
    progress: Progress = NO_PROGRESS,
) -> tuple[Path, ...]:
    """Write the layers as ``kata-static-<component>.tar.zst`` beside a ``shim-components.json`` of exactly the plan's cells.

    One architecture is written to ``directory`` itself, several to one folder each, named by architecture. Tarballs of an earlier
    run that the plan does not need are removed; a folder with other files is refused with :class:`UsageError` before anything
    is written. Returns the folders written.
    """
    check_targets(plan, layout=None, tarballs=directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    FileOps().make_directory(os.fspath(directory))
    folders = _tarball_folders(plan, directory)
    with _checked_blobs(store, layers, "write tarballs", progress) as source:
        for arch, folder in folders.items():
            FileOps().make_directory(os.fspath(folder))
            rows = {shim: {arch.value: catalog.component_map.components(shim, arch) or ()} for shim in plan.shims_on(arch)}
            with one_writer(folder):
                _write_tarball_folder(folder, [layer for layer in layers if layer.arch is arch], source)
                write_atomic(folder / FILE_NAME, canonical.dumps_pretty(ComponentMap(rows).to_dict()).encode())
    return tuple(folders.values())


def _write_tarball_folder(folder: Path, layers: Sequence[LayerRecord], source: Callable[[Digest], Path]) -> None:
    wanted = {tarball_name(layer.component): layer.packed for layer in layers}
    for name, packed in wanted.items():
        link_or_copy(source(packed), folder / name, packed, what=name)
    for name in _names(folder):
        if component_of_tarball(name) is not None and name not in wanted:
            os.unlink(folder / name)


def _tarball_folders(plan: Plan, directory: Path) -> dict[Arch, Path]:
    return {arch: directory if len(plan.arches) == 1 else directory / arch for arch in plan.arches}


@contextmanager
def _checked_blobs(
    store: Store, layers: Sequence[LayerRecord], task: str, progress: Progress
) -> Iterator[Callable[[Digest], Path]]:
    """Yield a function that returns the path of a layer's blob after reading it all, reporting that as the progress of a task."""
    sizes = {layer.packed: layer.packed_size_bytes for layer in layers}

    def source(digest: Digest) -> Path:
        path = store.verified_path(digest)
        progress.advance(task, sizes[digest])
        return path

    progress.start(task, sum(sizes.values()))
    try:
        yield source
    finally:
        progress.finish(task)


def _refuse_strangers(folder: Path, is_ours: Callable[[str], bool]) -> None:
    strangers = [name for name in _names(folder) if not is_ours(name) and ".tmp-" not in name]
    if strangers:
        msg = f'{folder} holds "{strangers[0]}", which is no part of a tarball set'
        raise UsageError(msg, hint="name a new or empty folder")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        msg = f"{folder} is a file, expected a folder"
        raise UsageError(msg) from None
