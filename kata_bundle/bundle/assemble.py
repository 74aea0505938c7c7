"""Assemble packed layers as a bundle: one OCI layout, or a plain set of tarballs with its component map.

Knows: plans, the catalog's defaults and RuntimeClasses, layer records. Must not know: how layers were made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.core import canonical
from kata_bundle.core.blobs import link_or_copy
from kata_bundle.core.componentmap import FILE_NAME, ComponentMap, component_of_tarball, tarball_name
from kata_bundle.core.errors import UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.fsops import FileOps, write_atomic
from kata_bundle.oci import BundleIndex, write_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.closure import Plan
    from kata_bundle.store import Store
    from kata_bundle.store.records import LayerRecord

__all__ = ["bundle_indexes", "write_layout", "write_tarballs"]


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


def write_layout(
    catalog: Catalog, plan: Plan, layers: Sequence[LayerRecord], store: Store, directory: Path, *, source_date: int
) -> Digest:
    """Write the bundle of ``plan`` to ``directory`` and return its digest (of the image index).

    Blobs are hard-linked from the store where the file system allows, each after its content was checked. Raises
    :class:`UsageError` when the directory holds something else, :class:`IntegrityError` when the store is damaged.
    """
    indexes = bundle_indexes(catalog, plan, layers)
    return write_bundle(directory, indexes, store.verified_path, created=source_date).digest


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
    folders = {arch: directory if len(plan.arches) == 1 else directory / arch for arch in plan.arches}
    for folder in folders.values():
        strangers = [name for name in _names(folder) if name != FILE_NAME and component_of_tarball(name) is None]
        if strangers:
            msg = f'{folder} holds "{min(strangers)}", which is no part of a tarball set'
            raise UsageError(msg, hint="name a new or empty folder")
    for arch, folder in folders.items():
        folder.parent.mkdir(parents=True, exist_ok=True)
        FileOps().make_directory(os.fspath(directory))
        FileOps().make_directory(os.fspath(folder))
        wanted = {tarball_name(layer.component): layer for layer in layers if layer.arch is arch}
        for name, layer in wanted.items():
            link_or_copy(store.verified_path(layer.packed), folder / name, layer.packed, what=name)
            progress.advance("tarballs", layer.packed_size_bytes)
        for name in _names(folder):
            if component_of_tarball(name) is not None and name not in wanted:
                os.unlink(folder / name)
        rows = {shim: {arch.value: catalog.component_map.components(shim, arch) or ()} for shim in plan.shims_on(arch)}
        write_atomic(folder / FILE_NAME, canonical.dumps_pretty(ComponentMap(rows).to_dict()).encode())
    return tuple(folders.values())


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        msg = f"{folder} is a file, expected a folder"
        raise UsageError(msg) from None
