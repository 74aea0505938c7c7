"""Text forms: sizes, tables, findings. One place, so that every command looks the same."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.diagnostics import Report
    from kata_bundle.oci.bundleindex import BundleLayer

__all__ = ["findings_text", "layers_table", "plural", "size_text", "table_text"]


def size_text(size_bytes: int) -> str:
    """Return a size with a binary prefix: ``512 B``, ``1.5 KiB``, ``640 MiB``."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """Return ``1 layer``, ``2 layers``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def table_text(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return an aligned plain-text table; columns whose numbers are in ``right`` are right-aligned."""
    lines = [tuple(headers), *(tuple(row) for row in rows)]
    to_right = set(right)
    widths = [max(_width(line[i]) for line in lines) for i in range(len(headers))]

    def cell(text: str, i: int) -> str:
        gap = " " * (widths[i] - _width(text))
        return gap + text if i in to_right else text + gap

    shown = ["  ".join(cell(text, i) for i, text in enumerate(line)).rstrip() for line in lines]
    shown.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(shown)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def findings_text(report: Report) -> str:
    """Return every finding as ``path:line:column: severity[code]: message``, with the line it is about and its hint."""
    lines = []
    for finding in report:
        span = finding.span
        place = f"{span.path}:{span.line}:{span.column or 1}" if span.line else span.path
        about = f"{span.key}: " if span.key else ""
        lines.append(f"{place}: {finding.severity}[{finding.code}]: {about}{finding.message}")
        source = report.source_line(span)
        if source is not None:
            lines += _excerpt(source, span.line, span.column, span.length)
        for other in finding.related:
            lines.append(f"see also {other}")
        if finding.hint:
            lines.append(f"hint: {finding.hint}")
    return "\n".join(lines)


_EXCERPT_WIDTH = 120


def _excerpt(source: str, line: int, column: int, length: int) -> list[str]:
    """Return the source line and the marker under it, cut to a readable width around the column."""
    before, marked = source[: column - 1], source[column - 1 : column - 1 + max(length, 1)] or " "
    after = source[column - 1 + len(marked) :]
    if len(source) > _EXCERPT_WIDTH and len(before) > _EXCERPT_WIDTH // 2:
        before = "…" + before[-_EXCERPT_WIDTH // 2 :]
    if len(marked) > _EXCERPT_WIDTH:
        marked, after = marked[:_EXCERPT_WIDTH] + "…", ""
    room = max(_EXCERPT_WIDTH - len(before) - len(marked), 0)
    if len(after) > room:
        after = after[:room] + "…"
    before, marked, after = _printable(before), _printable(marked), _printable(after)
    number = f"{line:>5} | "
    gap = " " * _width(before)
    return [f"{number}{before}{marked}{after}".rstrip(), f"{' ' * (len(number) - 2)}| {gap}{'^' * max(_width(marked), 1)}"]


def _printable(text: str) -> str:
    """Return ``text`` with tabs as one space and everything that would move a terminal's cursor as a replacement character."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in text)


def layers_table(rows: Iterable[tuple[BundleLayer, Arch, Sequence[str]]]) -> str:
    """Return the table of layers: component, architecture, sizes, real or fixture, version, and the shims that need it."""
    from kata_bundle.core.relpath import printable

    return table_text(
        ("component", "arch", "unpacked", "packed", "what it is", "version", "needed by"),
        [
            (
                layer.component,
                arch.value,
                size_text(layer.unpacked_size_bytes),
                size_text(layer.packed_size_bytes),
                "FIXTURE" if layer.origin == "fixture" else f"real ({layer.origin})",
                printable(layer.version or "unknown"),
                ", ".join(needed_by),
            )
            for layer, arch, needed_by in rows
        ],
        right=(2, 3),
    )
