"""One manifest document: its name, its text, its data, and where everything in it stands.

Knows: files and formats. Must not know: what a document means. Every way in which a file can be wrong ends as a finding here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Finding, Span
from kata_bundle.manifest.positions import KeyPath, LineIndex, Place, Places, key_text
from kata_bundle.manifest.refusal import LIMIT, MAX_BYTES, NOT_UTF8, SYNTAX, UNREADABLE, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.core.diagnostics import Report

__all__ = ["Document", "parse_document", "read_document"]


@dataclass(slots=True)
class Document:
    """A document that could be read. ``path`` is its name in findings; places are looked for when the first one is needed."""

    path: str
    text: str
    data: object
    _places: Places | None = field(default=None, repr=False)

    @property
    def places(self) -> Places:
        """The place of every key and value."""
        if self._places is None:
            if self.path.endswith(".json"):
                from kata_bundle.manifest.json_scanner import scan_json

                self._places = scan_json(self.text)[1]
            else:
                from kata_bundle.manifest.toml_scanner import scan_toml

                self._places = scan_toml(self.text)
        return self._places

    def span(self, key: KeyPath, *, of_key: bool = False) -> Span:
        """Return the span of the value at ``key`` (of the key itself with ``of_key``), or of the nearest enclosing one."""
        return _span(self.path, self.places.find(key, of_key=of_key), key_text(key))


def _span(path: str, place: Place, key: str = "") -> Span:
    return Span(path=path, line=place.line, column=place.column, key=key, length=place.length)


def read_document(file: Path, shown: str, report: Report) -> Document | None:
    """Return the document in ``file``, called ``shown`` in findings; what is wrong with it goes into ``report``."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        report.add(Finding(span=Span(path=shown), code=UNREADABLE, message=message))
        return None
    return parse_document(data, shown, report)


def parse_document(data: bytes, shown: str, report: Report) -> Document | None:
    """Return the document in ``data``; its format follows from the name ``shown`` (``.json``, ``.toml``, ``.yaml``, ``.yml``)."""
    if len(data) > MAX_BYTES:
        message = f"the document is longer than {MAX_BYTES} bytes"
        report.add(Finding(span=_span(shown, Place(1, 1, 1)), code=LIMIT, message=message))
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        report.add_source(shown, data.decode(errors="replace"))
        place = LineIndex(before).place(len(before))
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        report.add(Finding(span=_span(shown, place), code=NOT_UTF8, message=message))
        return None
    report.add_source(shown, text)
    try:
        if text.startswith("\ufeff"):
            raise Refused(SYNTAX, "the document begins with a byte order mark", Place(1, 1, 1), "save it as plain UTF-8")
        return _parse(text, shown)
    except Refused as refused:
        span = _span(shown, refused.place, key_text(refused.key))
        report.add(Finding(span=span, code=refused.code, message=refused.message, hint=refused.hint))
        return None


def _parse(text: str, shown: str) -> Document:
    if shown.endswith(".json"):
        from kata_bundle.manifest.json_reader import parse_json

        return Document(shown, text, parse_json(text))
    if shown.endswith((".yaml", ".yml")):
        from kata_bundle.manifest.yaml_reader import parse_yaml

        data, places = parse_yaml(text)
        return Document(shown, text, data, places)
    from kata_bundle.manifest.toml_reader import parse_toml

    return Document(shown, text, parse_toml(text))
