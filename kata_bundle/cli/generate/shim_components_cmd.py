"""``kata-bundle generate shim-components``."""

from __future__ import annotations

from pathlib import Path

import click

from kata_bundle.cli.app import App, pass_app
from kata_bundle.cli.generate.output import deliver, output_options

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle generate shim-components
  kata-bundle generate shim-components -o kata-containers/tools/packaging/kata-deploy/shim-components.json
  kata-bundle generate shim-components --check"""
)
@output_options
@pass_app
def command(app: App, output: str | None, check: bool) -> None:
    """Write shim-components.json in upstream's form.

    A file that is there already keeps its layout and everything else it says; only shims whose rows differ are written anew.
    """
    from kata_bundle.core.componentmap import FILE_NAME
    from kata_bundle.core.resources import shipped
    from kata_bundle.generate.artefacts import ARTEFACTS

    artefact = ARTEFACTS["shim-components"]
    catalog = app.catalog()
    deliver(
        app,
        lambda existing: artefact.render(catalog, existing),
        output=output,
        home=artefact.home,
        check=check,
        printed=(Path(app.manifests) if app.manifests else shipped("manifests")) / FILE_NAME,
    )
