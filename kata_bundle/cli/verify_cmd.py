"""``kata-bundle verify``: hash what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option
from kata_bundle.cli.site_options import site_options
from kata_bundle.cli.sites import machine_for

if TYPE_CHECKING:
    from kata_bundle.node.verify import Verification

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle verify
  kata-bundle verify --quick
  kata-bundle verify --root /tmp/node --json"""
)
@site_options
@click.option("--quick", is_flag=True, help="Hash only files that look touched since they were last found in order.")
@json_option
@quiet_option
@pass_app
def command(app: App, root: str, dest: str, suffix: str | None, quick: bool) -> int:
    """Hash every installed file and name each that is changed, missing or extra; the exit code is 12 when there are any.

    --quick compares size, times and inode with those recorded at the last install, and hashes what differs: it finds every
    ordinary change in milliseconds, but not bits that went bad on the disk.

    Files that administrators added to config.d directories are listed as theirs and are no drift.
    """
    from kata_bundle.core.errors import HostError, InstallError
    from kata_bundle.node.state import load_state
    from kata_bundle.node.verify import verify

    machine = machine_for(app, root, dest, suffix)
    state = load_state(machine.site)
    if state.interrupted:
        message = "an install was interrupted"
        raise InstallError(message, hint="run install, rollback or uninstall: each finishes or undoes it first")
    if state.latest is None:
        message = f"nothing is installed in {machine.site.dest}"
        raise HostError(message)
    found = verify(machine, state.latest, quick=quick)
    app.emit(found.to_dict(), lambda: _text(found, quick=quick))
    return 0 if found.is_clean else 12


def _text(found: Verification, *, quick: bool) -> str:
    from kata_bundle.cli.render import plural
    from kata_bundle.core.relpath import printable

    lines = [f"{what:8} {printable(path)}" for what in ("changed", "missing", "extra") for path in getattr(found, what)]
    lines += [f"theirs   {printable(path)}" for path in (*found.administrators, *found.edited)]
    hashed = "" if not quick else f"{plural(found.hashed, 'file')} hashed, "
    summary = f"generation {found.generation}: {plural(found.checked, 'entry').replace('entrys', 'entries')} checked, {hashed}"
    drift = len(found.changed) + len(found.missing) + len(found.extra)
    lines.append(summary + ("all as installed" if found.is_clean else f"{plural(drift, 'difference')}"))
    return "\n".join(lines)
