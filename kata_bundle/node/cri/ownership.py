"""What in a containerd configuration is an install's own when no receipt says so.

A handler belongs to the install in whose directory its shim or its Kata configuration is. Settings of the whole node (log
level, snapshot annotations, the stated built-in runtime) are taken for an install's only beside the original they changed: the
backup of a whole-file edit. Must not change anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.node.cri.imports import imports_of
from kata_bundle.node.cri.tables import DEBUG_LEVEL, IMAGES_PLUGIN, LEGACY_PLUGIN, RUNTIME_PLUGIN, handler_path
from kata_bundle.node.snapshotters import instance_name
from kata_bundle.node.tomledit import element_key, emptied_key, replaced_key
from kata_bundle.node.tomltext import format_path, same_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = ["BUILT_IN_RUNTIME", "find", "has_foreign_handlers", "own_handlers", "own_keys"]

BUILT_IN_RUNTIME: Mapping[str, str] = {"runtime_type": "io.containerd.runc.v2"}
"""What containerd 1.x has as ``runc`` when its configuration states no runtime."""

_NODE_WIDE: tuple[tuple[KeyPath, TomlValue], ...] = (
    (DEBUG_LEVEL, "debug"),
    (("plugins", LEGACY_PLUGIN, "containerd", "disable_snapshot_annotations"), False),
)


def find(data: Mapping[str, Any], path: KeyPath) -> tuple[bool, Any]:
    """Return whether ``data`` has something at ``path``, and what."""
    value: Any = data
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return False, None
        value = value[part]
    return True, value


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


def own_keys(
    data: Mapping[str, Any], dest: str, suffix: str | None, *, original: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """Return the owned keys of the install in ``dest``: its handlers, its snapshotter instance, imports of files below ``dest``.

    With the ``original``, what was there before the install, also the settings of the whole node.
    """
    keys: list[str] = []
    for plugin, name in own_handlers(data, dest):
        keys.append(format_path(("plugins", plugin, "containerd", "runtimes", name)))
        if name in _table(data, "plugins", IMAGES_PLUGIN, "runtime_platforms"):
            keys.append(format_path(("plugins", IMAGES_PLUGIN, "runtime_platforms", name)))
    proxy = instance_name(suffix)
    if proxy in _table(data, "proxy_plugins"):
        keys.append(format_path(("proxy_plugins", proxy)))
    keys += [element_key(("imports",), path) for path in imports_of(dict(data)) if _is_below(path, f"{dest}/containerd")]
    return tuple(keys if original is None or not keys else [*keys, *_node_wide_keys(data, original)])


def _node_wide_keys(data: Mapping[str, Any], original: Mapping[str, Any]) -> list[str]:
    keys: list[str] = []
    for path, value in _NODE_WIDE:
        present, now = find(data, path)
        was_present, was = find(original, path)
        if not present or not same_value(now, value) or (was_present and same_value(was, value)):
            continue
        if was_present:
            keys.append(replaced_key(path, new=value, old=was))
        else:
            keys.append(format_path(path))
            keys += [] if find(original, path[:-1])[0] else [emptied_key(path[:-1])]
    for plugin in ("cri", LEGACY_PLUGIN):
        path = handler_path(plugin, "runc")
        if find(data, path) == (True, dict(BUILT_IN_RUNTIME)) and not find(original, path[:-1])[1]:
            keys.append(format_path(path))
    return keys
