"""``values.schema.json`` for the part of a chart's values that the catalog decides.

JSON Schema draft 7, which every Helm since 3.0 checks values against before it renders anything. A misspelt shim, an architecture
that a shim was never made for, a default shim that does not exist: all are refused there. Other sections of the values are left
alone. Must not know: templates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.canonical import dumps_pretty
from kata_bundle.generate.chartvalues import OWNERSHIP_LABEL

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog, Shim

__all__ = ["chart_schema", "render_chart_schema"]

_QUANTITY: Final = "^[0-9]+(\\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
"""A Kubernetes quantity that is not negative."""


def chart_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema of the values that :func:`chart_values` gives and of everything an operator may lay over them."""
    shims = catalog.active_shims()
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Kata Containers installer: shims, default shims, RuntimeClasses",
        "type": "object",
        "properties": {
            "shims": {
                "description": "What is installed, by shim.",
                "type": "object",
                "properties": {
                    "disableAll": {"description": "Disable every shim whose enabled is null.", "type": "boolean"},
                    **{shim.name: _shim_reference(shim) for shim in shims},
                },
                "additionalProperties": False,
            },
            "defaultShim": {
                "description": "The shim behind the default RuntimeClass, by architecture; empty for none.",
                "type": "object",
                "properties": {arch.go_name: {"enum": ["", *_offered(shims, arch)]} for arch in catalog.arches},
                "additionalProperties": False,
            },
            "runtimeClasses": {
                "type": "object",
                "properties": {
                    "enabled": {"description": "Make RuntimeClasses at all.", "type": "boolean"},
                    "createDefault": {
                        "description": "Make one more, for the default shim; never with an install suffix.",
                        "type": "boolean",
                    },
                    "defaultName": {
                        "description": "Name of the class for the default shim.",
                        "type": "string",
                        "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
                        "maxLength": 253,
                    },
                    "overheadEnabled": {"description": "State overheads, unless a shim says otherwise.", "type": "boolean"},
                },
                "additionalProperties": False,
            },
        },
        "definitions": {"shim": _shim_definition(catalog), "quantity": {"type": ["string", "number"], "pattern": _QUANTITY}},
    }


def render_chart_schema(catalog: Catalog) -> str:
    """Return the schema as JSON."""
    return dumps_pretty(chart_schema(catalog))


def _offered(shims: tuple[Shim, ...], arch: Arch) -> list[str]:
    return sorted(shim.name for shim in shims if arch in {*shim.arches, *shim.chart_arches})


def _shim_reference(shim: Shim) -> dict[str, Any]:
    arches = sorted(arch.go_name for arch in {*shim.arches, *shim.chart_arches})
    return {"allOf": [{"$ref": "#/definitions/shim"}, {"properties": {"supportedArches": {"items": {"enum": arches}}}}]}


def _shim_definition(catalog: Catalog) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "enabled": {"description": "true, false, or null to follow disableAll.", "type": ["boolean", "null"]},
            "supportedArches": {
                "description": "Where the shim is installed.",
                "type": "array",
                "items": {"enum": sorted(arch.go_name for arch in catalog.arches)},
                "uniqueItems": True,
            },
            "allowedHypervisorAnnotations": {
                "description": "Annotations that pods may set, without the prefix that all of them share.",
                "type": "array",
                "items": {"type": "string", "pattern": "^[A-Za-z0-9_.-]+$"},
            },
            "dropIn": {"description": "TOML laid over the shim's configuration.", "type": "string"},
            "containerd": _section(
                snapshotter={"description": "Snapshotter of the handler; empty for containerd's own.", "type": "string"},
                forceGuestPull={"description": "Pull images inside the guest, without a snapshotter's help.", "type": "boolean"},
            ),
            "crio": _section(guestPull={"description": "Pull images inside the guest.", "type": "boolean"}),
            "agent": _section(
                httpsProxy={"description": "Proxy that the guest uses for pulling.", "type": "string"},
                noProxy={"description": "Hosts that the guest reaches without it.", "type": "string"},
            ),
            "runtimeClass": _section(
                nodeSelector={
                    "description": "Labels that a node needs beside the installer's own.",
                    "type": ["object", "null"],
                    "additionalProperties": {"type": "string"},
                    "propertyNames": {"not": {"enum": [OWNERSHIP_LABEL]}},
                },
                overheadEnabled={"description": "State this shim's overhead.", "type": "boolean"},
                overhead=_section(memory={"$ref": "#/definitions/quantity"}, cpu={"$ref": "#/definitions/quantity"}),
            ),
        },
        "additionalProperties": False,
    }


def _section(**properties: Any) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
