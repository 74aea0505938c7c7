"""The part of a chart's values that the catalog decides: shims, default shims, RuntimeClasses.

Names and meaning are those of installer specification §2.5; architectures are in Go's spelling there. Must not know: templates,
and the parts of a chart's values that are about the installer itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kata_bundle.generate.yamltext import render_yaml
from kata_bundle.manifest.catalog import ChartEnabled

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog, Shim

__all__ = ["OWNERSHIP_LABEL", "chart_values", "render_chart_values"]

OWNERSHIP_LABEL: Final = "katacontainers.io/kata-runtime"
"""The node label that every class selects; the templates add it, so values may not restate it."""

_ENABLED: Final = {ChartEnabled.FOLLOW_DISABLE_ALL: None, ChartEnabled.ALWAYS: True, ChartEnabled.NEVER: False}

_COMMENT: Final = (
    "Written by kata-bundle from the catalog: change the manifests, not this file.",
    "",
    "shims.<shim>.enabled: true, false, or null to follow shims.disableAll (enabled while that is false).",
    "supportedArches and defaultShim use the names amd64, arm64, s390x and ppc64le.",
)


def chart_values(catalog: Catalog) -> dict[str, Any]:
    """Return the values; shims in the catalog's order, complete ones only."""
    return {
        "shims": {"disableAll": False, **{shim.name: _shim(catalog, shim) for shim in catalog.active_shims()}},
        "defaultShim": {arch.go_name: entry.default_shim for arch, entry in catalog.arches.items()},
        "runtimeClasses": {
            "enabled": True,
            "createDefault": catalog.default_class.created_by_default,
            "defaultName": catalog.default_class.name,
            "overheadEnabled": True,
        },
    }


def render_chart_values(catalog: Catalog) -> str:
    """Return the values as YAML."""
    return render_yaml(chart_values(catalog), comment=_COMMENT)


def _shim(catalog: Catalog, shim: Shim) -> dict[str, Any]:
    values: dict[str, Any] = {
        "enabled": _ENABLED[shim.chart_enabled or ChartEnabled.FOLLOW_DISABLE_ALL],
        "supportedArches": [arch.go_name for arch in shim.chart_arches],
        "allowedHypervisorAnnotations": list(shim.allowed_hypervisor_annotations),
        "containerd": {"snapshotter": shim.snapshotter or ""},
    }
    if shim.force_guest_pull is not None:
        values["containerd"]["forceGuestPull"] = shim.force_guest_pull
    if shim.crio_guest_pull is not None:
        # An image pulled inside the guest goes through the guest's own proxies.
        values["crio"] = {"guestPull": shim.crio_guest_pull}
        values["agent"] = {"httpsProxy": "", "noProxy": ""}
    found = catalog.runtime_classes.get(shim.name)
    own = {key: value for key, value in found.node_selector.items() if key != OWNERSHIP_LABEL} if found else {}
    if own:
        values["runtimeClass"] = {"nodeSelector": own}
    return values
