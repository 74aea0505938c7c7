"""Markdown in one spelling: tables, code, escaped text. Must not know: what is described."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["code", "markdown_table"]


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return a table; a bar or line break in a cell does no harm. Columns whose numbers are in ``right`` are right-aligned."""
    to_right = set(right)
    rule = ["---:" if i in to_right else "---" for i in range(len(headers))]
    return "\n".join(_line(cells) for cells in (headers, rule, *rows))


def code(text: str) -> str:
    """Return ``text`` as inline code, also when it holds backticks."""
    if "`" not in text:
        return f"`{text}`"
    return f"`` {text} ``" if "``" not in text else f"``` {text} ```"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split("\n")).replace("|", "\\|") for cell in cells) + " |"
