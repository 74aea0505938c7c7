"""``kata-bundle node gc``: remove generations that nothing needs."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, pass_app, quiet_option
from kata_bundle.cli.site_options import site_options
from kata_bundle.cli.sites import live_machine

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node gc --dry-run
  kata-bundle node gc --keep 1 --oldest-sandbox 2026-11-24T09:00:00Z"""
)
@site_options
@click.option("--keep", metavar="N", type=click.IntRange(1, 100), default=2, show_default=True, help="Generations to keep.")
@click.option(
    "--oldest-sandbox", metavar="TIME", help="Keep also what a sandbox running since then may need (2026-11-24T09:00:00Z)."
)
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, root: str, dest: str, suffix: str | None, keep: int, oldest_sandbox: str | None) -> None:
    """Remove generations beyond the ones to keep, after finishing or undoing an interrupted install."""
    from kata_bundle.cli.render import plural
    from kata_bundle.node.gc import prune, superseded
    from kata_bundle.node.lock import node_lock
    from kata_bundle.node.machine import Knowledge, Sandboxes
    from kata_bundle.node.recover import recover
    from kata_bundle.node.state import load_state

    machine = live_machine(app, root, dest, suffix, leaving=True)
    sandboxes = machine.services.sandboxes()
    if oldest_sandbox is not None:
        sandboxes = Sandboxes(knowledge=Knowledge.ANSWERED, oldest=oldest_sandbox)
    if app.dry_run:
        gone = superseded(load_state(machine.site), keep=keep, sandboxes=sandboxes)
    else:
        with node_lock(machine.site, app.progress):
            recover(machine)
            gone = prune(machine, keep=keep, sandboxes=sandboxes)
    verb = "would remove" if app.dry_run else "removed"
    numbers = f": {', '.join(map(str, gone))}" if gone else ""
    app.emit({"dry_run": app.dry_run, "removed": list(gone)}, lambda: f"{verb} {plural(len(gone), 'generation')}{numbers}")
