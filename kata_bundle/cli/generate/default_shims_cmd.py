"""``kata-bundle generate default-shims``."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, pass_app
from kata_bundle.cli.generate.output import deliver, output_options

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle generate default-shims
  kata-bundle generate default-shims --format variables -o kata.env"""
)
@click.option(
    "--format", "form", type=click.Choice(["json", "variables"]), default="json", show_default=True,
    help="Data, or the variables that an installer reads.",
)  # fmt: skip
@output_options
@pass_app
def command(app: App, form: str, output: str | None, check: bool) -> None:
    """Write, per architecture, the shims that are installed when nobody chooses, and the default shim."""
    from kata_bundle.generate.defaultshims import render_default_shims, render_default_variables

    catalog = app.catalog()
    render = render_default_variables if form == "variables" else render_default_shims
    deliver(app, lambda _existing: {"": render(catalog)}, output=output, check=check)
