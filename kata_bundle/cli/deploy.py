"""The ``kata-deploy`` program: the installer in a pod, under the names that existing manifests use.

Reads the command line, sets up the log, runs the action, shows errors. Must not know: what an action does.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kata_bundle.node.actions import LogLevel

__all__ = ["main"]

_LEVELS = ("error", "warn", "info", "debug", "trace")


class _Log:
    """Lines on stderr: time, level, message."""

    def __init__(self, level: str) -> None:
        self._shown = frozenset(_LEVELS[: _LEVELS.index(level) + 1])

    def say(self, level: LogLevel, message: str) -> None:
        """Print the message when its level is asked for."""
        from kata_bundle.core.clock import timestamp

        if level.value in self._shown:
            sys.stderr.write(f"{timestamp()} {level.value:<5} {message}\n")
            sys.stderr.flush()


def main(argv: list[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's) and return its exit status."""
    from kata_bundle.core.errors import BundleError
    from kata_bundle.node.actions import LogLevel, check_root_user, help_text, parse_arguments

    try:
        asked = parse_arguments(sys.argv[1:] if argv is None else argv)
    except BundleError as error:
        return _fail(error)
    if asked.action is None:
        sys.stdout.write(help_text())
        return 0
    from kata_bundle.node.termination import Termination

    termination = Termination()
    is_debug = os.environ.get("DEBUG", "").strip().lower() in {"true", "1"}
    log = _Log((asked.log_level or (LogLevel.DEBUG if is_debug else LogLevel.INFO)).value)
    try:
        check_root_user(os.geteuid())
        from kata_bundle.node.deploy.around import Around
        from kata_bundle.node.deploy.run import run

        again = [sys.executable, "-P", "-m", "kata_bundle.cli.deploy"]
        if asked.log_level is not None:
            again += ["--log-level", asked.log_level.value]
        return run(asked.action, Around.of_process(os.environ, log, again), termination)
    except (BundleError, OSError) as error:
        return _fail(error)


def _fail(error: Exception) -> int:
    from kata_bundle.core.errors import BundleError
    from kata_bundle.node.deploy.run import describe

    sys.stderr.write(f"error: {describe(error)}\n")
    if isinstance(error, BundleError):
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        return error.exit_code
    return 1


if __name__ == "__main__":
    sys.exit(main())
