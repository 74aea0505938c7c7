"""RuntimeClasses: the overheads in the chart's template, the objects in files of their own, the names that examples use.

Formats: a Go template with ``"shim" (dict "memory" "…" "cpu" "…")`` (since the end of 2025); YAML files, one per class and one of
all (until then).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.diagnostics import Report, Span
from kata_bundle.core.record import replace
from kata_bundle.manifest.document import Document, parse_document
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Class, Item, Listing, Overhead
from kata_bundle.manifest.upstream.readers.chart import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.positions import KeyPath
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["read_class_files", "read_example_classes", "read_overheads"]

_TEMPLATE: Final = f"{FOLDER}/helm-chart/kata-deploy/templates/runtimeclasses.yaml"
_CLASSES: Final = f"{FOLDER}/runtimeclasses"
_ENTRY: Final = re.compile(r'"([^"\n]+)"\s+\(\s*dict\s+((?:"[^"\n]*"\s*)+)\)')
_PAIR: Final = re.compile(r'"([^"\n]*)"\s+"([^"\n]*)"')
_CLASS_NAME: Final = re.compile(r"^\s*runtimeClassName:\s*[\"']?([A-Za-z0-9.-]+)[\"']?\s*$", re.MULTILINE)
_ALL: Final = "kata-runtimeClasses.yaml"


def read_overheads(reading: Reading) -> tuple[dict[str, Overhead], Listing | None, list[Item]]:
    """Return the overheads by shim, the list of shims that have one, and shims that have more than one."""
    text = reading.text(_TEMPLATE)
    if text is None:
        return {}, None, []
    found: dict[str, Overhead] = {}
    again: list[Item] = []
    starts: list[int] = []
    for match in _ENTRY.finditer(text.text):
        values = {
            pair.group(1): Item(pair.group(2), text.span(pair.start(2), pair.end(2)))
            for pair in _PAIR.finditer(text.text, match.start(2), match.end(2))
        }
        item = text.item(match)
        if item.name in found:
            again.append(item)
            continue
        starts.append(match.start())
        found[item.name] = Overhead(shim=item.name, span=item.span, memory=values.get("memory"), cpu=values.get("cpu"))
    if not found:
        reading.not_understood(text.line_span(1), 'expected overheads as "shim" (dict "memory" "…" "cpu" "…")')
        return {}, None, []
    head = text.text.rfind("dict", 0, starts[0])
    span = text.line_span(text.lines.place(max(head, 0)).line)
    items = tuple(Item(overhead.shim, overhead.span) for overhead in found.values())
    return found, Listing(what="the RuntimeClass overheads", span=span, items=items), again


def read_class_files(reading: Reading) -> tuple[list[Class], Listing | None]:
    """Return the RuntimeClass objects of trees that keep them as files, and the list of shims that have one."""
    names = reading.matching(f"{_CLASSES}/*.yaml")
    if not names:
        if _TEMPLATE not in reading.files.names:
            reading.not_understood(Span(path=FOLDER), "no RuntimeClasses were found", code=codes.MISSING)
        return [], None
    found: list[Class] = []
    for name in names:
        text = reading.text(name)
        if text is not None:
            found += _classes(reading, text)
    own = [entry for entry in found if not entry.combined] or found  # until the summer of 2023 there was one file of all
    items = tuple(Item(entry.name.name.removeprefix("kata-"), entry.name.span) for entry in own)
    return found, Listing(what="the RuntimeClass files", span=Span(path=_CLASSES), items=items)


def _classes(reading: Reading, text: Text) -> Iterator[Class]:
    for line, document in _documents(reading, text):
        data = document.data
        if not isinstance(data, dict) or data.get("kind") != "RuntimeClass":
            continue

        def item(*where: str, document: Document = document, line: int = line, data: dict[str, object] = data) -> Item | None:
            value: object = data
            for key in where:
                value = value.get(key) if isinstance(value, dict) else None
            if not isinstance(value, str | int | float):
                return None
            return Item(str(value), _moved(document, where, line))

        name = item("metadata", "name")
        if name is None:
            reading.not_understood(_moved(document, (), line), "a RuntimeClass without a name")
            continue
        yield Class(
            path=text.path,
            name=name,
            handler=item("handler"),
            memory=item("overhead", "podFixed", "memory"),
            cpu=item("overhead", "podFixed", "cpu"),
            combined=text.path.endswith(f"/{_ALL}"),
            text=json.dumps(data, sort_keys=True, default=str),
        )


def _documents(reading: Reading, text: Text) -> Iterator[tuple[int, Document]]:
    """Yield the documents of a file with the number of lines before each."""
    start, lines = 0, text.text.split("\n")
    for end in [*(i for i, line in enumerate(lines) if line.rstrip() == "---"), len(lines)]:
        part = "\n".join(lines[start:end])
        if part.strip():
            found = Report()
            document = parse_document(part.encode(), text.path, found)
            if document is not None:
                yield start, document
            for finding in found:
                reading.report.add(replace(finding, span=replace(finding.span, line=finding.span.line + start)))
            reading.report.add_source(text.path, text.text)
        start = end + 1


def _moved(document: Document, where: KeyPath, line: int) -> Span:
    span = document.span(where)
    return replace(span, line=span.line + line)


def read_example_classes(reading: Reading) -> list[Item]:
    """Return the RuntimeClasses that the examples use."""
    found = []
    for name in reading.matching(f"{FOLDER}/examples/*.yaml"):
        text = reading.text(name)
        if text is not None:
            found += [text.item(match) for match in _CLASS_NAME.finditer(text.text)]
    return found
