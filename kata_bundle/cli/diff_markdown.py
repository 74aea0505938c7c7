"""Differences as Markdown for a release note."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.cli.diff_text import TITLES, change_text, files_text, growth_text, most_telling, name_text, weights_text
from kata_bundle.cli.render import plural, size_text
from kata_bundle.generate.markdown import code, markdown_table
from kata_bundle.plan.diff import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kata_bundle.plan.diff import Difference, DiffReport

__all__ = ["diff_markdown"]

_HIDDEN = frozenset({"tree", "packed", "diff_id", "rule_key", "action", "recipe", "hermetic", "table"})


def diff_markdown(report: DiffReport, *, files: int) -> str:
    """Return ``report`` as Markdown: a section per kind of thing, tables of what changed, files folded away."""
    lines = [f"# Changes from {code(report.old)} to {code(report.new)}", ""]
    if report.is_equal:
        return "\n".join([*lines, "Nothing differs.", ""])
    lines += _summary(report)
    for subject, title in TITLES.items():
        if report.of(subject):
            lines += [f"## {title}", "", *_section(report.of(subject), subject), ""]
    if files:
        lines += _files(report, files)
    return "\n".join(lines).rstrip("\n") + "\n"


def _summary(report: DiffReport) -> Iterator[str]:
    if report.old_weight is None or report.new_weight is None or report.new_layers is None:
        return
    yield f"Packed {growth_text(report.old_weight.packed_bytes, report.new_weight.packed_bytes)}, "
    yield f"unpacked {growth_text(report.old_weight.unpacked_bytes, report.new_weight.unpacked_bytes)}."
    yield f"Layers that the old one lacks: {size_text(report.new_layers.packed_bytes)} packed."
    yield ""


def _section(differences: Sequence[Difference], subject: Subject) -> Iterator[str]:
    for change, title in (("added", "Added"), ("removed", "Removed")):
        found = [d for d in differences if d.change == change]
        if found:
            yield f"{title}:"
            yield ""
            for difference in found:
                words = most_telling(difference)
                yield f"- {code(name_text(difference))}" + (f": {words}" if words else "")
            yield ""
    changed = [d for d in differences if d.change == "changed"]
    if changed:
        yield markdown_table((subject.value, "what", "change"), [row for d in changed for row in _rows(d)])


def _rows(difference: Difference) -> Iterator[tuple[str, str, str]]:
    name = code(name_text(difference))
    rows = [(change.key, change_text(change)) for change in difference.changes if change.key not in _HIDDEN]
    if difference.is_repacked:
        rows.append(("layer", "same content, repacked"))
    elif difference.files:
        rows.append(("content", _counts(difference)))
    elif difference.fact("tree"):
        rows.append(("content", "differs"))
    if difference.old_weight is not None and difference.new_weight is not None and difference.old_weight != difference.new_weight:
        rows.append(("size", weights_text(difference.old_weight, difference.new_weight)))
    for key, text in rows or [("inputs", "made from other inputs")]:
        yield name, key, text


def _counts(difference: Difference) -> str:
    files = difference.files or ()
    counts = {"added": 0, "removed": 0, "changed": 0}
    for file in files:
        counts[file.change if file.change in counts else "changed"] += 1
    return ", ".join(f"{plural(n, 'file')} {change}" for change, n in counts.items() if n)


def _files(report: DiffReport, files: int) -> Iterator[str]:
    for difference in report.of(Subject.COMPONENT, "changed"):
        if difference.files:
            shown, hidden = files_text(difference.files, files)
            yield f"<details><summary>Files of {name_text(difference)}</summary>"
            yield ""
            yield "```diff"
            yield from (line.replace("~", "!", 1) if line.startswith("~") else line for line in shown)
            if hidden:
                yield f"# and {plural(hidden, 'file')} more"
            yield "```"
            yield ""
            yield "</details>"
            yield ""
