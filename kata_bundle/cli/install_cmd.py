"""``kata-bundle install``: a bundle or a folder of tarballs into a root directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, PathName, dry_run_option, json_option, known_shims, node_jobs_option, pass_app, quiet_option
from kata_bundle.cli.quick import DEFAULT_KEEP, MOST_KEPT, Settings, is_path
from kata_bundle.cli.registry_options import registry_options
from kata_bundle.cli.site_options import site_options

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.node.source import Source
    from kata_bundle.oci.registry import Reference, RegistrySettings

__all__ = ["command"]

_RUNTIMES = (
    "containerd", "crio", "k0s-controller", "k0s-worker", "k3s", "k3s-agent", "microk8s", "rke2-agent", "rke2-server",
)  # fmt: skip


def _folders(_ctx: click.Context, _param: click.Parameter, text: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(text, type="dir")]


@click.command(
    epilog="""\b
Examples:
  kata-bundle install out --root /tmp/node --dry-run
  kata-bundle install out --shim qemu,clh
  kata-bundle install tarballs --shim qemu --suffix dev
  kata-bundle install out --plan --json > plan.json
  kata-bundle install out --spec node.toml --runtime containerd
  kata-bundle install out --repair
  kata-bundle install registry.example/kata:v1 --shim qemu --dry-run
  kata-bundle install /opt/kata-artifacts --from-environment"""
)
@click.argument("bundle", shell_complete=_folders)
@site_options
@registry_options
@click.option(
    "--cache",
    metavar="DIR",
    type=PathName(file_okay=False),
    help="Keep what is fetched there until the install is done [default: kata-bundle/fetched in the user's cache folder].",
)
@click.option(
    "--shim", "shims", metavar="SHIM[,SHIM…]", multiple=True, help="Shims to install [default: the bundle's defaults].",
    shell_complete=lambda _ctx, _param, text: [name for name in known_shims() if name.startswith(text)],
)  # fmt: skip
@click.option("--arch", metavar="ARCH", help="Architecture of the node [default: this machine's].")
@click.option(
    "--spec",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Configure the node as this TOML or JSON file says: shims, runtime, snapshotters.",
)
@click.option("--from-environment", is_flag=True, help="Configure the node as the Helm chart's environment variables say.")
@click.option(
    "--runtime", metavar="NAME", type=click.Choice(_RUNTIMES), help="Container runtime to configure [default: found out]."
)
@click.option("--payload-only", is_flag=True, help="Write no configuration for the container runtime.")
@click.option("--plan", "plan_only", is_flag=True, help="The same as --dry-run.")
@click.option("--approved", metavar="DIGEST", help="Carry out only the plan of this digest.")
@click.option("--accept-gap", is_flag=True, help="Take an in-place tree over even where names are absent for a moment.")
@click.option(
    "--verify",
    "--repair",
    "hash_all",
    is_flag=True,
    help="Hash every installed file, also those that look untouched; what differs is put right.",
)
@click.option(
    "--verify-files",
    is_flag=True,
    help="Hash every file while it is unpacked, too, not only the packed bytes that it comes from.",
)
@click.option(
    "--durable/--no-durable",
    default=None,
    help="Have all of it on the disk before it is switched to [default: when the root is /].",
)
@node_jobs_option
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(1, MOST_KEPT),
    default=DEFAULT_KEEP,
    show_default=True,
    help="Generations to keep.",
)
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    bundle: str,
    root: str,
    dest: str,
    suffix: str | None,
    shims: tuple[str, ...],
    arch: str | None,
    spec: str | None,
    from_environment: bool,
    runtime: str | None,
    payload_only: bool,
    plan_only: bool,
    approved: str | None,
    accept_gap: bool,
    hash_all: bool,
    verify_files: bool,
    durable: bool | None,
    keep: int,
    cache: str | None,
    registry: RegistrySettings,
) -> None:
    """Install the selected shims of BUNDLE as a new generation.

    BUNDLE is an OCI layout, a folder of kata-static tarballs, or a bundle in a registry: HOST/REPOSITORY:TAG, or @sha256:… for
    exactly that one. From a registry only what the node lacks is fetched: parts of the layers of the selected shims, each checked
    before it is used. What was fetched when an install is interrupted need not be fetched again.

    Nothing changes until the new tree is complete; then it takes the place of the old one at once. When everything is there
    already, nothing is written; files whose size, times and inode are as recorded at the last install are taken to be. A failed
    install is undone; an interrupted one is finished or undone by the next command.
    """
    from kata_bundle.cli.installing import Choices, node_architecture, run_install

    if spec is not None or from_environment:
        _refuse_beside_configuration(dest=dest, suffix=suffix, shims=shims, both=spec is not None and from_environment)
    elif runtime is not None:
        message = "--runtime says what to configure, but there is no configuration"
        raise click.UsageError(message + ": give --spec FILE or --from-environment")
    settings = Settings(
        bundle=bundle,
        root=root,
        dest=dest,
        suffix=suffix,
        shims=shims,
        arch=arch,
        spec=spec,
        runtime=runtime,
        keep=keep,
        payload_only=payload_only,
        json=app.json,
    )
    choices = Choices(
        from_environment=from_environment,
        plan_only=plan_only,
        approved=None if approved is None else _plan_digest(approved),
        accept_gap=accept_gap,
        hash_all=hash_all,
        verify_files=verify_files,
        durable=durable,
    )
    place = _place(bundle)
    run_install(app, _open(app, place, node_architecture(arch), registry, cache), place, settings, choices)


def _place(text: str) -> Reference | Path:
    """Return what BUNDLE names; what is plainly a path is told without importing a registry client."""
    if not text:
        message = "an empty name"
        raise click.BadParameter(message, param_hint="BUNDLE")
    if is_path(text):
        from pathlib import Path

        return Path(text)
    from kata_bundle.oci.registry import parse_place

    return parse_place(text)


def _open(app: App, place: Reference | Path, arch: Arch, registry: RegistrySettings, cache: str | None) -> Source:
    import os
    from pathlib import Path

    from kata_bundle.node.source import open_source

    if isinstance(place, Path):
        if not place.is_dir():
            message = f'bundle "{place}" is not a directory' if place.exists() else f'bundle "{place}" does not exist'
            raise click.BadParameter(message, param_hint="BUNDLE")
        return open_source(place)
    from kata_bundle.cli.registry_options import open_client, registry_jobs
    from kata_bundle.node.remote import RegistrySource
    from kata_bundle.oci.registry import open_remote_bundle

    client = click.get_current_context().with_resource(open_client(app, registry))
    bundle = open_remote_bundle(client.repository(place), arches={arch})
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    kept = Path(cache) if cache is not None else Path(folder) / "kata-bundle/fetched"
    return RegistrySource(bundle, kept, jobs=registry_jobs(app), progress=app.progress)


def _plan_digest(text: str) -> Digest:
    from kata_bundle.core.digest import parse_digest
    from kata_bundle.core.errors import IntegrityError, UsageError

    try:
        return parse_digest(text)
    except IntegrityError:
        message = f'the approved plan is "{text[:80]}", expected its digest'
        raise UsageError(message, hint="--dry-run shows a plan and ends with its digest") from None


def _refuse_beside_configuration(*, dest: str, suffix: str | None, shims: tuple[str, ...], both: bool) -> None:
    given = [name for name, value in (("--suffix", suffix), ("--shim", shims)) if value]
    given += ["--dest"] if dest != "/opt/kata" else []
    if both:
        message = "--spec and --from-environment exclude each other"
        raise click.UsageError(message)
    if given:
        message = f"{', '.join(given)}: the configuration says this (multi_install_suffix, shims, installation_prefix)"
        raise click.UsageError(message)
