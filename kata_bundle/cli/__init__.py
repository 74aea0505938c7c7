"""Command line: parse, call one function, render. The only room that prints.

Nothing but ``os`` and ``sys`` is imported until the arguments were looked at, and nothing but click until a command runs, so that
``--version``, ``--help``, shell completion and an install with nothing to do cost little more than the interpreter. A plainly
spelled install does without click.
"""

import os
import sys

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's) and return its exit code (design: 0, 1 … 12, 130)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["--version"], ["-V"]):
        from kata_bundle import __version__

        sys.stdout.write(f"kata-bundle {__version__}\n")
        return 0
    if arguments[:1] == ["install"]:
        from kata_bundle.cli.quick import answer

        code = answer(arguments[1:])
        if code is None and "_KATA_BUNDLE_COMPLETE" not in os.environ:
            from kata_bundle.cli.direct import install

            code = install(arguments[1:])
        if code is not None:
            return code
    from kata_bundle.cli.root import run

    return run(arguments)
