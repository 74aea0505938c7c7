"""Which keys containerd reads for a handler, by schema of its configuration (installer specification §15.3, §15.6, §15.7).

Facts about containerd's own format: schema 2 has one CRI plugin, 3 and 4 have one for running and one for images. Must not
know files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.node.refusal import Refusal, RefusedError

if TYPE_CHECKING:
    from kata_bundle.node.cri.model import RuntimeHandler
    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = [
    "DEBUG_LEVEL",
    "IMAGES_PLUGIN",
    "LEGACY_PLUGIN",
    "RUNTIME_PLUGIN",
    "annotations_table",
    "handler_path",
    "root_version",
    "runtime_plugin",
    "runtime_tables",
]

RUNTIME_PLUGIN = "io.containerd.cri.v1.runtime"
IMAGES_PLUGIN = "io.containerd.cri.v1.images"
LEGACY_PLUGIN = "io.containerd.grpc.v1.cri"
_FIRST_SCHEMA_PLUGIN = "cri"

DEBUG_LEVEL: KeyPath = ("debug", "level")
"""In every schema, 4 included; only pre-releases had it elsewhere."""

_LEADING_DIGITS = re.compile(r"\d+")


def root_version(text: str) -> int | None:
    """Return the schema version that the root table of a configuration states, ``None`` when it states none.

    Works on templates too, so it reads lines: up to the first table, ``version = <digits>``; malformed lines are passed over.
    """
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        if line.startswith("["):
            return None
        key, equals, value = line.partition("=")
        if equals and key.strip() == "version" and (digits := _LEADING_DIGITS.match(value.strip())):
            return int(digits.group())
    return None


def runtime_plugin(schema: int | None) -> str:
    """Return the id of the plugin that holds the runtime tables in a configuration of ``schema``."""
    if schema is not None and schema >= 3:
        return RUNTIME_PLUGIN
    return LEGACY_PLUGIN if schema == 2 else _FIRST_SCHEMA_PLUGIN


def annotations_table(plugin: str, config_file: str) -> KeyPath:
    """Return the table that holds ``disable_snapshot_annotations`` beside the runtime tables of ``plugin``.

    Raises :class:`RefusedError` for schema 1, which knows no such key.
    """
    if plugin == RUNTIME_PLUGIN:
        return ("plugins", IMAGES_PLUGIN)
    if plugin == LEGACY_PLUGIN:
        return ("plugins", LEGACY_PLUGIN, "containerd")
    msg = f"{config_file} states no schema version that supports a remote snapshotter: version 2, 3 or 4 is needed"
    raise RefusedError(
        Refusal.UNSUPPORTED_SCHEMA, msg, hint=f"bring {config_file} to version 2 or newer (containerd config migrate)"
    )


def handler_path(plugin: str, handler: str) -> KeyPath:
    """Return the table of ``handler`` below ``plugin``."""
    return ("plugins", plugin, "containerd", "runtimes", handler)


def runtime_tables(plugin: str, handler: RuntimeHandler, snapshotter: str | None) -> dict[KeyPath, TomlValue]:
    """Return every key of one handler; ``snapshotter`` is the name that containerd knows it by.

    From schema 3 on the images plugin has to know it too, or images are unpacked for the wrong one.
    """
    table = handler_path(plugin, handler.name)
    keys: dict[KeyPath, TomlValue] = {
        (*table, "runtime_type"): f"io.containerd.{handler.name}.v2",
        (*table, "runtime_path"): handler.runtime_path,
        (*table, "privileged_without_host_devices"): True,
        (*table, "pod_annotations"): ["io.katacontainers.*"],
        # Lets the runtime see where a container wants its termination message (installer specification §31.1).
        (*table, "container_annotations"): ["io.kubernetes.container.terminationMessage*"],
    }
    if snapshotter is not None:
        keys[*table, "snapshotter"] = snapshotter
    keys[*table, "options", "ConfigPath"] = handler.config_path
    if snapshotter is not None and plugin == RUNTIME_PLUGIN:
        keys["plugins", IMAGES_PLUGIN, "runtime_platforms", handler.name, "snapshotter"] = snapshotter
    return keys
