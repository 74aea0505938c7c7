"""Options that the commands working on an installed node share."""

from __future__ import annotations

from typing import Any

import click

from kata_bundle.cli.app import PathName
from kata_bundle.cli.quick import DEFAULT_DEST, DEFAULT_ROOT

__all__ = ["site_options"]


def site_options(function: Any) -> Any:
    """Add ``--root``, ``--dest`` and ``--suffix``; the command gets them under these names."""
    for option in (
        click.option("--suffix", metavar="S", help="Suffix of the install, for several side by side."),
        click.option(
            "--dest", metavar="DIR", default=DEFAULT_DEST, show_default=True, help="Install directory, as the host sees it."
        ),
        click.option(
            "--root",
            metavar="DIR",
            default=DEFAULT_ROOT,
            show_default=True,
            type=PathName(file_okay=False),
            help="Directory that stands for the host's root.",
        ),
    ):
        function = option(function)
    return function
