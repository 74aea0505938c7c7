"""Catalogs and locks as sides of a comparison. Must not know: files, bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.plan.diff import Item, ItemKey, Snapshot, SnapshotKind, Subject, flatten

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.lock import Lock

__all__ = ["catalog_snapshot", "lock_snapshot"]


def catalog_snapshot(catalog: Catalog, name: str) -> Snapshot:
    """Return every fact of ``catalog``, called ``name``."""
    items: dict[ItemKey, Item] = {}

    def add(subject: Subject, key: str, facts: dict[str, Any]) -> None:
        items[ItemKey(subject=subject, name=key)] = Item(facts=flatten(facts))

    for shim in catalog.shims.values():
        rows = catalog.component_map.shims.get(shim.name, {})
        add(Subject.SHIM, shim.name, {"components": {arch: list(row) for arch, row in rows.items()}, **_without(shim, "name")})
    for component in catalog.components.values():
        add(Subject.COMPONENT, component.name, _without(component, "name"))
    for runtime_class in catalog.runtime_classes.values():
        add(Subject.RUNTIME_CLASS, runtime_class.name, _without(runtime_class, "name"))
    for arch, defaults in catalog.arches.items():
        add(
            Subject.DEFAULTS,
            arch.value,
            {
                "default_shim": defaults.default_shim,
                "default_shims": list(defaults.default_shims),
                "left_out": dict(defaults.left_out),
            },
        )
    standing = catalog.default_class
    add(Subject.DEFAULTS, "RuntimeClass", {"name": standing.name, "created_by_default": standing.created_by_default})
    release = catalog.release
    add(
        Subject.RELEASE,
        "release",
        {
            "bundles": {family.value: bundle for family, bundle in release.bundles.items()},
            "adds": list(release.adds),
            "size_limit_bytes": release.size_limit_bytes,
            "version": release.version,
        },
    )
    return Snapshot(kind=SnapshotKind.CATALOG, name=name, items=items)


def lock_snapshot(lock: Lock, name: str) -> Snapshot:
    """Return what ``lock`` states, called ``name``."""
    items: dict[ItemKey, Item] = {}
    for arch, shims in lock.shims.items():
        for shim in shims:
            items[ItemKey(subject=Subject.SHIM, name=shim, arch=arch)] = Item(facts={})
    for arch, components in lock.components.items():
        for component, locked in components.items():
            facts: dict[str, Any] = {"kind": locked.kind, "pins": list(locked.pins), "rule_key": locked.rule_key}
            items[ItemKey(subject=Subject.COMPONENT, name=component, arch=arch)] = Item(facts=facts)
    return Snapshot(kind=SnapshotKind.LOCK, name=name, items=items)


def _without(value: Any, key: str) -> dict[str, Any]:
    facts: dict[str, Any] = value.to_dict()
    del facts[key]
    return facts
