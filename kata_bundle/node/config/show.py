"""The effective configuration for people and programs: every member with its value and origin, secrets redacted (D16).

Must not know how rows are printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.record import field_names, record
from kata_bundle.node.config.model import CustomRuntime, NodeConfig, ProxySetting, ShimMapping, UserDropIn
from kata_bundle.node.config.settings import Origin, OriginKind
from kata_bundle.node.handlers import handler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.config.resolve import Effective

__all__ = ["Row", "config_document", "config_rows"]

_NAMES: Final = {
    "annotation_rules": "allowed_hypervisor_annotations",
    "snapshotters": "snapshotter_handler_mapping",
    "pull_types": "pull_type_mapping",
    "forced_guest_pull": "experimental_force_guest_pull",
    "https_proxy": "agent_https_proxy",
    "no_proxy": "agent_no_proxy",
    "suffix": "multi_install_suffix",
    "snapshotter_setup": "experimental_setup_snapshotter",
    "erofs_size": "erofs_snapshotter_mode",
    "containerd_config_name": "containerd_config_file_name",
    "runtime_version": "container_runtime_version",
    "distribution": "k8s_distribution",
    "machine_id": "node_machine_id",
    "post_delete_hook": "helm_post_delete_hook",
}
"""Members that settings files and variables call otherwise."""


@record
class Row:
    """One member: its name in settings files, its value as JSON data without secrets, and where it came from."""

    name: str
    value: JsonValue
    origin: Origin

    @property
    def text(self) -> str:
        """The value on one line, for a table."""
        return _text(self.value)


def config_rows(effective: Effective) -> tuple[Row, ...]:
    """Return every member in the order of the model, then what follows from them."""
    config = effective.config
    derived = Origin(kind=OriginKind.DERIVED, name="machine")
    rows = [
        Row(
            name=_NAMES.get(name, name),
            value=_plain(getattr(config, name)),
            origin=effective.origins.get(name, derived),
        )
        for name in field_names(NodeConfig)
    ]
    paths: Mapping[str, str] = {
        "dest": "prefix and suffix",
        "containerd_config": "containerd_config_file_name",
        "containerd_drop_in": "dest",
        "crio_runtime_file": "suffix",
        "crio_debug_file": "suffix",
    }
    rows += [
        Row(name=name, value=str(getattr(config, name)), origin=Origin(kind=OriginKind.DERIVED, name=f"from {source}"))
        for name, source in paths.items()
    ]
    handlers = [handler(shim, config.suffix) for shim in config.shims] + [custom.handler for custom in config.custom_runtimes]
    origin = Origin(kind=OriginKind.DERIVED, name="from shims and custom_runtimes")
    return (*rows, Row(name="handlers", value=list(handlers), origin=origin))


def config_document(effective: Effective) -> dict[str, JsonValue]:
    """Return the JSON form: member → value and origin, and the warnings."""
    return {
        "config": {
            row.name: {"value": row.value, "origin": {"kind": row.origin.kind.value, "name": row.origin.name}}
            for row in config_rows(effective)
        },
        "warnings": list(effective.warnings),
    }


def _plain(value: object) -> JsonValue:  # noqa: PLR0911 - one line per type
    """Return a member as JSON data. Contents of files are given by their length: they are long, and may hold secrets."""
    match value:
        case ProxySetting():
            return value.shown
        case ShimMapping():
            return [":".join(entry) for entry in value.entries]
        case UserDropIn():
            return {"source": value.source, "size_bytes": None if value.data is None else len(value.data)}
        case CustomRuntime():
            return {
                "handler": value.handler,
                "base_config": value.base,
                "containerd_snapshotter": value.snapshotter,
                "crio_pull_type": value.pull_type,
                "drop_in_size_bytes": None if value.drop_in is None else len(value.drop_in),
                "debug_variant": value.is_debug,
                "devkit": value.is_devkit,
            }
        case tuple():
            return [getattr(item, "text", None) or _plain(item) for item in value]
        case dict():
            return {
                str(key): {"size_bytes": len(item)} if isinstance(item, bytes) else _plain(item) for key, item in value.items()
            }
        case None | bool() | int():
            return value
        case _:
            return str(value)


def _text(value: JsonValue) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return " ".join(_text(item) for item in value) or "-"
        case dict():
            if "handler" in value:
                return f"{value['handler']} (on {value['base_config']})"
            return " ".join(f"{key}={_text(item)}" for key, item in value.items()) or "-"
        case _:
            return str(value)
