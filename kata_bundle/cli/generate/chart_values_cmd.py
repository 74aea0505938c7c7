"""``kata-bundle generate chart-values``."""

from __future__ import annotations

from kata_bundle.cli.generate.output import artefact_command

__all__ = ["command"]

command = artefact_command(
    "chart-values",
    "Write the sections of a chart's values that the catalog decides: shims, default shims, RuntimeClasses.",
    "  kata-bundle generate chart-values -o values.yaml",
)
