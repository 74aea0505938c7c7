"""Differences as text for a terminal, and the words that the other forms share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.cli.render import plural, size_text
from kata_bundle.plan.diff import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.plan.diff import Change, Difference, DiffReport, FileChange
    from kata_bundle.plan.size import Weight

__all__ = [
    "TITLES",
    "change_text",
    "diff_text",
    "files_text",
    "growth_text",
    "most_telling",
    "name_text",
    "value_text",
    "weights_text",
]

TITLES = {
    Subject.SHIM: "Shims",
    Subject.COMPONENT: "Components",
    Subject.RUNTIME_CLASS: "RuntimeClasses",
    Subject.DEFAULTS: "Defaults",
    Subject.RELEASE: "Release",
}
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_IDENTITIES = frozenset({"tree", "packed", "diff_id", "rule_key", "action", "table"})
"""Facts that follow from others and say nothing to people."""


def diff_text(report: DiffReport, *, files: int) -> str:
    """Return ``report`` as text: what was added, removed and changed, with at most ``files`` files a component."""
    if report.is_equal:
        return f"{report.old} and {report.new} are equal"
    lines = []
    for subject, title in TITLES.items():
        found = report.of(subject)
        if found:
            counts = [f"{n} {change}" for change in ("added", "removed", "changed") if (n := len(report.of(subject, change)))]
            lines.append(f"{title}: {', '.join(counts)}")
            for difference in found:
                lines += _difference(difference, files)
            lines.append("")
    if report.old_weight is not None and report.new_weight is not None:
        lines.append(f"packed   {growth_text(report.old_weight.packed_bytes, report.new_weight.packed_bytes)}")
        lines.append(f"unpacked {growth_text(report.old_weight.unpacked_bytes, report.new_weight.unpacked_bytes)}")
    if report.new_layers is not None:
        lines.append(f"layers that the old one lacks: {size_text(report.new_layers.packed_bytes)} packed")
    return "\n".join(lines).rstrip("\n")


def _difference(difference: Difference, files: int) -> Iterator[str]:
    head = f"  {_SIGNS[difference.change]} {name_text(difference)}"
    if difference.change != "changed":
        words = most_telling(difference)
        yield f"{head}  {words}" if words else head
        return
    yield head + ("  same content, repacked" if difference.is_repacked else "")
    for change in difference.changes:
        if change.key not in _IDENTITIES:
            yield f"      {change.key}: {change_text(change)}"
    if not any(change.key not in _IDENTITIES for change in difference.changes) and difference.fact("rule_key"):
        yield "      made from other inputs"
    old, new = difference.old_weight, difference.new_weight
    if old is not None and new is not None and old != new:
        yield f"      size: {weights_text(old, new)}"
    shown, hidden = files_text(difference.files or (), files)
    yield from (f"      {line}" for line in shown)
    if hidden:
        yield f"      and {plural(hidden, 'file')} more"


def name_text(difference: Difference) -> str:
    """Return what a difference is about: its name, and the architecture where there is one."""
    name = _printable(difference.key.name)
    return f"{name} ({difference.key.arch})" if difference.key.arch else name


def most_telling(difference: Difference) -> str:
    """Return a few facts of an added or removed item: version, size, components, overhead."""
    side = "new" if difference.change == "added" else "old"
    facts: dict[str, Any] = {change.key: getattr(change, side) for change in difference.changes}
    weight = difference.new_weight or difference.old_weight
    words = []
    if facts.get("pins") is not None:
        words.append(value_text(facts["kind"]))
    if facts.get("version"):
        words.append(_printable(str(facts["version"])))
    if weight is not None:
        words.append(f"{size_text(weight.packed_bytes)} packed, {size_text(weight.unpacked_bytes)} unpacked")
    if facts.get("components"):
        words.append(value_text(facts["components"]))
    if facts.get("pins"):
        words.append(value_text(facts["pins"]))
    memory, cpu = (facts.get(key) or facts.get(f"overhead.{key}") for key in ("memory", "cpu"))
    if memory and cpu:
        words.append(f"overhead {value_text(memory)}, {value_text(cpu)}")
    return "; ".join(words)


def change_text(change: Change) -> str:
    """Return a change in words: items of a list that came and went, members of an object that differ, otherwise old → new."""
    if isinstance(change.old, list) and isinstance(change.new, list):
        gone = [f"-{value_text(item)}" for item in change.old if item not in change.new]
        come = [f"+{value_text(item)}" for item in change.new if item not in change.old]
        return ", ".join([*come, *gone]) or "another order"
    if isinstance(change.old, dict) and isinstance(change.new, dict):
        keys = [key for key in dict.fromkeys([*change.new, *change.old]) if change.old.get(key) != change.new.get(key)]
        return ", ".join(f"{key} {value_text(change.old.get(key))} → {value_text(change.new.get(key))}" for key in keys)
    return f"{value_text(change.old)} → {value_text(change.new)}"


def value_text(value: JsonValue) -> str:
    """Return a fact's value for people."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(value_text, value)) or "none"
        case dict():
            return ", ".join(f"{key} {value_text(item)}" for key, item in value.items()) or "none"
        case _:
            return _printable(str(value))


def growth_text(old: int, new: int) -> str:
    """Return two sizes and what lies between them: ``24.5 MiB → 25.0 MiB (+512 KiB)``."""
    if old == new:
        return f"{size_text(new)} (the same)"
    sign = "+" if new > old else "-"
    return f"{size_text(old)} → {size_text(new)} ({sign}{size_text(abs(new - old))})"


def weights_text(old: Weight, new: Weight) -> str:
    """Return packed and unpacked growth."""
    packed = growth_text(old.packed_bytes, new.packed_bytes)
    return f"packed {packed}, unpacked {growth_text(old.unpacked_bytes, new.unpacked_bytes)}"


def files_text(files: Sequence[FileChange], limit: int) -> tuple[list[str], int]:
    """Return lines for the ``limit`` files with the greatest change in size, by path, and how many are left out."""
    weighty = sorted(files, key=lambda file: -max(file.old_bytes or 0, file.new_bytes or 0))[:limit]
    kept = {file.path for file in weighty}
    return [_file(file) for file in files if file.path in kept], len(files) - len(kept)


def _printable(text: str) -> str:
    """Return ``text`` without what would move a terminal's cursor: it may come from a stranger's bundle."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _file(file: FileChange) -> str:
    path = _printable(file.path)
    match file.change:
        case "added":
            size = "" if file.new_bytes is None else f"  {size_text(file.new_bytes)}"
            return f"+ {path}{size}"
        case "removed":
            size = "" if file.old_bytes is None else f"  {size_text(file.old_bytes)}"
            return f"- {path}{size}"
        case "content":
            return f"~ {path}  {growth_text(file.old_bytes or 0, file.new_bytes or 0)}"
        case _:
            return f"~ {path}  other {file.change}"
