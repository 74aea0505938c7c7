"""``kata-bundle generate chart``."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, pass_app
from kata_bundle.cli.generate.output import deliver, output_options

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle generate chart -o charts/kata-bundle
  kata-bundle generate chart --manifests manifests --kata-version 4.2.0 -o chart
  kata-bundle generate chart --check"""
)
@click.option("--kata-version", metavar="VERSION", help="Release of Kata that RuntimeClasses name [default: the catalog's].")
@output_options
@pass_app
def command(app: App, kata_version: str | None, output: str | None, check: bool) -> None:
    """Write the Helm chart: values, their schema, and templates for the modes daemonset and job."""
    from kata_bundle.generate.artefacts import ARTEFACTS
    from kata_bundle.generate.chart import render_chart

    artefact = ARTEFACTS["chart"]
    catalog = app.catalog()
    deliver(
        app,
        lambda _existing: render_chart(catalog, kata_version=kata_version),
        output=output,
        home=artefact.home,
        is_folder=True,
        check=check,
    )
