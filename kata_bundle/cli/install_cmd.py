"""``kata-bundle install``: a bundle or a folder of tarballs into a root directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, known_shims, pass_app, quiet_option
from kata_bundle.cli.site_options import machine_for, show_plan, site_options

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.install import Installed
    from kata_bundle.node.source import Source

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle install out --root /tmp/node --dry-run
  kata-bundle install out --shim qemu,clh
  kata-bundle install tarballs --shim qemu --suffix dev
  kata-bundle install out --plan --json > plan.json"""
)
@click.argument("bundle", type=click.Path(exists=True, file_okay=False))
@site_options
@click.option(
    "--shim", "shims", metavar="SHIM[,SHIM…]", multiple=True, help="Shims to install [default: the bundle's defaults].",
    shell_complete=lambda _ctx, _param, text: [name for name in known_shims() if name.startswith(text)],
)  # fmt: skip
@click.option("--arch", metavar="ARCH", help="Architecture of the node [default: this machine's].")
@click.option("--plan", "plan_only", is_flag=True, help="The same as --dry-run.")
@click.option("--approved", metavar="DIGEST", help="Carry out only the plan of this digest.")
@click.option("--accept-gap", is_flag=True, help="Take an in-place tree over even where names are absent for a moment.")
@click.option("--keep", metavar="N", type=click.IntRange(1, 100), default=2, show_default=True, help="Generations to keep.")
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
    plan_only: bool,
    approved: str | None,
    accept_gap: bool,
    keep: int,
) -> None:
    """Install the selected shims of BUNDLE, an OCI layout or a folder of kata-static tarballs, as a new generation.

    Nothing changes until the new tree is complete; then it takes the place of the old one at once. When everything is there
    already, nothing is written. A failed install is undone; an interrupted one is finished or undone by the next command.
    """
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import parse_digest
    from kata_bundle.node.install import install, plan_install
    from kata_bundle.node.lock import node_lock
    from kata_bundle.node.source import open_source

    source = open_source(Path(bundle))
    machine = machine_for(app, root, dest, suffix, may_be_missing=True)
    wanted = _desired(app, source, machine.site.dest, suffix, shims, Arch.parse(arch) if arch else Arch.of_this_machine())
    if app.dry_run or plan_only:
        show_plan(app, plan_install(machine, wanted))
        return
    Path(root).mkdir(parents=True, exist_ok=True)
    with node_lock(machine.site, app.progress):
        agreed = parse_digest(approved) if approved else None
        done = install(machine, wanted, keep=keep, approved=agreed, accept_gap=accept_gap)
    for note in done.plan.notes:
        app.say(f"note: {note}")
    app.emit(_document(done), lambda: _text(done))


def _desired(app: App, source: Source, dest: str, suffix: str | None, shims: tuple[str, ...], arch: Arch) -> Desired:
    from kata_bundle.core.errors import HostError, UsageError
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.source import select

    if arch not in source.arches():
        message = f"there is nothing for {arch} in it, only for {', '.join(source.arches())}"
        raise HostError(message, hint="bundle that architecture, or name another one with --arch")
    names = tuple(name.strip() for text in shims for name in text.split(",") if name.strip()) or source.default_shims(arch)
    if not names:
        message = "no shim was named and the source states no defaults"
        raise UsageError(message, hint=f"--shim with some of: {', '.join(sorted(source.shims(arch)))}")
    selection = select(source, arch, names)
    for shim in selection.without_row:
        app.say(f'warning: shim "{shim}" has no components for {arch}: it is left out')
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
