"""``kata-bundle generate chart-schema``."""

from __future__ import annotations

from kata_bundle.cli.generate.output import artefact_command

__all__ = ["command"]

command = artefact_command(
    "chart-schema",
    "Write values.schema.json for the sections of a chart's values that the catalog decides.",
    "  kata-bundle generate chart-schema -o chart/values.schema.json",
)
