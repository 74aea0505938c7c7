"""``kata-bundle generate all``: every generated file that a checkout keeps."""

from __future__ import annotations

from pathlib import Path

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, manifests_option, pass_app, quiet_option

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle generate all --check
  kata-bundle generate all --manifests manifests"""
)
@click.option(
    "--root", metavar="DIR", type=click.Path(exists=True, file_okay=False), default=".", help="The checkout [default: .]."
)
@click.option("--check", is_flag=True, help="Write nothing; exit 12 when a file is not what the catalog gives.")
@manifests_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, root: str, check: bool) -> None:
    """Write or check every generated file that a checkout keeps: component map, node facts, documentation pages."""
    from kata_bundle.cli.generate.output import report_states, settle
    from kata_bundle.generate.artefacts import ARTEFACTS

    catalog = app.catalog()
    write = not check and not app.dry_run
    states = [
        state
        for artefact in ARTEFACTS.values()
        if artefact.home is not None
        for state in settle(
            Path(root) / artefact.home,
            lambda existing, artefact=artefact: artefact.render(catalog, existing),  # type: ignore[misc]
            is_folder=artefact.is_folder,
            mark=artefact.mark,
            write=write,
        )
    ]
    report_states(app, tuple(states), check=check)
