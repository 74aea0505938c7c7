"""Repairs that need no judgement: what a finding says is taken out or respelt, and nothing else of the text changes.

Knows: findings and texts. Must not know: files, rules. A repair that would lose a comment, or whose result is not exactly the old
data with the intended change, is not made.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.positions import LineIndex
from kata_bundle.manifest.rules.reading import IGNORE_UNUSED
from kata_bundle.manifest.validation import NOT_ALLOWED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kata_bundle.core.diagnostics import Finding

__all__ = ["FIXABLE", "Fixed", "fix_text"]

_TWICE = "KB205"
_ABSENT = "KB272"
_EXISTS = re.compile(r'^"[^"]+" (exists|is not read here), so it is not absent$')


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixed:
    """A text after repairs, and the findings that were repaired."""

    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def fix_text(path: str, text: str, findings: Iterable[Finding]) -> Fixed:
    """Return ``text``, the document that findings call ``path``, with every one of ``findings`` repaired that can be."""
    done: list[Finding] = []
    # From the end, so that places before an edit stay right. Two findings about one place are repaired in two runs.
    for finding in sorted(findings, key=lambda f: (f.span.line, f.span.column), reverse=True):
        make = FIXABLE.get(finding.code)
        if make is None or finding.span.path != path or (done and done[-1].span.line == finding.span.line):
            continue
        edit = make(text, finding)
        if edit is None:
            continue
        result = text[: edit.start] + edit.text + text[edit.end :]
        if _is_as_intended(path, text, result, finding):
            text = result
            done.append(finding)
    return Fixed(text=text, findings=tuple(reversed(done)))


def _bounds(text: str, finding: Finding) -> tuple[int, int]:
    start = LineIndex(text).offset(finding.span.line, finding.span.column)
    return start, start + finding.span.length


def _without_item(text: str, finding: Finding) -> _Edit | None:
    """Return the edit that takes a list's item out, with its comma, and with its line when it stands there alone."""
    start, end = _bounds(text, finding)
    after = re.compile(r"[ \t]*,").match(text, end)
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    rest = text[after.end() if after else end : line_end].strip()
    if rest.startswith("#"):
        return None  # a remark about the item would be left without it
    if after is not None:
        if not text[line_start:start].strip() and not rest:
            return _Edit(line_start, min(line_end + 1, len(text)), "")
        spaces = re.compile(r"[ \t]*").match(text, after.end())
        return _Edit(start, spaces.end() if spaces else after.end(), "")
    before = re.search(r",[ \t]*$", text[:start]) or re.search(r",[ \t]*\r?\n[ \t]*$", text[:start])
    return None if before is None else _Edit(before.start(), end, "")


def _without_table(text: str, finding: Finding) -> _Edit | None:
    """Return the edit that takes out the table whose header stands at the finding, with the blank line before it."""
    start = text.rfind("\n", 0, _bounds(text, finding)[0]) + 1
    following = re.compile(r"^[ \t]*\[", re.MULTILINE).search(text, text.find("\n", start) + 1 or len(text))
    end = following.start() if following else len(text)
    if "#" in re.sub(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', "", text[start:end]):
        return None
    if following is None:
        blank = re.search(r"(\r?\n)+$", text[:start])
        return _Edit(blank.start() + (2 if text.startswith("\r\n", blank.start()) else 1) if blank else start, end, "")
    return _Edit(start, end, "")


def _uname(text: str, finding: Finding) -> _Edit | None:
    """Return the edit that spells an architecture as uname does."""
    start, end = _bounds(text, finding)
    found = text[start:end]
    name = found.strip("\"'")
    for arch in Arch:
        if name in {arch.go_name, arch.debian_name} and name != arch.value:
            return _Edit(start, end, found.replace(name, arch.value))
    return None


def _absent(text: str, finding: Finding) -> _Edit | None:
    return _without_item(text, finding) if _EXISTS.match(finding.message) else None


FIXABLE: dict[str, Callable[[str, Finding], _Edit | None]] = {
    _TWICE: _without_item,
    _ABSENT: _absent,
    IGNORE_UNUSED: _without_table,
    NOT_ALLOWED: _uname,
}
"""Codes of findings that may be repairable, with what makes the edit."""


def _is_as_intended(path: str, before: str, after: str, finding: Finding) -> bool:
    """Return whether the edit changed one value, and no comment."""
    try:
        old, new = _data(path, before), _data(path, after)
    except ValueError:
        return False
    changes = _changes(old, new)
    comments = (_comments(before), _comments(after)) if not path.endswith(".json") else (0, 0)
    return changes == 1 and comments[0] == comments[1] and finding.code in FIXABLE


def _data(path: str, text: str) -> object:
    return json.loads(text) if path.endswith(".json") else tomllib.loads(text)


def _comments(text: str) -> int:
    return len(re.findall(r"^[^\"'\n#]*(?:(?:\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')[^\"'\n#]*)*#", text, re.MULTILINE))


def _changes(old: object, new: object) -> int:  # noqa: PLR0911 - one return a kind of value
    """Return how many items are gone or respelt; 99 for anything else."""
    if old == new:
        return 0
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) == list(new):
            return sum(_changes(old[key], new[key]) for key in old)
        gone, came = [key for key in old if key not in new], [key for key in new if key not in old]
        if len(gone) == 1 and len(came) <= 1 and all(old[key] == new[key] for key in new if key in old):
            return 1 if not came or old[gone[0]] == new[came[0]] else 99
        return 99
    if isinstance(old, list) and isinstance(new, list):
        if len(old) == len(new):
            return sum(_changes(*pair) for pair in zip(old, new, strict=True))
        short = (old[:i] + old[i + 1 :] for i in range(len(old)))
        return 1 if len(old) == len(new) + 1 and any(candidate == new for candidate in short) else 99
    return 1 if isinstance(old, str) and isinstance(new, str) else 99
