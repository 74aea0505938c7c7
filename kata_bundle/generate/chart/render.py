"""Every file of the chart, from the catalog.

Templates are kept as they are shipped; what the catalog decides reaches them as values and as one helper, ``kata.catalog``: per
shim the overhead, and what node feature discovery adds. Format: Helm chart API v2. Must not know: what the templates make of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle import __version__
from kata_bundle.core import canonical
from kata_bundle.core.errors import UsageError
from kata_bundle.generate.chart.schema import full_schema
from kata_bundle.generate.chart.values import render_values
from kata_bundle.generate.yamltext import render_yaml

if TYPE_CHECKING:
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.manifest.catalog import Catalog, RuntimeClass

__all__ = ["CHART_NAME", "render_chart"]

CHART_NAME: Final = "kata-bundle"
_TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
_NOTE: Final = "Written by kata-bundle generate chart: change the manifests or the generator, not this file."


def render_chart(catalog: Catalog, *, kata_version: str | None = None) -> dict[str, str]:
    """Return the chart's files, path within the chart → text.

    ``kata_version`` is the release that RuntimeClasses name in an annotation, by default the catalog's. Raises
    :class:`UsageError` when neither says.
    """
    version = kata_version or catalog.release.version
    if version is None:
        msg = "the manifests do not say which release of Kata they are of"
        raise UsageError(msg, hint="give --kata-version, or state version under [release] in components.toml")
    files = {
        "Chart.yaml": render_yaml(
            {
                "apiVersion": "v2",
                "name": CHART_NAME,
                "description": "Installs Kata Containers on the nodes of a cluster",
                "type": "application",
                "version": __version__,
                "appVersion": version,
                "kubeVersion": ">=1.20.0-0",
            },
            comment=[_NOTE],
        ),
        "values.yaml": render_values(catalog, note=_NOTE),
        "values.schema.json": canonical.dumps_pretty(full_schema(catalog)),
        "templates/_catalog.tpl": _catalog_helper(catalog),
    }
    files.update({f"templates/{path.name}": path.read_text("utf-8") for path in sorted(_TEMPLATES.iterdir()) if path.is_file()})
    return dict(sorted(files.items()))


def _catalog_helper(catalog: Catalog) -> str:
    facts = {
        shim.name: _facts(catalog.runtime_classes[shim.name])
        for shim in catalog.active_shims()
        if shim.name in catalog.runtime_classes
    }
    return f'{{{{- /* {_NOTE} */ -}}}}\n{{{{- define "kata.catalog" -}}}}\n{canonical.dumps_pretty(facts)}{{{{- end -}}}}\n'


def _facts(found: RuntimeClass) -> dict[str, JsonValue]:
    return {
        "memory": found.memory,
        "cpu": found.cpu,
        "discoverySelector": dict(found.node_selector_with_discovery),
        "discoveryResources": dict(found.resources_with_discovery),
    }
