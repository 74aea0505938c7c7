"""``kata-bundle generate node-facts``."""

from __future__ import annotations

from kata_bundle.cli.generate.output import artefact_command

__all__ = ["command"]

command = artefact_command(
    "node-facts",
    "Write what an installer knows about shims: sections, families, programs, defaults, overheads.",
    "  kata-bundle generate node-facts --check",
)
