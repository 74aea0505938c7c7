"""The comment in front of a configuration that is managed here (installer specification §6, point 3).

Must not know which configuration.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MARKER", "with_header"]

MARKER: Final = "IMPORTANT: This file is managed by kata-deploy"
"""What other programs look for; an interface."""

_HEADER: Final = f"""\
# {MARKER}.
#
# Do not edit it: every install writes it anew, and changes are lost.
# Settings of your own belong into files in config.d/ beside it. They are read in
# alphabetical order, and what a later file says wins. Example: config.d/60-memory.toml
"""


def with_header(data: bytes) -> bytes:
    """Return ``data`` with the header and an empty line in front; unchanged when it has the header already."""
    return data if MARKER.encode() in data else f"{_HEADER}\n".encode() + data
