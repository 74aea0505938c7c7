"""What in a containerd configuration is an install's own when no receipt says so.

A handler belongs to the install in whose directory its shim or its Kata configuration is. Must not change anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.node.cri.imports import imports_of
from kata_bundle.node.cri.tables import IMAGES_PLUGIN, LEGACY_PLUGIN, RUNTIME_PLUGIN
from kata_bundle.node.snapshotters import instance_name
from kata_bundle.node.tomledit import element_key
from kata_bundle.node.tomltext import format_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["has_foreign_handlers", "own_handlers", "own_keys"]


def _table(data: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    value: Any = data
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _handlers(data: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for plugin in ("cri", LEGACY_PLUGIN, RUNTIME_PLUGIN):
        for name in _table(data, "plugins", plugin, "containerd", "runtimes"):
            yield plugin, name, _table(data, "plugins", plugin, "containerd", "runtimes", name)


def _is_below(path: object, dest: str) -> bool:
    return isinstance(path, str) and path.startswith(f"{dest}/")


def own_handlers(data: Mapping[str, Any], dest: str) -> tuple[tuple[str, str], ...]:
    """Return plugin and name of every handler whose shim or configuration lies below ``dest``."""
    return tuple(
        (plugin, name)
        for plugin, name, table in _handlers(data)
        if _is_below(table.get("runtime_path"), dest) or _is_below(_table(table, "options").get("ConfigPath"), dest)
    )


def has_foreign_handlers(data: Mapping[str, Any], dest: str) -> bool:
    """Return whether there is a handler that does not belong to the install in ``dest``."""
    own = set(own_handlers(data, dest))
    return any((plugin, name) not in own for plugin, name, _ in _handlers(data))


def own_keys(data: Mapping[str, Any], dest: str, suffix: str | None) -> tuple[str, ...]:
    """Return the owned keys of the install in ``dest``: its handlers, its snapshotter instance, imports of files below ``dest``.

    Node-wide settings (debug level, snapshot annotations) are left out: nothing says whose they are.
    """
    keys = []
    for plugin, name in own_handlers(data, dest):
        keys.append(format_path(("plugins", plugin, "containerd", "runtimes", name)))
        if name in _table(data, "plugins", IMAGES_PLUGIN, "runtime_platforms"):
            keys.append(format_path(("plugins", IMAGES_PLUGIN, "runtime_platforms", name)))
    proxy = instance_name(suffix)
    if proxy in _table(data, "proxy_plugins"):
        keys.append(format_path(("proxy_plugins", proxy)))
    keys += [element_key(("imports",), path) for path in imports_of(dict(data)) if _is_below(path, f"{dest}/containerd")]
    return tuple(keys)
