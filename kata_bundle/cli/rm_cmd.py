"""``kata-bundle rm``: take an image out of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, dry_run_option, jobs_option, json_option, pass_app, quiet_option
from kata_bundle.cli.registry_options import open_client, parse_remote, registry_jobs, registry_options

if TYPE_CHECKING:
    from kata_bundle.oci.registry import RegistrySettings

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle rm registry.example/kata:old --dry-run
  kata-bundle rm registry.example/kata:old
  kata-bundle rm registry.example/kata:old --all-tags"""
)
@click.argument("reference", metavar="REF")
@click.option("--all-tags", is_flag=True, help="Remove it also when it has further tags: they go too.")
@registry_options
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, reference: str, all_tags: bool, registry: RegistrySettings) -> None:
    """Remove the manifest that REF stands for, by its digest, and with it every tag of that digest.

    Further tags of it are named and stop the command unless --all-tags is given. Images of single architectures and layers stay
    until the registry collects what nothing refers to. Many registries forbid removal; then that is said and nothing is changed.
    """
    from kata_bundle.core.errors import UsageError
    from kata_bundle.oci.registry.removal import plan_removal, remove

    target = parse_remote(reference)
    if target.is_bare:
        message = f"{reference}: name a tag or a digest"
        raise UsageError(message, hint=f"kata-bundle ls {target.name}   lists them")
    with open_client(app, registry) as client:
        repository = client.repository(target)
        planned = plan_removal(repository, jobs=registry_jobs(app))
        others = [tag for tag in planned.tags if tag != target.tag]
        if others and not all_tags:
            message = f"{target.at(planned.digest)} has further tags, which would go too: {', '.join(others)}"
            raise UsageError(message, hint="--all-tags removes them as well")
        if not app.dry_run:
            remove(repository, planned)
    where = target.at(planned.digest)
    document = {"reference": str(where), "digest": planned.digest, "tags": list(planned.tags), "dry_run": app.dry_run}
    verb = "would remove" if app.dry_run else "removed"
    tags = f" with {'tags' if len(planned.tags) > 1 else 'tag'} {', '.join(planned.tags)}" if planned.tags else ""
    app.emit(document, lambda: f"{verb} {target.name}@{planned.digest}{tags}")
