"""The one place where exceptions become messages and exit codes. Must not know: commands, click."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from kata_bundle import __version__
from kata_bundle.cli.invocation import write
from kata_bundle.core.errors import BundleError, host_error

if TYPE_CHECKING:
    from kata_bundle.cli.invocation import App

__all__ = ["concluded", "report"]


def concluded(app: App, error: BaseException) -> int:
    """Report the exception that ended a command and return the exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader of our output left (`… | head`): not a failure, but nothing more may be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    app.close()
    if isinstance(error, BundleError):
        report(str(error), error.hint)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        report("interrupted", None)
        return 130
    if isinstance(error, Exception):
        return _failed(error, verbose=app.verbose)
    raise error


def report(message: str, hint: str | None) -> None:
    """Tell people what went wrong, and what to do about it."""
    write(f"error: {message}\n" + (f"hint: {hint}\n" if hint else ""), to_people=True)


def _failed(error: Exception, *, verbose: bool) -> int:
    """Report what no command expected, the host's problems apart from ours, and return the exit code."""
    import traceback

    text = "".join(traceback.format_exception(error))
    if verbose:
        write(text, to_people=True)
    known = host_error(error) if isinstance(error, OSError) else None
    if known is not None:
        report(str(known), known.hint)
        return known.exit_code
    hint = _logged(text)
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        report(f"{error.strerror}{place}", hint)
    else:
        report(f"unexpected {type(error).__name__}: {error}", hint)
    return 1


def _logged(text: str) -> str:
    """Add a traceback to the log of unexpected errors; return a hint that says where it is."""
    from pathlib import Path

    from kata_bundle.core.clock import timestamp

    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "kata-bundle"
        state.mkdir(parents=True, exist_ok=True)
        log = state / "unexpected-errors.log"
        with log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{timestamp()} kata-bundle {__version__}\n{text}\n")
    except (OSError, RuntimeError):  # no disk to write to, or no home
        return "run again with -v for details"
    return f"details are in {log}; please report them"
