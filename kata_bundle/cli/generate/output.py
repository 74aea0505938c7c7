"""Print, write or check what was generated: the same for every document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, manifests_option, pass_app, quiet_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.generate.artefacts import FileState

__all__ = ["artefact_command", "deliver", "output_options", "report_states", "settle"]


def output_options(function: Any) -> Any:
    """Add ``-o`` and ``--check``, and the options that all these commands share."""
    options = (
        click.option("-o", "--output", metavar="PATH", type=click.Path(), help="Write there instead of printing."),
        click.option("--check", is_flag=True, help="Write nothing; exit 12 when what is there is not what the catalog gives."),
        manifests_option,
        dry_run_option,
        json_option,
        quiet_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def artefact_command(name: str, text: str, examples: str) -> click.Command:
    """Return the command that delivers the artefact ``name``, described by ``text``."""

    @click.command(help=text, epilog=f"\b\nExamples:\n{examples}")
    @output_options
    @pass_app
    def command(app: App, output: str | None, check: bool) -> None:
        from kata_bundle.generate.artefacts import ARTEFACTS

        artefact = ARTEFACTS[name]
        catalog = app.catalog()
        deliver(
            app,
            lambda existing: artefact.render(catalog, existing),
            output=output,
            home=artefact.home,
            is_folder=artefact.is_folder,
            mark=artefact.mark,
            check=check,
        )

    return command


def deliver(
    app: App,
    render: Callable[[Mapping[str, str]], Mapping[str, str]],
    *,
    output: str | None,
    check: bool,
    home: str | None = None,
    is_folder: bool = False,
    mark: str | None = None,
    printed: Path | None = None,
) -> None:
    """Print what ``render`` gives, or with ``output`` write it there, or with ``check`` compare it with what is there.

    ``home`` is where ``check`` looks without ``output``; ``printed`` is the file whose layout a printed document follows. Raises
    :class:`DriftError` naming every file that differs, :class:`UsageError` when there is nowhere to write to or look at.
    """
    from kata_bundle.core.errors import UsageError
    from kata_bundle.generate.artefacts import read_existing

    if check:
        where = output or home
        if where is None:
            message = "nothing to compare with"
            raise UsageError(message, hint="name the file with -o")
        report_states(app, settle(Path(where), render, is_folder=is_folder, mark=mark, write=False), check=True)
    elif output is not None:
        report_states(app, settle(Path(output), render, is_folder=is_folder, mark=mark, write=not app.dry_run), check=False)
    elif is_folder:
        message = "several files are made, they cannot be printed"
        raise UsageError(message, hint=f"name a folder with -o, for example -o {home or 'DIR'}")
    else:
        (text,) = render(read_existing(printed, is_folder=False) if printed else {}).values()
        app.emit({"text": text}, lambda: text)


def settle(
    target: Path,
    render: Callable[[Mapping[str, str]], Mapping[str, str]],
    *,
    is_folder: bool,
    mark: str | None,
    write: bool,
) -> tuple[FileState, ...]:
    """Return how the files at ``target`` stood to what ``render`` gives, after writing those that differ if ``write``."""
    from kata_bundle.generate.artefacts import compare_files, read_existing, write_files

    existing = read_existing(target, is_folder=is_folder)
    wanted = render(existing)
    states = compare_files(target, existing, wanted, mark=mark)
    if write:
        write_files(target, states, wanted)
    return states


def report_states(app: App, states: tuple[FileState, ...], *, check: bool) -> None:
    """Tell what became of ``states``: drift raises with ``check``, otherwise each file written is named."""
    from kata_bundle.cli.render import plural
    from kata_bundle.core.errors import DriftError

    wrong = [state for state in states if state.state != "current"]
    if app.json:
        app.emit({"files": [{"path": str(s.path), "state": s.state, "line": s.line} for s in states]}, str)
    if check and wrong:
        message = f"{plural(len(wrong), 'file')} differ from the catalog:\n  " + "\n  ".join(map(str, wrong))
        raise DriftError(message, hint="the same command without --check (and with -o) writes what the catalog gives")
    if not wrong:
        app.say(f"{plural(len(states), 'file')} checked: as the catalog gives" if check else "nothing to write: all is current")
        return
    would = "would " if app.dry_run else ""
    for state in wrong:
        verb = "remove" if state.state == "left over" else "write"
        app.say(f"{would}{verb if would else {'remove': 'removed', 'write': 'wrote'}[verb]} {state.path}")
