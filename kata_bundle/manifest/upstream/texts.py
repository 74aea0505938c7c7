"""The reader's hands: files of a tree as text with places, documents, and what was not understood.

Knows: how a tree is read and how a place in it is named. Must not know: what any file means.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Finding, Report, Severity, Span
from kata_bundle.manifest.document import Document, parse_document
from kata_bundle.manifest.positions import LineIndex
from kata_bundle.manifest.upstream import codes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.upstream.facts import Item
    from kata_bundle.manifest.upstream.source import Files

__all__ = ["Reading", "Text"]


@dataclass(slots=True)
class Text:
    """A file of the tree. Offsets count characters."""

    path: str
    text: str
    _lines: LineIndex | None = field(default=None, repr=False)

    @property
    def lines(self) -> LineIndex:
        """Line arithmetic of the text."""
        if self._lines is None:
            self._lines = LineIndex(self.text)
        return self._lines

    def span(self, start: int, end: int, key: str = "") -> Span:
        """Return the place of the characters from ``start`` to ``end``."""
        place = self.lines.place(start, end)
        return Span(path=self.path, line=place.line, column=place.column, key=key, length=place.length)

    def line_span(self, line: int, key: str = "") -> Span:
        """Return the place of a whole line, without its indentation."""
        start = self.lines.offset(line, 1)
        end = self.text.find("\n", start)
        text = self.text[start : len(self.text) if end < 0 else end]
        indent = len(text) - len(text.lstrip())
        return self.span(start + indent, start + len(text.rstrip()), key)

    def item(self, match: re.Match[str], group: int | str = 1) -> Item:
        """Return a group of a match on this text as an item."""
        from kata_bundle.manifest.upstream.facts import Item

        return Item(match.group(group), self.span(match.start(group), match.end(group)))

    def words(self, start: int, end: int, pattern: str = r"\S+") -> Iterator[Item]:
        """Yield the words between two offsets."""
        for match in re.compile(pattern).finditer(self.text, start, end):
            yield self.item(match, 0)


@dataclass(slots=True)
class Reading:
    """Reads files of one tree; what is found on the way goes into ``report``."""

    files: Files
    report: Report = field(default_factory=Report)
    ask_make: bool = False
    """Whether make itself is asked for the values of variables, in a sandbox."""
    _texts: dict[str, Text | None] = field(default_factory=dict)
    _documents: dict[str, Document | None] = field(default_factory=dict)

    def find(self, name: str, *, among: str = "") -> str | None:
        """Return ``name`` when the tree has it, else the only file of the same name below ``among``: it may have moved."""
        if name in self.files.names:
            return name
        end = "/" + name.rsplit("/", 1)[-1]
        found = [n for n in self.files.names if n.endswith(end) and n.startswith(among)]
        return found[0] if len(found) == 1 else None

    def matching(self, pattern: str) -> list[str]:
        """Return the files whose name matches ``pattern`` (``*`` also matches ``/``), sorted."""
        return sorted(name for name in self.files.names if fnmatch.fnmatchcase(name, pattern))

    def text(self, name: str) -> Text | None:
        """Return the text of a file, ``None`` when there is none; bytes that are not UTF-8 are replaced."""
        if name not in self._texts:
            data = self._content(name)
            text = None if data is None else Text(name, data.decode("utf-8", "replace"))
            if text is not None:
                self.report.add_source(name, text.text)
            self._texts[name] = text
        return self._texts[name]

    def document(self, name: str) -> Document | None:
        """Return a JSON or YAML document; what is wrong with it is reported."""
        if name not in self._documents:
            data = self._content(name)
            self._documents[name] = None if data is None else parse_document(data, name, self.report)
        return self._documents[name]

    def _content(self, name: str) -> bytes | None:
        data = self.files.read(name)
        if data is None and name in self.files.names:
            self.not_understood(Span(path=name), "the content is absent or too long", code=codes.ABSENT)
        return data

    def not_understood(self, span: Span, message: str, *, hint: str | None = None, code: str = codes.SHAPE) -> None:
        """Report that something of the tree could not be read, so that what depends on it was not checked."""
        self.report.add(Finding(span=span, code=code, message=message, severity=Severity.WARNING, hint=hint))
