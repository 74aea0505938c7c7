"""``kata-bundle node config``: the effective configuration and the origin of each value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option

if TYPE_CHECKING:
    from kata_bundle.node.config import Effective

__all__ = ["command", "effective_config"]

_VALUE_WIDTH = 90


@click.command(
    epilog="""\b
Examples:
  kata-bundle node config
  kata-bundle node config --spec node.toml --arch s390x
  kata-bundle node config --json
  kata-bundle node config --schema > node-spec.schema.json"""
)
@click.option("--spec", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Read this TOML or JSON file instead.")
@click.option("--arch", metavar="ARCH", help="Architecture of the node [default: this machine's].")
@click.option(
    "--root",
    metavar="DIR",
    default="/",
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="Directory that stands for the container's root, where custom runtimes and drop-ins are mounted.",
)
@click.option("--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of the file instead.")
@json_option
@quiet_option
@pass_app
def command(app: App, spec: str | None, arch: str | None, root: str, wants_schema: bool) -> None:
    """Print the effective configuration of a node and where each value comes from.

    Read from the environment variables that the Helm chart sets, or from a file with the same fields; credentials in proxies
    are not shown. Everything that is wrong is reported at once.
    """
    if wants_schema:
        from kata_bundle.node.config.specfile import render_schema

        click.echo(render_schema(), nl=False)
        return
    from kata_bundle.node.config.show import config_document

    effective = effective_config(spec, arch, root)
    for warning in effective.warnings:
        app.say(f"warning: {warning}")
    app.emit(config_document(effective), lambda: _table(effective))


def effective_config(spec: str | None, arch: str | None, root: str) -> Effective:
    """Return the configuration of file ``spec``, else of the environment. Raises ``ConfigError`` with all that is wrong."""
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.node.config import from_environment, from_file
    from kata_bundle.node.hostedit import HostDirectory

    # A machine without components is no error here: it has settings and defaults too.
    machine = Arch.parse(arch).value if arch else os.uname().machine
    machine = Arch.PPC64LE.value if machine == "powerpc64" else machine
    if spec is not None:
        return from_file(Path(spec).read_bytes(), spec, machine)
    return from_environment(os.environ, machine, HostDirectory(root))


def _table(effective: Effective) -> str:
    """Return a table with the value last, since lists of shims and handlers take several lines."""
    import textwrap

    from kata_bundle.cli.render import table_text
    from kata_bundle.node.config.show import config_rows

    lines: list[tuple[str, str, str]] = []
    for row in config_rows(effective):
        first, *rest = textwrap.wrap(row.text, _VALUE_WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append((row.name, str(row.origin), first))
        lines += [("", "", more) for more in rest]
    return table_text(("setting", "origin", "value"), lines)
