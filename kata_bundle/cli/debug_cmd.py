"""``kata-bundle debug``: look into what failed."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, pass_app, quiet_option, store_option

__all__ = ["command"]


@click.group()
def command() -> None:
    """Look into what failed."""


@command.command(
    epilog="""\b
Examples:
  kata-bundle debug shell
  kata-bundle debug shell kernel-x86_64-k3j2h1"""
)
@click.argument("name", required=False, metavar="[WORK-FOLDER|COMPONENT]")
@store_option
@quiet_option
@pass_app
def shell(app: App, name: str | None) -> None:
    """Open a shell in the sandbox of a failed action, as it was when the action failed: same trees, same walls.

    Without a name, that of the newest failure. The folder is kept until newer failures push it out.
    """
    from kata_bundle.build.sandbox.execute import SANDBOXES, shell_command
    from kata_bundle.core.errors import UsageError
    from kata_bundle.core.process import run_attached

    parent = app.store().root / SANDBOXES
    kept = sorted(
        (path for path in (parent.iterdir() if parent.is_dir() else ()) if (path / "command").exists()),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    found = [path for path in kept if name is None or path.name == name or path.name.startswith(f"{name}-")]
    if not found:
        message = f'no work folder of a failed action is named "{name}"' if name else "no work folder of a failed action is kept"
        raise UsageError(message, hint=f"kept are: {', '.join(path.name for path in kept) or 'none'}")
    app.progress.note(f"{found[0]}: the work folder is /build, its log is beside it")
    raise SystemExit(run_attached(shell_command(found[0])))
