"""``kata-bundle pull``: a bundle, or the part of it that a node needs, from a registry into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import (
    App,
    Names,
    PathName,
    arch_option,
    dry_run_option,
    jobs_option,
    json_option,
    known_shims,
    pass_app,
    quiet_option,
)
from kata_bundle.cli.registry_options import open_client, parse_remote, registry_jobs, registry_options

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.oci.registry import RegistrySettings

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle pull registry.example/kata:v1 -o out
  kata-bundle pull registry.example/kata:v1 -o out --shim qemu,clh
  kata-bundle pull registry.example/kata:v1 -o out --arch all
  kata-bundle pull registry.example/kata:v1 -o out --dry-run"""
)
@click.argument("reference", metavar="REF")
@click.option("-o", "--output", metavar="DIR", type=PathName(file_okay=False), required=True, help="Write the OCI layout there.")
@arch_option
@click.option(
    "--shim", "shims", multiple=True, type=Names(known_shims), metavar="SHIM[,SHIM…]",
    help="Pull only the layers that these shims need [default: all].",
)  # fmt: skip
@registry_options
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    reference: str,
    output: str,
    arches: tuple[Arch, ...],
    shims: tuple[tuple[str, ...], ...],
    registry: RegistrySettings,
) -> None:
    """Pull the bundle REF (HOST/REPOSITORY[:TAG][@DIGEST]) into the folder DIR, and of it only what is asked for.

    Layers that DIR has are checked and kept; an interrupted pull is continued by the next one. Every byte is checked against its
    digest before it gets its name. The digest that a tag stands for is printed: pin it to get the same again.
    """
    from pathlib import Path

    from kata_bundle.cli.transfers import transfer_document, transfer_text
    from kata_bundle.core.arch import Arch
    from kata_bundle.oci.registry import open_remote_bundle
    from kata_bundle.oci.registry.pull import pull_bundle

    names = tuple(dict.fromkeys(name for group in shims for name in group))
    is_whole = set(arches) == set(Arch)
    with open_client(app, registry) as client:
        bundle = open_remote_bundle(client.repository(parse_remote(reference)), arches=None if is_whole else arches)
        done = pull_bundle(
            bundle,
            Path(output),
            shims=names if shims else None,
            is_whole=is_whole,
            jobs=registry_jobs(app),
            dry_run=app.dry_run,
        )
    app.close()
    where = str(bundle.reference)
    document = {
        "reference": where,
        "layout": output,
        "arches": [arch.value for arch in bundle.arches()],
        **transfer_document(done),
    }
    app.emit(document, lambda: transfer_text(done, "pull", f"{where} in {output}"))
