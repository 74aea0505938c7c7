"""docs/findings has one page a code, with an example that is what the program says. Pages are written anew with ACCEPT=1."""

import difflib
import os
from pathlib import Path

import pytest

from kata_bundle.cli.render import findings_text
from kata_bundle.core.diagnostics import Report
from kata_bundle.manifest.fixes import FIXABLE
from kata_bundle.manifest.rules import REGISTRY
from tests.unit.manifest.cases import BAD, READING, WEIGHTS

PAGES = Path(__file__).parents[3] / "docs" / "findings"
CODES = sorted(code for code in REGISTRY if code < "KB600")
EXAMPLES = {code: edit for code, *edit in reversed([*READING, *((c, f, o, n) for c, f, o, n, *_ in BAD)])}


def parts(code):
    """Return what the code means, how it is repaired, and when it is a false alarm."""
    meaning, _, rest = REGISTRY[code].explanation.partition("\n\nRepair: ")
    repair, _, alarm = rest.partition("\n\nFalse alarm: ")
    assert meaning, code
    assert repair, f"{code}: its explanation has no paragraph that begins with Repair:"
    assert alarm, f"{code}: its explanation has no paragraph that begins with False alarm:"
    return meaning, repair, alarm


def sentence(text):
    return text[:1].upper() + text[1:]


def change(folder, file, before):
    path = folder.path / file
    name = os.path.normpath(f"manifests/{file}")
    after = path.read_bytes().decode(errors="replace") if path.exists() else ""
    lines = [line[:160] for line in difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=1)]
    if not after or not before:
        return f"{name} is {'removed' if not after else 'added'}."
    if after == before:
        return "A bundle whose kernel is packed in 61 MiB on x86_64 is weighed."
    return "\n".join(["```diff", *(line for line in lines[2:] if not line.startswith("@@")), "```"])


def page(folder, code):
    rule = REGISTRY[code]
    meaning, repair, alarm = parts(code)
    file, old, new = EXAMPLES[code]
    path = folder.path / file
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    folder.edit(file, old, new)
    report = folder.load(WEIGHTS.get(code)).report
    shown = Report()
    for finding in [f for f in report if f.code == code][:1]:
        shown.add(finding)
        if (text := report.source(finding.span.path)) is not None:
            shown.add_source(finding.span.path, text)
    assert len(shown) == 1, f"the example of {code} does not show it"
    kind = [f"Severity: {rule.severity}."]
    kind.append("It can be accepted, with a reason, in `ignores.toml`." if rule.acceptable else "It cannot be accepted.")
    if code in FIXABLE:
        kind.append("`kata-bundle check --fix` repairs it where that needs no judgement.")
    return (
        "\n\n".join(
            [
                f"# {code}: {rule.title}",
                " ".join(kind),
                "## What it means",
                meaning,
                "## Example",
                change(folder, file, before),
                "```text\n" + findings_text(shown) + "\n```",
                "## How to repair it",
                sentence(repair),
                "## When it is a false alarm",
                sentence(alarm),
            ]
        )
        + "\n"
    )


def index():
    rows = [f"| [{code}]({code}.md) | {REGISTRY[code].title} | {REGISTRY[code].severity} |" for code in CODES]
    return "\n".join(
        [
            "# Findings",
            "",
            "What `kata-bundle check` says about manifests, one page a code. `kata-bundle check --explain CODE` says the same.",
            "[survivors.md](survivors.md) has the mistakes that no code finds.",
            "KB6xx and KB9xx are about [upstream trees](../reference/check-upstream.md).",
            "",
            "| code | what | severity |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def agree(name, text):
    file = PAGES / name
    if os.environ.get("ACCEPT"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"ACCEPT=1 writes {name}"
    assert text == file.read_text(encoding="utf-8"), f"ACCEPT=1 writes {name} anew"


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_page_that_shows_what_the_program_says(folder, code):
    agree(f"{code}.md", page(folder, code))


def test_the_index_has_every_code_and_there_is_no_page_of_none():
    agree("README.md", index())
    pages = {path.stem for path in PAGES.glob("KB[1-5]*.md")}
    assert pages == set(CODES)


def test_every_code_has_an_example():
    assert EXAMPLES.keys() >= set(CODES)
