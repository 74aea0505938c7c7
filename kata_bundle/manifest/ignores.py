"""Accepted findings: ignores.toml names each with its reason.

Knows: findings. Must not know: what they are about. An ignore that matches nothing is itself a finding, so that the file cannot
outlive what it accepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Finding, Report, did_you_mean
from kata_bundle.manifest.rules.reading import IGNORE_REFUSED, IGNORE_UNUSED
from kata_bundle.manifest.rules.registry import REGISTRY

if TYPE_CHECKING:
    from kata_bundle.manifest.context import Checked
    from kata_bundle.manifest.models import IgnoreEntry, IgnoresDocument

__all__ = ["FILE_NAME", "apply_ignores"]

FILE_NAME = "ignores.toml"


def apply_ignores(report: Report, ignores: Checked[IgnoresDocument], folder: str, *, complete: bool) -> Report:
    """Take the accepted findings out of ``report`` and return them.

    ``complete`` says that every rule ran; only then is an ignore without a finding one too many.
    """
    accepted = Report()
    for i, entry in enumerate(ignores.model.ignore):
        where = ("ignore", i)
        known = REGISTRY.get(entry.code)
        if known is None or not known.acceptable:
            message = f'"{entry.code}" is not a finding that can be accepted'
            acceptable = [rule.code for rule in REGISTRY.values() if rule.acceptable]
            hint = f"acceptable: {', '.join(acceptable)}" if known else did_you_mean(entry.code, REGISTRY)
            span = ignores.document.span((*where, "code"))
            report.add(Finding(span=span, code=IGNORE_REFUSED, message=message, hint=hint))
            continue
        matching = [finding for finding in report if _matches(entry, finding, folder)]
        for finding in matching:
            report.remove(finding)
            accepted.add(finding)
        if not matching and complete:
            message = f'no finding {entry.code} about "{entry.about}" in {entry.path}'
            report.add(Finding(span=ignores.document.span(where), code=IGNORE_UNUSED, message=message))
    return accepted


def _matches(entry: IgnoreEntry, finding: Finding, folder: str) -> bool:
    return finding.code == entry.code and finding.span.path == f"{folder}/{entry.path}" and f'"{entry.about}"' in finding.message
