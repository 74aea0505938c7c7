"""``kata-bundle schema``: the JSON Schemas of the documents that people and programs write or read."""

from __future__ import annotations

from pathlib import Path

import click

from kata_bundle.cli.app import App, PathName, dry_run_option, json_option, pass_app, quiet_option

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
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, name: str | None, write: bool, check: bool, folder: str | None) -> None:
    """Print the JSON Schema of the document NAME, or list the names; write or check all of them."""
    from kata_bundle.cli import schemas
    from kata_bundle.cli.render import plural
    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import FindingsError, UsageError
    from kata_bundle.core.resources import shipped
    from kata_bundle.manifest.schema import drift, write_schemas

    if (name is not None) + write + check > 1:
        message = "NAME, --write and --check exclude each other"
        raise UsageError(message)
    if name is not None:
        if name not in schemas.NAMES:
            message = f'no document has a schema "{name}"'
            raise UsageError(message, hint=did_you_mean(name, schemas.NAMES) or f"known: {', '.join(schemas.NAMES)}")
        click.echo(schemas.render(name), nl=False)
        return
    target = Path(folder) if folder else shipped("schemas")
    if write:
        files = schemas.schema_files()
        written = [f for f in drift(target, files) if f in files] if app.dry_run else write_schemas(target, files)
        app.emit({"written": list(written)}, lambda: "\n".join(str(target / file) for file in written))
        said = "would be written" if app.dry_run else "written"
        app.say(f"{plural(len(written), 'schema')} {said}" if written else "all schemas are current")
        return
    if check:
        wrong = drift(target, schemas.schema_files())
        if wrong:
            message = f"schemas that are not what the models give: {', '.join(str(target / file) for file in wrong)}"
            raise FindingsError(message, hint="kata-bundle schema --write")
        app.say("all schemas are current")
        return
    app.emit(list(schemas.NAMES), lambda: "\n".join(schemas.NAMES))
