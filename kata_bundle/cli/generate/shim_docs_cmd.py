"""``kata-bundle generate shim-docs``."""

from __future__ import annotations

from kata_bundle.cli.generate.output import artefact_command

__all__ = ["command"]

command = artefact_command(
    "shim-docs",
    "Write a documentation page per shim, and their index; pages of shims that are gone are removed.",
    "  kata-bundle generate shim-docs -o docs/shims",
)
