"""``kata-bundle node profile``: a named set of changes to an installed shim's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, pass_app, quiet_option
from kata_bundle.cli.site_options import site_options
from kata_bundle.cli.sites import machine_for

if TYPE_CHECKING:
    from kata_bundle.node.profiles import ProfileChange

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node profile
  kata-bundle node profile azure-clh --dry-run
  kata-bundle node profile azure-clh --suffix dev
  kata-bundle node profile azure-clh --remove"""
)
@click.argument("profile", required=False)
@site_options
@click.option("--remove", is_flag=True, help="Take the profile back.")
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, profile: str | None, root: str, dest: str, suffix: str | None, remove: bool) -> None:
    """Apply PROFILE to the installed shims it is for, or list the profiles.

    Nothing applies a profile by itself. It becomes a drop-in beside each configuration, which later installs keep; applying
    it again changes nothing. A tree without directories for drop-ins is edited in place.
    """
    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import UsageError
    from kata_bundle.node.kata.profile import PROFILES

    if profile is None:
        rows = {name: {"purpose": found.purpose, "shims": list(found.shims)} for name, found in PROFILES.items()}
        app.emit(
            rows, lambda: "\n".join(f"{name}  {found.purpose} ({', '.join(found.shims)})" for name, found in PROFILES.items())
        )
        return
    chosen = PROFILES.get(profile)
    if chosen is None:
        message = f'unknown profile "{profile}"'
        raise UsageError(message, hint=did_you_mean(profile, PROFILES) or f"profiles: {', '.join(PROFILES)}")
    from kata_bundle.node.lock import node_lock
    from kata_bundle.node.profiles import apply_profile, plan_profile

    machine = machine_for(app, root, dest, suffix)
    if app.dry_run:
        changes = plan_profile(machine, chosen, remove=remove)
    else:
        with node_lock(machine.site, app.progress):
            changes = plan_profile(machine, chosen, remove=remove)
            apply_profile(machine, changes)
    document = {
        "dry_run": app.dry_run,
        "files": [{"shim": change.shim, "path": change.path, "action": change.action.value} for change in changes],
    }
    app.emit(document, lambda: "\n".join(_line(change, dry_run=app.dry_run) for change in changes))


def _line(change: ProfileChange, *, dry_run: bool) -> str:
    words = {
        "none": "unchanged",
        "write": "would write" if dry_run else "wrote",
        "remove": "would remove" if dry_run else "removed",
    }
    return f"{words[change.action.value]} {change.path} ({change.shim})"
