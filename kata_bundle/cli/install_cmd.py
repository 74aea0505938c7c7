"""``kata-bundle install``: a bundle or a folder of tarballs into a root directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, PathName, dry_run_option, json_option, known_shims, node_jobs_option, pass_app, quiet_option
from kata_bundle.cli.quick import DEFAULT_KEEP, Settings, facts, request_of
from kata_bundle.cli.registry_options import registry_options
from kata_bundle.cli.site_options import live_machine, machine_for, show_plan, site_options, tell_restarts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from click.shell_completion import CompletionItem

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.install import Installed
    from kata_bundle.node.remember import Answered
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
    type=click.IntRange(1, 100),
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
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.node.install import fetch_layers, install, plan_install
    from kata_bundle.node.lock import node_lock
    from kata_bundle.node.remember import Answered, Asked

    agreed = None if approved is None else _plan_digest(approved)
    place = _place(bundle)
    node_arch = Arch.of_this_machine() if arch is None else Arch.parse(arch)
    source = _open(app, place, node_arch, registry, cache)
    asked = None
    unusual = from_environment or accept_gap or approved or hash_all or verify_files or durable is not None
    if not (unusual or _is_movable(place)):
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
        asked = Asked(request=request_of(settings), facts=facts(), sources=_sources(source, place, spec))
    said: list[str] = []
    if spec is not None or from_environment:
        _refuse_beside_configuration(dest=dest, suffix=suffix, shims=shims, both=spec is not None and from_environment)
        wanted = _configured(source, place, root, node_arch, spec, runtime, payload_only)
    else:
        if runtime is not None:
            message = "--runtime says what to configure, but there is no configuration"
            raise click.UsageError(message + ": give --spec FILE or --from-environment")
        machine = machine_for(app, root, dest, suffix, may_be_missing=True)
        wanted = _desired(source, machine.site.dest, suffix, shims, node_arch, said)
    machine = live_machine(app, root, wanted.dest, None, desired=wanted, may_be_missing=True)
    if app.dry_run or plan_only:
        _say(app, said)
        show_plan(app, plan_install(machine, wanted, hash_all=hash_all))
        return
    Path(root).mkdir(parents=True, exist_ok=True)
    if spec is None and not from_environment:
        said.append("note: payload only; --spec FILE or --from-environment configures the shims and the container runtime too")
    _say(app, said)

    def answer(done: Installed) -> Answered | None:
        if asked is None:
            return None
        lines = (*said, *(f"note: {note}" for note in done.plan.notes))
        return Answered(asked=asked, answer=app.rendered(_document(done), lambda: _text(done)), said=lines)

    if source.is_elsewhere:
        fetch_layers(machine, wanted, hash_all=hash_all)
    with node_lock(machine.site, app.progress):
        done = install(
            machine,
            wanted,
            keep=keep,
            approved=agreed,
            accept_gap=accept_gap,
            hash_all=hash_all,
            verify_files=verify_files,
            durable=durable,
            answer=answer,
        )
    _say(app, [f"note: {note}" for note in done.plan.notes])
    tell_restarts(app, machine)
    app.emit(_document(done), lambda: _text(done))


def _say(app: App, lines: Iterable[str]) -> None:
    for line in lines:
        app.say(line)


def _place(text: str) -> Reference | Path:
    """Return what BUNDLE names; what is plainly a path is told without importing a registry client."""
    if not text:
        message = "an empty name"
        raise click.BadParameter(message, param_hint="BUNDLE")
    if text.startswith(("/", ".", "~")) or not ("/" in text or ":" in text):
        from pathlib import Path

        return Path(text)
    from kata_bundle.oci.registry import parse_place

    return parse_place(text)


def _is_movable(place: Reference | Path) -> bool:
    """Return whether a name may mean something else next time without a trace on this machine."""
    from pathlib import Path

    return not isinstance(place, Path) and place.digest is None


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


def _sources(source: Source, place: Reference | Path, spec: str | None) -> tuple[str, ...]:
    """Return the real paths of what a request is read from."""
    import os
    from pathlib import Path

    folder = os.path.realpath(place) if isinstance(place, Path) else None
    places = [] if folder is None else [folder, *source.places()]
    if spec is not None:
        from kata_bundle.node.compose import EXTRA_FILES

        places.append(os.path.realpath(spec))
        places += () if folder is None else (os.path.join(folder, name) for name in EXTRA_FILES)
    return tuple(places)


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


def _configured(
    source: Source,
    place: Reference | Path,
    root: str,
    arch: Arch,
    spec: str | None,
    runtime: str | None,
    payload_only: bool,
) -> Desired:
    import os
    from pathlib import Path

    from kata_bundle.node.compose import Extras, compose, runtime_of
    from kata_bundle.node.config import from_environment, from_file
    from kata_bundle.node.hostedit import HostDirectory
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.shimfacts import load_facts

    if spec is not None:
        effective = from_file(Path(spec).read_bytes(), spec, arch.value)
    else:
        effective = from_environment(os.environ, arch.value, HostDirectory("/"))
    found = None
    if not payload_only:
        # A directory that no system runs from has no units; the version string and the declaration decide there.
        active = frozenset[str]() if os.path.realpath(root) != "/" else None
        found = Runtime(runtime) if runtime is not None else runtime_of(effective.config, active)
    extras = Extras.read(HostDirectory(os.path.realpath(place)), "") if isinstance(place, Path) else Extras()
    return compose(source, arch, effective, load_facts(), runtime=found, extras=extras)


def _desired(source: Source, dest: str, suffix: str | None, shims: tuple[str, ...], arch: Arch, said: list[str]) -> Desired:
    from kata_bundle.core.errors import HostError, UsageError
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.source import select

    if arch not in source.arches():
        message = f"there is nothing for {arch} in it, only for {', '.join(source.arches())}"
        raise HostError(message, hint="bundle that architecture, or name another one with --arch")
    groups = [[name.strip() for name in text.split(",") if name.strip()] for text in shims]
    if not all(groups):
        message = "no shim named"
        raise UsageError(message, hint=f"leave --shim out, or name some of: {', '.join(sorted(source.shims(arch)))}")
    names = tuple(name for group in groups for name in group) or source.default_shims(arch)
    if not names:
        message = "no shim was named and the source states no defaults"
        raise UsageError(message, hint=f"--shim with some of: {', '.join(sorted(source.shims(arch)))}")
    selection = select(source, arch, names)
    said += (f'warning: shim "{shim}" has no components for {arch}: it is left out' for shim in selection.without_row)
    return Desired(source=source, selection=selection, dest=dest, suffix=suffix)


def _document(done: Installed) -> dict[str, object]:
    return {
        "dry_run": False,
        "plan": done.plan.to_dict(),
        "recovered": done.recovered.value,
        "generation": None if done.receipt is None else done.receipt.generation,
        "pruned": list(done.pruned),
    }


def _text(done: Installed) -> str:
    from kata_bundle.cli.render import plural, size_text

    if done.receipt is None:
        return "nothing was installed"
    receipt, plan = done.receipt, done.plan
    if plan.changes_nothing:
        return f"generation {receipt.generation} in {receipt.dest} is up to date: nothing was written"
    what = f"{', '.join(receipt.shims)}: {plural(len(receipt.layers), 'component')}, {size_text(receipt.tree.size_bytes)}"
    lines = [f"installed generation {receipt.generation} in {receipt.dest} ({what})"]
    if done.pruned:
        lines.append(f"removed {plural(len(done.pruned), 'old generation')}: {', '.join(map(str, done.pruned))}")
    return "\n".join(lines)
