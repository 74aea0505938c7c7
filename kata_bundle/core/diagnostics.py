"""Findings: what is wrong with an input, as values that are collected, sorted and shown together."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Finding", "Report", "Severity", "Span", "did_you_mean"]


class Severity(StrEnum):
    """How bad a finding is. Errors make ``check`` exit with 3; warnings do not."""

    ERROR = "error"
    WARNING = "warning"


@record(order=True)
class Span:
    """A place in an input document.

    ``path`` is the file as the user named it, ``key`` the dotted key path inside it (empty for the whole document); ``line``
    and ``column`` count from 1 and are 0 where they are not known; ``length`` is how many characters of that line are meant.
    """

    path: str
    line: int = 0
    column: int = 0
    key: str = ""
    length: int = 0

    def __str__(self) -> str:
        place = self.path
        if self.line:
            place += f":{self.line}:{self.column or 1}"
        return f"{place}: {self.key}" if self.key else place


@record(order=True)
class Finding:
    """One thing wrong: a stable ``code`` (``KB101``), what was expected and found, where, and what to do about it."""

    span: Span
    code: str
    message: str
    severity: Severity = Severity.ERROR
    hint: str | None = None
    related: tuple[Span, ...] = ()
    """Other places that the finding is about: where the two sides of a contradiction stand apart."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: code, severity, message, hint, path, line, column, key, related places."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "message": self.message,
            "hint": self.hint,
            "path": self.span.path,
            "line": self.span.line,
            "column": self.span.column,
            "key": self.span.key,
            "related": [{"path": span.path, "line": span.line, "column": span.column, "key": span.key} for span in self.related],
        }


@record(kw_only=False, frozen=False)
class Report:
    """An ordered collection of findings without repeats, and the texts they are about."""

    _findings: set[Finding] = field(default_factory=set)
    _sources: dict[str, str] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Record ``finding``."""
        self._findings.add(finding)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Record all ``findings``."""
        self._findings.update(findings)

    def remove(self, finding: Finding) -> None:
        """Forget ``finding``."""
        self._findings.discard(finding)

    def add_source(self, path: str, text: str) -> None:
        """Remember the text of the document that findings call ``path``, for :meth:`source_line`."""
        self._sources[path] = text

    def source(self, path: str) -> str | None:
        """Return the text of the document that findings call ``path``; ``None`` where it is not known."""
        return self._sources.get(path)

    def source_line(self, span: Span) -> str | None:
        """Return the line that ``span`` is on, without its end; ``None`` where it is not known."""
        if not span.line or span.path not in self._sources:
            return None
        lines = self._sources[span.path].split("\n")
        return lines[span.line - 1].rstrip("\r") if span.line <= len(lines) else None

    def __iter__(self) -> Iterator[Finding]:
        return iter(sorted(self._findings, key=lambda f: (f.span, f.code, f.message, f.related)))

    def __len__(self) -> int:
        return len(self._findings)

    @property
    def errors(self) -> int:
        """Number of findings of severity error."""
        return sum(f.severity is Severity.ERROR for f in self._findings)

    @property
    def warnings(self) -> int:
        """Number of findings of severity warning."""
        return len(self) - self.errors


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean "x"?`` for the closest of ``known``, or ``None`` when nothing is close."""
    import difflib

    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None
