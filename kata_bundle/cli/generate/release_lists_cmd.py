"""``kata-bundle generate release-lists``."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, pass_app
from kata_bundle.cli.generate.output import deliver, output_options

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle generate release-lists
  kata-bundle generate release-lists --bundle kata-static --arch s390x"""
)
@click.option("--bundle", metavar="NAME", help="Only this bundle on one architecture, one tarball a line.")
@click.option("--arch", metavar="ARCH", help="With --bundle: the architecture.")
@output_options
@pass_app
def command(app: App, bundle: str | None, arch: str | None, output: str | None, check: bool) -> None:
    """Write which components each release bundle holds, per architecture: all as JSON, or one list for a script."""
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.errors import UsageError
    from kata_bundle.generate.releaselists import render_release_lists, render_tarball_names

    catalog = app.catalog()
    if (bundle is None) != (arch is None):
        message = "--bundle and --arch belong together"
        raise UsageError(message)
    if bundle is None or arch is None:
        deliver(app, lambda _existing: {"": render_release_lists(catalog)}, output=output, check=check)
        return
    text = render_tarball_names(catalog, bundle, Arch.parse(arch))
    deliver(app, lambda _existing: {"": text}, output=output, check=check)
