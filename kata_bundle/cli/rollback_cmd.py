"""``kata-bundle rollback``: back to an earlier generation."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, pass_app, quiet_option
from kata_bundle.cli.site_options import site_options
from kata_bundle.cli.sites import live_machine, show_plan, tell_restarts

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle rollback --dry-run
  kata-bundle rollback --root /tmp/node --to 3"""
)
@site_options
@click.option("--to", "number", metavar="N", type=click.IntRange(0), help="Generation to go back to [default: the one before].")
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, root: str, dest: str, suffix: str | None, number: int | None) -> None:
    """Make an earlier generation the active one again, with its host edits and today's files of administrators."""
    from kata_bundle.node.lock import node_lock
    from kata_bundle.node.rollback import plan_rollback, rollback

    machine = live_machine(app, root, dest, suffix, to=number)
    if app.dry_run:
        show_plan(app, plan_rollback(machine, number))
        return
    with node_lock(machine.site, app.progress):
        done = rollback(machine, number)
    for note in done.plan.notes:
        app.say(f"note: {note}")
    tell_restarts(app, machine)
    document = {
        "dry_run": False, "plan": done.plan.to_dict(), "recovered": done.recovered.value, "generation": done.receipt.generation,
    }  # fmt: skip
    app.emit(document, lambda: f"generation {done.receipt.generation} is active in {machine.site.dest}")
