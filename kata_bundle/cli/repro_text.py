"""What ``kata-bundle repro`` shows: verdicts as text, and as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.build.repro import Condition
from kata_bundle.cli.render import plural, table_text
from kata_bundle.core.relpath import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.build import Rulebook, Target
    from kata_bundle.build.repro import Verdict
    from kata_bundle.cli.repro_cmd import Checked

__all__ = ["dry_text", "markdown_text", "verdicts_text"]

_SHOWN = 20


def dry_text(book: Rulebook, targets: Sequence[Target], conditions: frozenset[Condition]) -> str:
    """Return what would be made twice."""
    rows = [(one.component, one.arch.value, book.recipe(one).kind.value) for one in targets]
    changed = "\n".join(f"  {one}: {one.text}" for one in sorted(conditions)) or "  nothing"
    table = table_text(("component", "arch", "from"), rows)
    return f"{table}\n\nwould make {plural(len(rows), 'component')} twice; changed for the second build:\n{changed}"


def verdicts_text(checked: Sequence[Checked]) -> str:
    """Return each verdict with its differences, and what was changed."""
    lines = []
    for one in checked:
        if one.verdict is None:
            lines.append(f"{one.target.text}: could not be made: {one.error}")
            continue
        lines += _verdict(one.target.text, "tree", one.verdict)
        if one.layer is not None:
            lines += _verdict(one.target.text, "layer", one.layer)
        if one.kept is not None:
            lines.append(f"  both trees: {one.kept}")
        if one.diffoscope:
            lines += [f"  {line}" for line in one.diffoscope.splitlines()]
    same = sum(one.is_same for one in checked)
    lines += ["", f"{plural(len(checked), 'component')}: {same} reproducible, {len(checked) - same} not"]
    reasons = {f"{name}: {reason}": None for one in checked if one.verdict for name, reason in one.verdict.variation.left.items()}
    lines += [f"not varied: {reason}" for reason in reasons]
    return "\n".join(lines)


def _verdict(name: str, what: str, verdict: Verdict) -> list[str]:
    walls = "" if verdict.is_hermetic else " (made without walls)"
    if verdict.is_same:
        digest = verdict.first.digest if what == "tree" else _only_digest(verdict)
        changed = ", ".join(one for one in sorted(verdict.variation.varied)) or "nothing"
        return [f"{name}: same {what} {digest}{walls}, changed: {changed}"]
    if verdict.failure:
        lines = [f"{name}: the second build failed{walls}: {verdict.failure}"]
    else:
        lines = [f"{name}: {what}s differ at {plural(len(verdict.differences), 'path')}{walls}"]
        if verdict.second is not None and verdict.second.digest == verdict.first.digest:
            lines = [f"{name}: both builds made {verdict.first.digest}, the store remembers {verdict.stored}"]
    lines += [f"  {printable(one.path)}: {printable(one.text)}" for one in verdict.differences[:_SHOWN]]
    if len(verdict.differences) > _SHOWN:
        lines.append(f"  … and {len(verdict.differences) - _SHOWN} more; --json has them all")
    if verdict.causes:
        lines.append(f"  what made the difference: {', '.join(verdict.causes)}")
    return lines


def _only_digest(verdict: Verdict) -> str:
    return ", ".join(getattr(entry, "digest", "") for entry in verdict.first.entries.values())


def markdown_text(checked: Sequence[Checked]) -> str:
    """Return a table with a row for each component; beside real ones, stand-ins that came out the same are only named."""
    stand_ins = [one for one in checked if one.is_same and one.verdict is not None and one.verdict.kind == "fixture"]
    if len(stand_ins) == len(checked):
        stand_ins = []
    rows = ["| component | architecture | made by | version | tree | layer | changed |", "|---|---|---|---|---|---|---|"]
    for one in checked:
        if one in stand_ins:
            continue
        verdict, kind, tree, layer, changed = one.verdict, "", "could not be made", "", ""
        if verdict is not None:
            kind, tree = verdict.kind, _cell(verdict)
            layer = "" if one.layer is None else _cell(one.layer)
            changed = _changed(verdict)
        rows.append(f"| {' | '.join((one.target.component, one.target.arch.value, kind, one.version, tree, layer, changed))} |")
    if stand_ins:
        names: dict[str, list[str]] = {}
        for one in stand_ins:
            names.setdefault(one.target.component, []).append(one.target.arch.value)
        listed = ", ".join(f"{name} ({', '.join(arches)})" for name, arches in names.items())
        rows += ["", f"The same, too: {plural(len(stand_ins), 'fixture')}, which are stand-ins: {listed}."]
    return "\n".join(rows)


def _changed(verdict: Verdict) -> str:
    left, varied = verdict.variation.left, sorted(verdict.variation.varied)
    if len(varied) + len(left) < len(Condition):
        return ", ".join(varied) or "nothing"
    return f"everything but {', '.join(sorted(left))}" if left else "everything"


def _cell(verdict: Verdict) -> str:
    if verdict.is_same:
        return f"same `{(verdict.first.digest if verdict.kind != 'layer' else _only_digest(verdict))[7:19]}`"
    if verdict.failure:
        return "second build failed"
    causes = f" ({', '.join(verdict.causes)})" if verdict.causes else ""
    return f"**differs** at {plural(len(verdict.differences), 'path')}{causes}"
