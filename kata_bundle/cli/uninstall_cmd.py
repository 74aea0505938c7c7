"""``kata-bundle uninstall``: take an install and its edits back."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, pass_app, quiet_option
from kata_bundle.cli.site_options import site_options
from kata_bundle.cli.sites import live_machine, show_plan, tell_restarts

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle uninstall --dry-run
  kata-bundle uninstall --root /tmp/node --suffix dev"""
)
@site_options
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, root: str, dest: str, suffix: str | None) -> None:
    """Remove an install: its host edits are taken back, then the tree and all generations go.

    What somebody else changed or added outside the tree is kept and told. Uninstalling what is not there is no error.
    """
    from kata_bundle.node.lock import node_lock
    from kata_bundle.node.uninstall import plan_uninstall, uninstall

    machine = live_machine(app, root, dest, suffix, leaving=True)
    if app.dry_run:
        show_plan(app, plan_uninstall(machine))
        return
    with node_lock(machine.site, app.progress):
        done = uninstall(machine)
    for note in done.plan.notes:
        app.say(f"note: {note}")
    tell_restarts(app, machine)
    document = {
        "dry_run": False, "plan": done.plan.to_dict(), "recovered": done.recovered.value, "kept": list(done.kept),
    }  # fmt: skip

    def text() -> str:
        from kata_bundle.core.relpath import printable

        if done.plan.active is None:
            return f"nothing is installed in {machine.site.dest}"
        lines = [f"uninstalled {machine.site.dest}"]
        lines += [f"kept {printable(path)}, which is not empty" for path in done.kept]
        return "\n".join(lines)

    app.emit(document, text)
