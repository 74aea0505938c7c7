"""The two sides of ``kata-bundle diff``: told apart, read, and made comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import FindingsError, UsageError
from kata_bundle.plan.diff import Item, ItemKey, Snapshot, SnapshotKind, Subject, flatten
from kata_bundle.plan.size import Weight

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kata_bundle.cli.app import App
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.tree import Tree
    from kata_bundle.oci.bundle import Bundle
    from kata_bundle.oci.bundleindex import BundleLayer

__all__ = ["Side", "read_side", "tree_reader"]


class Side:
    """A snapshot, and for a bundle the way to its files."""

    def __init__(self, snapshot: Snapshot, bundle: Bundle | None = None) -> None:
        self.snapshot = snapshot
        self.bundle = bundle


def read_side(path: Path) -> Side:
    """Return what lies at ``path``: an OCI layout (a bundle), a folder of manifests, or a lock.

    Raises :class:`UsageError` for anything else, and what reading raises: :class:`FindingsError`, :class:`LockError`,
    :class:`IntegrityError`.
    """
    name = str(path)
    if path.is_file():
        from kata_bundle.plan.lock import Lock
        from kata_bundle.plan.snapshots import lock_snapshot

        return Side(lock_snapshot(Lock.from_json(path.read_bytes(), what=name), name))
    if (path / "oci-layout").exists():
        from kata_bundle.oci.bundle import open_bundle

        bundle = open_bundle(path)
        return Side(_bundle_snapshot(bundle, name), bundle)
    if (path / "shims.toml").exists():
        from kata_bundle.manifest import load_catalog
        from kata_bundle.plan.snapshots import catalog_snapshot

        catalog, report = load_catalog(path)
        if catalog is None:
            message = f"the manifests in {path} have {report.errors} error(s), so they cannot be compared"
            raise FindingsError(message, hint=f"kata-bundle check --manifests {path} shows them with their places")
        return Side(catalog_snapshot(catalog, name))
    message = f"{path} is no bundle, no folder of manifests and no lock" if path.exists() else f"{path} does not exist"
    raise UsageError(message, hint="a bundle is an OCI layout; a folder of manifests has a shims.toml; a lock is a file")


def tree_reader(app: App, old: Side, new: Side) -> Callable[[ItemKey], tuple[Tree | None, Tree | None]] | None:
    """Return the function that reads a component's files on both sides; ``None`` where sides have no files."""
    from kata_bundle.archive.layer import scan_layer
    from kata_bundle.core.arch import Arch

    if old.bundle is None or new.bundle is None:
        return None

    def read(side: Side, key: ItemKey) -> Tree | None:
        if side.bundle is None or key not in side.snapshot.items or key.arch is None:
            return None
        path = side.bundle.layer_path(Arch(key.arch), key.name)
        tree, packed = scan_layer(path, what=f"{key.name} ({key.arch})", progress=app.progress)
        expected = side.snapshot.items[key]
        if packed.packed != expected.packed or tree.digest != expected.tree:
            from kata_bundle.core.errors import IntegrityError

            message = f"{path} is not what the bundle index says of {key.name} ({key.arch})"
            raise IntegrityError(message)
        return tree

    return lambda key: (read(old, key), read(new, key))


def _bundle_snapshot(bundle: Bundle, name: str) -> Snapshot:
    items: dict[ItemKey, Item] = {}
    for arch in bundle.arches():
        index = bundle.index(arch)
        for shim, row in index.shims.items():
            items[ItemKey(subject=Subject.SHIM, name=shim, arch=arch)] = Item(facts={"components": list(row)})
        for component, layer in index.layers.items():
            items[ItemKey(subject=Subject.COMPONENT, name=component, arch=arch)] = _layer(layer)
        for runtime_class in index.runtime_classes:
            facts = flatten({key: value for key, value in runtime_class.items() if key != "name"})
            key = ItemKey(subject=Subject.RUNTIME_CLASS, name=str(runtime_class.get("name")), arch=arch)
            items[key] = Item(facts=facts)
        defaults: dict[str, JsonValue] = {"default_shim": index.default_shim, "default_shims": list(index.default_shims)}
        items[ItemKey(subject=Subject.DEFAULTS, name=arch, arch=None)] = Item(facts=defaults)
    return Snapshot(kind=SnapshotKind.BUNDLE, name=name, items=items)


def _layer(layer: BundleLayer) -> Item:
    facts = {key: value for key, value in layer.to_dict().items() if key not in {"packed_size_bytes", "unpacked_size_bytes"}}
    return Item(
        facts=facts,
        weight=Weight(packed_bytes=layer.packed_size_bytes, unpacked_bytes=layer.unpacked_size_bytes),
        packed=layer.packed,
        tree=layer.tree,
    )
