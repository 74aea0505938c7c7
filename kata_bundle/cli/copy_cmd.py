"""``kata-bundle copy``: whole artefacts between registries and folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, dry_run_option, jobs_option, json_option, pass_app, quiet_option
from kata_bundle.cli.registry_options import open_client, registry_jobs, registry_options

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.oci.registry import Reference, RegistryClient, RegistrySettings
    from kata_bundle.oci.registry.transfer import Transfer

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle copy registry.example/kata:v1 mirror.example/kata:v1 --referrers
  kata-bundle copy registry.example/kata:v1 ./layout --referrers
  kata-bundle copy ./layout registry.example/kata:v1
  kata-bundle copy registry.example/kata:v1 registry.example/kata:stable"""
)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--referrers", is_flag=True, help="Copy what is attached too: deltas, signatures, lists of contents.")
@registry_options
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, source: str, target: str, referrers: bool, registry: RegistrySettings) -> None:
    """Copy the image SRC with all its architectures to DST.

    Each is HOST/REPOSITORY[:TAG][@DIGEST] or the folder of an OCI layout. Digests stay as they are. Blobs that are there are not
    moved, and within one registry none is. A folder that could be taken for a registry's name is written ./FOLDER or oci:FOLDER.
    """
    from kata_bundle.cli.transfers import transfer_document, transfer_text
    from kata_bundle.core.errors import UsageError
    from kata_bundle.oci.registry import Reference, parse_place

    source_place, target_place = parse_place(source), parse_place(target)
    if isinstance(target_place, Reference) and target_place.digest is not None:
        message = f"{target}: a copy has the digest of what is copied; name a tag"
        raise UsageError(message)
    with open_client(app, registry) as client:
        done = _copy(app, client, source_place, target_place, referrers=referrers)
    app.close()
    where = str(target_place.at(done.digest)) if isinstance(target_place, Reference) else f"{done.digest} in {target_place}"
    document = {"source": str(source_place), "target": where, **transfer_document(done)}
    app.emit(document, lambda: transfer_text(done, "copy", where))


def _copy(app: App, client: RegistryClient, source: Reference | Path, target: Reference | Path, *, referrers: bool) -> Transfer:
    from kata_bundle.core.errors import UsageError
    from kata_bundle.oci import Layout
    from kata_bundle.oci.registry import Reference
    from kata_bundle.oci.registry.reference import DEFAULT_TAG
    from kata_bundle.oci.registry.transfer import copy_between, copy_from_layout, copy_to_layout

    jobs = registry_jobs(app)
    if isinstance(target, Reference):
        repository, tags = client.repository(target), (target.tag or DEFAULT_TAG,)
        if isinstance(source, Reference):
            return copy_between(
                client.repository(source), repository, tags=tags, referrers=referrers, jobs=jobs, dry_run=app.dry_run
            )
        return copy_from_layout(Layout.open(source), repository, tags=tags, referrers=referrers, jobs=jobs, dry_run=app.dry_run)
    if isinstance(source, Reference):
        return copy_to_layout(client.repository(source), target, referrers=referrers, jobs=jobs, dry_run=app.dry_run)
    message = "neither is in a registry"
    raise UsageError(message, hint="a folder is copied with cp -a")
