"""``kata-bundle generate``: documents that follow from the catalog."""

from __future__ import annotations

import click

from kata_bundle.cli.lazy import LazyCommand, LazyGroup

__all__ = ["command"]

TABLE = {
    "runtimeclasses": LazyCommand("kata_bundle.cli.generate.runtimeclasses_cmd", "RuntimeClass objects for a cluster."),
    "default-shims": LazyCommand("kata_bundle.cli.generate.default_shims_cmd", "What each architecture installs by default."),
    "release-lists": LazyCommand("kata_bundle.cli.generate.release_lists_cmd", "Which components each release bundle holds."),
    "shim-components": LazyCommand("kata_bundle.cli.generate.shim_components_cmd", "shim-components.json in upstream's form."),
    "chart-values": LazyCommand("kata_bundle.cli.generate.chart_values_cmd", "The shim sections of a chart's values."),
    "chart-schema": LazyCommand("kata_bundle.cli.generate.chart_schema_cmd", "values.schema.json of those sections."),
    "chart": LazyCommand("kata_bundle.cli.generate.chart_cmd", "The Helm chart that installs on a cluster."),
    "image": LazyCommand("kata_bundle.cli.generate.image_cmd", "The installer's image, as an OCI layout."),
    "node-facts": LazyCommand("kata_bundle.cli.generate.node_facts_cmd", "What an installer knows about shims."),
    "shim-docs": LazyCommand("kata_bundle.cli.generate.shim_docs_cmd", "A documentation page per shim."),
    "all": LazyCommand("kata_bundle.cli.generate.all_cmd", "Every generated file that a checkout keeps."),
}


@click.command(cls=LazyGroup, table=TABLE)
def command() -> None:
    """Write documents that follow from the catalog, or check that files still do.

    Without -o a single document is printed. With --check nothing is written: exit 12 when a file is not what the catalog gives.
    """
