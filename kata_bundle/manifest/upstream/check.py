"""Check an upstream tree: read it, run the rules, and compare with what an earlier revision had.

Knows: the order of things. Must not know: readers, rules, the command line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Finding, Report
from kata_bundle.core.record import replace
from kata_bundle.manifest.upstream.rules import run_tree_rules
from kata_bundle.manifest.upstream.tree import read_tree

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.facts import UpstreamTree
    from kata_bundle.manifest.upstream.source import Files

__all__ = ["Checked", "check_tree", "new_findings", "relocated"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A tree, and everything found in it."""

    tree: UpstreamTree
    report: Report
    names: frozenset[str]


def check_tree(files: Files, *, ask_make: bool = False) -> Checked:
    """Return the facts of a tree and all findings: those of reading it and those of the rules. Paths are relative to the tree.

    With ``ask_make``, make itself is started in a sandbox to say what variables are.
    """
    tree, report, reading = read_tree(files, ask_make=ask_make)
    run_tree_rules(tree, report)
    for path in {finding.span.path for finding in report}:
        reading.text(path)  # so that excerpts can be shown
    return Checked(tree=tree, report=report, names=files.names)


def new_findings(now: Checked, before: Checked) -> Report:
    """Return the findings of ``now`` that ``before`` did not have.

    Lines move, so a finding is the same when code, message and file are; a file that moved is looked for by its name. What
    stands behind a semicolon says why, and may change without the finding being another. The same thing said twice in a file
    counts twice.
    """
    moved = {name.rsplit("/", 1)[-1] for name in before.names - now.names}

    def identity(finding: Finding) -> tuple[str, str, str]:
        name = finding.span.path.rsplit("/", 1)[-1]
        return finding.code, finding.message.partition("; ")[0], name if name in moved else finding.span.path

    old = Counter(identity(finding) for finding in before.report)
    report = Report()
    for finding in now.report:
        key = identity(finding)
        if old[key] > 0:
            old[key] -= 1
        else:
            report.add(finding)
            _keep_source(now.report, report, finding)
    return report


def _keep_source(source: Report, target: Report, finding: Finding) -> None:
    text = source.source(finding.span.path)
    if text is not None:
        target.add_source(finding.span.path, text)


def relocated(report: Report, prefix: str) -> Report:
    """Return ``report`` with ``prefix`` before every path, as the person named the tree."""
    if not prefix:
        return report
    result = Report()
    for finding in report:
        span, *related = (replace(place, path=f"{prefix}/{place.path}") for place in (finding.span, *finding.related))
        result.add(replace(finding, span=span, related=tuple(related)))
        text = report.source(finding.span.path)
        if text is not None:
            result.add_source(span.path, text)
    return result
