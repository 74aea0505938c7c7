"""The root command: the table of commands, and how click's own exceptions end."""

from __future__ import annotations

import os
import sys

import click

from kata_bundle import __version__
from kata_bundle.cli.app import App
from kata_bundle.cli.ending import concluded, report
from kata_bundle.cli.lazy import LazyCommand, LazyGroup

__all__ = ["command", "run"]

_LOOK, _MAKE, _MOVE, _NODE, _MORE = "Look", "Make", "Move", "Install", "More"

TABLE = {
    "check": LazyCommand("kata_bundle.cli.check_cmd", "Validate all manifests; report every finding at once.", _LOOK),
    "list": LazyCommand("kata_bundle.cli.list_cmd", "List shims, components or architectures.", _LOOK),
    "show": LazyCommand("kata_bundle.cli.show_cmd", "Show a shim or component with all its facts, or a bundle.", _LOOK),
    "plan": LazyCommand("kata_bundle.cli.plan_cmd", "Show which components a selection needs.", _LOOK),
    "why": LazyCommand("kata_bundle.cli.why_cmd", "Explain why a shim needs a component or a file.", _LOOK),
    "size": LazyCommand("kata_bundle.cli.size_cmd", "Show what shims weigh alone, shared and marginally.", _LOOK),
    "diff": LazyCommand("kata_bundle.cli.diff_cmd", "Compare two catalogs, locks or bundles.", _LOOK),
    "lock": LazyCommand("kata_bundle.cli.lock_cmd", "Write, check or refresh locks.", _MAKE),
    "build": LazyCommand("kata_bundle.cli.build_cmd", "Make components and keep them in the store.", _MAKE),
    "repro": LazyCommand("kata_bundle.cli.repro_cmd", "Make components twice under changed conditions and compare.", _MAKE),
    "explain": LazyCommand("kata_bundle.cli.explain_cmd", "Say which input makes a component be made anew.", _MAKE),
    "log": LazyCommand("kata_bundle.cli.log_cmd", "Print what the programs printed that made a component.", _MAKE),
    "debug": LazyCommand("kata_bundle.cli.debug_cmd", "Open a shell where a failed action ran.", _MAKE),
    "import": LazyCommand("kata_bundle.cli.import_cmd", "Take prebuilt kata-static tarballs into the store, unchanged.", _MAKE),
    "bundle": LazyCommand("kata_bundle.cli.bundle_cmd", "Build, pack and assemble a selection as an OCI layout.", _MAKE),
    "push": LazyCommand("kata_bundle.cli.push_cmd", "Push a bundle to a registry.", _MOVE),
    "pull": LazyCommand("kata_bundle.cli.pull_cmd", "Pull a bundle, or the part that a node needs, into a folder.", _MOVE),
    "copy": LazyCommand("kata_bundle.cli.copy_cmd", "Copy whole artefacts between registries and folders.", _MOVE),
    "ls": LazyCommand("kata_bundle.cli.ls_cmd", "List what a repository holds, or what is behind a name.", _MOVE),
    "rm": LazyCommand("kata_bundle.cli.rm_cmd", "Remove an image from a registry.", _MOVE),
    "delta": LazyCommand("kata_bundle.cli.delta_cmd", "Say what an upgrade takes, and make the deltas for it.", _MAKE),
    "media": LazyCommand("kata_bundle.cli.media_cmd", "Put bundles on one small medium, check it, take them from it.", _MOVE),
    "install": LazyCommand("kata_bundle.cli.install_cmd", "Install a bundle into a root directory.", _NODE),
    "status": LazyCommand("kata_bundle.cli.status_cmd", "Say what is installed.", _NODE),
    "verify": LazyCommand("kata_bundle.cli.verify_cmd", "Hash everything installed and name what differs.", _NODE),
    "rollback": LazyCommand("kata_bundle.cli.rollback_cmd", "Return to an earlier generation.", _NODE),
    "uninstall": LazyCommand("kata_bundle.cli.uninstall_cmd", "Remove an install and what it edited.", _NODE),
    "node": LazyCommand("kata_bundle.cli.node", "Node operations: effective configuration, clean-up, profiles.", _NODE),
    "generate": LazyCommand("kata_bundle.cli.generate", "Write or check documents that follow from the catalog.", _MORE),
    "store": LazyCommand("kata_bundle.cli.store_cmd", "Inspect the local store.", _MORE),
    "schema": LazyCommand("kata_bundle.cli.schema_cmd", "Print, write or check the JSON Schemas.", _MORE),
    "completion": LazyCommand("kata_bundle.cli.completion_cmd", "Print the shell completion script.", _MORE),
}

_EPILOG = """\b
Examples:
  kata-bundle plan --shim qemu,clh --arch x86_64
  kata-bundle bundle --shim qemu --arch x86_64,aarch64 -o out/
  kata-bundle install out/ --root /tmp/node --dry-run
  kata-bundle verify --root /tmp/node

\b
Exit codes: 0 ok, 1 unexpected, 2 usage, 3 findings, 4 lock, 5 build, 6 not reproducible, 7 integrity, 8 remote,
9 host precondition, 10 failed and restored, 11 failed and needs attention, 12 drift, 130 interrupted.
"""


@click.command(
    cls=LazyGroup,
    table=TABLE,
    name="kata-bundle",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", prog_name="kata-bundle", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks of unexpected errors.")
@click.pass_context
def command(ctx: click.Context, verbose: bool) -> None:
    """Bundle Kata Containers components reproducibly and install them deterministically."""
    ctx.ensure_object(App).verbose = verbose


_NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""Raised by newer clicks for a group without a command: its message is the help, not an error."""


def run(arguments: list[str]) -> int:
    """Run ``arguments`` and return the exit code; every exception ends here."""
    app = App()
    try:
        if "_KATA_BUNDLE_COMPLETE" in os.environ:
            command.main(arguments, prog_name="kata-bundle", obj=app)
        # Not command.main(): it turns a reader that left early into exit code 1.
        with command.make_context("kata-bundle", list(arguments), obj=app) as ctx:
            result = command.invoke(ctx)
        app.close()
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if isinstance(error, _NO_ARGUMENTS):
            click.echo(error.format_message(), err=True)
        else:
            _say(error)
        return error.exit_code
    except click.Abort:
        return concluded(app, KeyboardInterrupt())
    except (Exception, KeyboardInterrupt) as error:
        return concluded(app, error)
    return result if isinstance(result, int) else 0


def _say(error: click.ClickException) -> None:
    context = getattr(error, "ctx", None)
    hint = f'try "{context.command_path} --help"' if context is not None else None
    report(error.format_message(), hint)
