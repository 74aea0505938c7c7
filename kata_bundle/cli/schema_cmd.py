"""``kata-bundle schema``: the JSON Schemas of the manifests."""

from __future__ import annotations

from pathlib import Path

import click

from kata_bundle.cli.app import App, PathName, json_option, pass_app, quiet_option

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle schema
  kata-bundle schema shims > shims.schema.json
  kata-bundle schema --write
  kata-bundle schema --check"""
)
@click.argument("name", required=False)
@click.option("--write", is_flag=True, help="Write every schema that differs into the folder.")
@click.option("--check", is_flag=True, help="Fail with 3 when a file of the folder is not what the models give.")
@click.option("--folder", metavar="DIR", type=PathName(file_okay=False), help="Folder of the files [default: the shipped one].")
@json_option
@quiet_option
@pass_app
def command(app: App, name: str | None, write: bool, check: bool, folder: str | None) -> None:
    """Print the JSON Schema of the document NAME, or list the names; write or check all of them."""
    from kata_bundle.cli.render import plural
    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import FindingsError, UsageError
    from kata_bundle.core.resources import shipped
    from kata_bundle.manifest import schema

    if (name is not None) + write + check > 1:
        message = "NAME, --write and --check exclude each other"
        raise UsageError(message)
    if name is not None:
        if name not in schema.SCHEMAS:
            message = f'no document has a schema "{name}"'
            raise UsageError(message, hint=did_you_mean(name, schema.SCHEMAS) or f"known: {', '.join(schema.SCHEMAS)}")
        click.echo(schema.render_schema(name), nl=False)
        return
    target = Path(folder) if folder else shipped("schemas")
    if write:
        written = schema.write_schemas(target)
        app.emit({"written": list(written)}, lambda: "\n".join(str(target / file) for file in written))
        app.say(f"{plural(len(written), 'schema')} written" if written else "all schemas are current")
        return
    if check:
        wrong = schema.drift(target)
        if wrong:
            message = f"schemas that are not what the models give: {', '.join(str(target / file) for file in wrong)}"
            raise FindingsError(message, hint="kata-bundle schema --write")
        app.say("all schemas are current")
        return
    names = list(schema.SCHEMAS)
    app.emit(names, lambda: "\n".join(names))
