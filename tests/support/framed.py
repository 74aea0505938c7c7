"""Bundles whose layers have tables of contents, of any files, for tests that fetch parts of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.archive.zstd import current_recipe
from kata_bundle.bundle.pack import Content, pack_contents
from kata_bundle.core.arch import Arch
from kata_bundle.core.tree import File, Tree
from kata_bundle.oci import BundleIndex, write_bundle
from kata_bundle.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CREATED = 1577836800


def framed_bundle(
    folder: Path,
    shims: Mapping[str, tuple[str, ...]],
    components: Mapping[str, Mapping[str, bytes]],
    *,
    store: Path | None = None,
    framed: bool = True,
) -> Path:
    """Write a bundle of ``components`` (name → path → content) for one architecture to ``folder``; return it."""
    from kata_bundle.core.record import replace

    kept = Store(store or folder.parent / "store", durable=False)
    contents = []
    for name, files in components.items():
        entries = {path: File(mode=0o644, size_bytes=len(data), digest=kept.put_bytes(data)) for path, data in files.items()}
        tree = Tree.of(entries)  # type: ignore[arg-type]
        kept.put_tree(tree)
        contents.append(
            Content(
                component=name, arch=Arch.X86_64, tree=tree.digest, origin="fixture", version="1", rule_key=None, hermetic=False
            )
        )
    recipe = current_recipe(1)
    if not framed:
        recipe = replace(recipe, frame_size=None)
    packed = pack_contents(contents, kept, recipe=recipe, source_date=CREATED, jobs=2)
    index = BundleIndex(
        arch=Arch.X86_64,
        shims=dict(shims),
        layers={one.layer.component: one.layer.to_bundle_layer() for one in packed},
        default_shim=None,
        default_shims=tuple(shims)[:1],
    )
    write_bundle(folder, {Arch.X86_64: index}, kept.verified_path, created=CREATED)
    return folder
