"""``kata-bundle push``: a bundle into a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, PathName, dry_run_option, jobs_option, json_option, pass_app, quiet_option
from kata_bundle.cli.registry_options import open_client, parse_remote, registry_jobs, registry_options

if TYPE_CHECKING:
    from kata_bundle.oci.registry import RegistrySettings

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle push out registry.example/kata:v1
  kata-bundle push out registry.example/kata:v1 --tag latest
  kata-bundle push out registry.example/team/kata:v1 --mount-from kata
  kata-bundle push out localhost:5000/kata:v1 --dry-run"""
)
@click.argument("bundle", metavar="BUNDLE", type=PathName(exists=True, file_okay=False))
@click.argument("reference", metavar="REF")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Give it this tag too.")
@click.option(
    "--mount-from", metavar="REPOSITORY", multiple=True,
    help="Let the registry take blobs over from this repository of its own.",
)  # fmt: skip
@click.option("--referrers", is_flag=True, help="Push what is attached to it too.")
@registry_options
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    bundle: str,
    reference: str,
    tags: tuple[str, ...],
    mount_from: tuple[str, ...],
    referrers: bool,
    registry: RegistrySettings,
) -> None:
    """Push the bundle in folder BUNDLE to a registry as REF (HOST/REPOSITORY[:TAG]).

    Blobs that the registry has are not sent. Everything is stored by digest first and named last, so that nobody ever finds half
    a bundle under a tag. An interrupted push is continued by the next one.
    """
    from pathlib import Path

    from kata_bundle.cli.transfers import transfer_document, transfer_text
    from kata_bundle.core.errors import UsageError
    from kata_bundle.oci import Layout, open_bundle
    from kata_bundle.oci.registry.reference import DEFAULT_TAG
    from kata_bundle.oci.registry.transfer import copy_from_layout

    target = parse_remote(reference)
    names = tuple(dict.fromkeys([target.tag or DEFAULT_TAG, *(target.tagged(tag).tag or "" for tag in tags)]))
    opened = open_bundle(Path(bundle))
    if target.digest not in {None, opened.digest}:
        message = f"{bundle} holds {opened.digest}, REF says {target.digest}"
        raise UsageError(message, hint="leave the @digest out: the bundle's own is used")
    with open_client(app, registry) as client:
        done = copy_from_layout(
            Layout.open(Path(bundle)),
            client.repository(target),
            tags=names,
            mount_from=mount_from,
            referrers=referrers,
            jobs=registry_jobs(app),
            dry_run=app.dry_run,
        )
    app.close()
    where = target.at(done.digest)
    app.emit({"reference": str(where), **transfer_document(done)}, lambda: transfer_text(done, "push", str(where)))
