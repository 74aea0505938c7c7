"""docs/findings has a page for each code of upstream trees, with an example that is what the program says; the reference lists
them all. Pages are written anew with ACCEPT=1."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

import pytest

from kata_bundle.cli.render import findings_text
from kata_bundle.core.diagnostics import Report
from kata_bundle.manifest.upstream.rules import TREE_RULES
from tests.fixtures.upstreamtrees import UpstreamFiles
from tests.unit.upstream.cases import BAD, OTHERS

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "reference" / "check-upstream.md"
_LONG = 160


def example(code: str) -> tuple[UpstreamFiles, UpstreamFiles, str]:
    """Return a tree without and with the mistake, and the change in words where it cannot be shown."""
    if code in OTHERS:
        tree, change, words = OTHERS[code]
        return UpstreamFiles(tree), change(UpstreamFiles(tree)), words
    case = next(case for case in BAD if case.code == code)
    return UpstreamFiles(case.tree), case.build(), ""


def difference(before: UpstreamFiles, after: UpstreamFiles) -> str:
    shown = []
    for name in sorted(after.content):
        old, new = (files.content.get(name, b"").decode().splitlines() for files in (before, after))
        if old != new and old:
            lines = difflib.unified_diff(old, new, name, name, lineterm="", n=1)
            shown += [line[:_LONG].rstrip() for line in lines if not line.startswith(("@@", "---"))]
    return "\n".join(["```diff", *shown, "```"])


def page(code: str) -> str:
    rule = TREE_RULES[code]
    meaning, _, rest = rule.explanation.partition("\n\nRepair: ")
    repair, _, alarm = rest.partition("\n\nFalse alarm: ")
    before, after, words = example(code)
    report = after.check().report
    shown = Report()
    for finding in [f for f in report if f.code == code][:1]:
        shown.add(finding)
        text = report.source(finding.span.path)
        if text is not None:
            shown.add_source(finding.span.path, text)
    assert len(shown) == 1, f"the example of {code} does not show it"
    return (
        "\n\n".join(
            [
                f"# {code}: {rule.title}",
                f"Severity: {rule.severity}. Found in upstream trees: [check --upstream](../reference/check-upstream.md).",
                "## What it means",
                meaning,
                "## Example",
                words or difference(before, after),
                f"```text\n{findings_text(shown)}\n```",
                "## How to repair it",
                repair[:1].upper() + repair[1:],
                "## When it is a false alarm",
                alarm[:1].upper() + alarm[1:],
            ]
        )
        + "\n"
    )


def agree(file: Path, text: str) -> None:
    if os.environ.get("ACCEPT"):
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"ACCEPT=1 writes {file.name}"
    assert text == file.read_text(encoding="utf-8"), f"ACCEPT=1 writes {file.name} anew"


@pytest.mark.parametrize("code", sorted(TREE_RULES))
def test_every_code_has_a_page_that_shows_what_the_program_says(code: str) -> None:
    agree(DOCS / "findings" / f"{code}.md", page(code))


def test_there_is_no_page_of_a_code_that_is_not_there() -> None:
    assert {path.stem for path in (DOCS / "findings").glob("KB[69]*.md")} == set(TREE_RULES)


def test_the_reference_lists_every_code() -> None:
    rows = "".join(
        f"| [{code}](../findings/{code}.md) | {TREE_RULES[code].title} | {TREE_RULES[code].severity} |\n"
        for code in sorted(TREE_RULES)
    )
    text = REFERENCE.read_text(encoding="utf-8")
    agree(REFERENCE, re.sub(r"(\| code \| what \| severity \|\n\|---\|---\|---\|\n)(?:\|.*\n)*", lambda m: m[1] + rows, text))
    assert rows in REFERENCE.read_text(encoding="utf-8")
