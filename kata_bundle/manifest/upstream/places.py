"""Where a setting stands in a configuration template.

Knows: TOML's headers and keys, line by line. Must not know: values. A template is not TOML before its variables are replaced, so
it cannot be parsed; its lines are those of the configuration made of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Span

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.facts import Template

__all__ = ["line_span", "setting_line", "setting_span", "variable_of"]

_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
_VARIABLE = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)@")


def line_span(template: Template, line: int, key: str = "") -> Span:
    """Return the place of a line of ``template``, without its indentation."""
    text = template.lines[line - 1] if 0 < line <= len(template.lines) else ""
    stripped = text.strip()
    indent = len(text) - len(text.lstrip())
    return Span(path=template.path, line=line, column=indent + 1, key=key, length=max(len(stripped), 1))


def setting_line(template: Template, table: str, key: str) -> int | None:
    """Return the line that sets ``key`` in ``table`` (a prefix such as ``hypervisor``), the first one when there are several."""
    current = ""
    for number, line in enumerate(template.lines, 1):
        if line.lstrip().startswith("#"):
            continue
        header = _HEADER.match(line)
        if header is not None:
            current = header.group(1)
            continue
        match = _KEY.match(line)
        if match is not None and match.group(1) == key and _within(current, table):
            return number
    return None


def _within(header: str, table: str) -> bool:
    """Return whether a table is ``table`` or below it. A part of a header that a variable gives may be anything."""
    parts = [part for part in table.split(".") if part]
    mine = [part.strip() for part in header.split(".")]
    return len(mine) >= len(parts) and all(
        m == p or _VARIABLE.fullmatch(m) is not None for m, p in zip(mine, parts, strict=False)
    )


def setting_span(template: Template, table: str, key: str) -> Span:
    """Return the place of the value of ``key`` in ``table``; of the table, or the whole template, when it is not set."""
    line = setting_line(template, table, key)
    if line is None:
        for number, text in enumerate(template.lines, 1):
            header = _HEADER.match(text)
            if header is not None and table and not text.lstrip().startswith("#") and _within(header.group(1), table):
                return line_span(template, number, table)
        return line_span(template, 1)
    text = template.lines[line - 1]
    start = text.index("=") + 1
    value = text[start:]
    column = start + len(value) - len(value.lstrip()) + 1
    return Span(path=template.path, line=line, column=column, key=f"{table}.{key}", length=max(len(value.strip()), 1))


def variable_of(template: Template, table: str, key: str) -> str | None:
    """Return the make variable that a setting's value comes from, ``None`` when it is written out or made of several."""
    line = setting_line(template, table, key)
    if line is None:
        return None
    found = _VARIABLE.findall(template.lines[line - 1])
    return found[0] if len(found) == 1 else None
