"""Bundles with real layers of given files, for tests of deltas and media."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from kata_bundle.archive.layer import pack_layer
from kata_bundle.archive.packing import packing_record
from kata_bundle.archive.zstd import current_recipe
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.record import replace
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.oci import BundleIndex, write_bundle
from kata_bundle.oci.bundleindex import BundleLayer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kata_bundle.core.digest import Digest

CREATED = 1577836800
Components = "Mapping[str, Mapping[str, bytes]]"


def layer_of(
    component: str, files: Mapping[str, bytes], folder: Path, *, foreign: bool = False, created: int = CREATED
) -> BundleLayer:
    """Pack ``files`` as the layer of ``component`` into ``folder``; a foreign one as a single frame."""
    contents = {digest_bytes(data): data for data in files.values()}
    tree = Tree.of({RelPath(p): File(mode=0o755, size_bytes=len(data), digest=digest_bytes(data)) for p, data in files.items()})
    sink = io.BytesIO()
    recipe = replace(current_recipe(3), frame_size=None) if foreign else current_recipe(3)
    made = pack_layer(tree, lambda digest: io.BytesIO(contents[digest]), sink, recipe=recipe, mtime=created)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / made.packed[7:]).write_bytes(sink.getvalue())
    return BundleLayer(
        component=component,
        tree=made.tree,
        packed=made.packed,
        packed_size_bytes=made.packed_size_bytes,
        diff_id=made.diff_id,
        unpacked_size_bytes=made.unpacked_size_bytes,
        origin="foreign" if foreign else "fixture",
        hermetic=False,
        recipe=None if foreign else packing_record(recipe),
        table=made.table,
    )


def bundle_of(
    directory: Path,
    arches: Mapping[Arch, Mapping[str, Mapping[str, bytes]]],
    *,
    shims: Mapping[str, tuple[str, ...]] | None = None,
    foreign: frozenset[str] = frozenset(),
    created: int = CREATED,
) -> Digest:
    """Write the bundle of these files: architecture → component → path → content; one shim needs all unless ``shims`` says."""
    blobs = directory.parent / "blobs-of-tests"
    indexes = {}
    for arch, components in arches.items():
        layers = {
            name: layer_of(name, files, blobs, foreign=name in foreign, created=created) for name, files in components.items()
        }
        rows = dict(shims or {"qemu": tuple(sorted(components))})
        indexes[arch] = BundleIndex(
            arch=arch,
            shims=rows,
            layers=layers,
            default_shim=min(rows),
            default_shims=(min(rows),),
        )
    return write_bundle(directory, indexes, lambda digest: blobs / digest[7:], created=created).digest
