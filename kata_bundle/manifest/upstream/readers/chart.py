"""The chart's values, the profiles laid over them, and the plain manifests that came before the chart.

Formats: values.yaml with a table per shim (since the end of 2025), or with ``env.shims`` as one text (2024 and 2025); Kubernetes
manifests with an environment variable ``SHIMS`` (until 2025).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Chart, ChartShim, Item, Listing, Role, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["FOLDER", "read_chart", "read_manifest_lists", "read_profiles"]

FOLDER: Final = "tools/packaging/kata-deploy"
_CHART: Final = f"{FOLDER}/helm-chart/kata-deploy"
_ENV: Final = re.compile(r"-[ \t]+name:[ \t]+(SHIMS|DEFAULT_SHIM)(?:_[A-Z0-9_]+)?[ \t]*\n[ \t]+value:[ \t]+\"([^\"\n]*)\"")
_OWN_SETTINGS: Final = frozenset({"enabled", "supportedArches"})


def read_chart(reading: Reading) -> tuple[Chart | None, list[Listing]]:
    """Return the chart's table of shims, and the lists of shims that its values hold in either form."""
    name = reading.find(f"{_CHART}/values.yaml", among=f"{FOLDER}/")
    document = None if name is None else reading.document(name)
    if document is None or not isinstance(document.data, dict):
        if any(n.startswith(f"{FOLDER}/helm-chart/") for n in reading.files.names) and name is None:
            from kata_bundle.core.diagnostics import Span

            reading.not_understood(Span(path=f"{_CHART}/values.yaml"), "the chart has no values", code=codes.MISSING)
        return None, []
    lists = list(_legacy_lists(document))
    shims = document.data.get("shims")
    if isinstance(shims, dict):
        chart = _chart(reading, document)
        if not isinstance(document.data.get("defaultShim"), dict):
            reading.not_understood(document.span(()), 'expected a table "defaultShim" beside "shims"')
        items = tuple(Item(shim.name, shim.span) for shim in chart.shims.values())
        lists.append(Listing(what="the chart's values", span=document.span(("shims",), of_key=True), items=items))
        return chart, lists
    if not any(listing.items for listing in lists):
        reading.not_understood(document.span(()), 'expected a table "shims", or "env.shims" as one text')
    return None, lists


def _legacy_lists(document: Document) -> Iterator[Listing]:
    env = document.data.get("env") if isinstance(document.data, dict) else None
    if not isinstance(env, dict):
        return
    for key, value in env.items():
        if key == "shims" and isinstance(value, str) and value:
            items = tuple(_words(document, ("env", key), value))
            yield Listing(
                what="the chart's values", span=document.span(("env", key), of_key=True), items=items, role=Role.SELECTION
            )


def _words(document: Document, where: KeyPath, value: str) -> Iterator[Item]:
    from kata_bundle.core.record import replace

    span = document.span(where)
    line = document.text.split("\n")[span.line - 1]
    start = line.find(value, span.column - 1)
    for match in re.finditer(r"\S+", value):
        column = start + match.start() + 1 if start >= 0 else span.column
        yield Item(match.group(), replace(span, column=column, length=len(match.group())))


def read_profiles(reading: Reading) -> list[Chart]:
    """Return the profiles beside the chart's values (``try-*.values.yaml``)."""
    found = []
    for name in reading.matching(f"{_CHART}/*.values.yaml"):
        document = reading.document(name)
        if document is None:
            continue
        if not isinstance(document.data, dict):
            reading.not_understood(document.span(()), "expected a table of values")
            continue
        found.append(_chart(reading, document))
    return found


def _chart(reading: Reading, document: Document) -> Chart:
    data = document.data if isinstance(document.data, dict) else {}
    table = data.get("shims")
    shims: dict[str, ChartShim] = {}
    disable_all = False
    if isinstance(table, dict):
        disable_all = table.get("disableAll") is True
        for name, values in table.items():
            if name == "disableAll":
                continue
            if not isinstance(values, dict):
                reading.not_understood(document.span(("shims", name)), "expected a table of a shim's values")
                continue
            shims[name] = _shim(reading, document, name, values)
    defaults = data.get("defaultShim")
    default_shim: dict[str, Item] = {}
    if isinstance(defaults, dict):
        for arch, shim in defaults.items():
            if isinstance(shim, str) and shim:
                default_shim[arch] = Item(shim, document.span(("defaultShim", arch)))
    return Chart(
        path=document.path,
        span=document.span(("shims",) if isinstance(table, dict) else (), of_key=True),
        shims=shims,
        disable_all=disable_all,
        default_shim=default_shim,
        snapshotters=_snapshotters(data.get("snapshotter")),
        merge_mode=_merge_mode(data.get("snapshotter")),
    )


def _snapshotters(table: object) -> tuple[str, ...]:
    names = table.get("setup") if isinstance(table, dict) else None
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _merge_mode(table: object) -> str | None:
    mode = table.get("erofsMergeMode") if isinstance(table, dict) else None
    return mode if isinstance(mode, str) and mode else None


def _shim(reading: Reading, document: Document, name: str, values: dict[str, object]) -> ChartShim:
    where: KeyPath = ("shims", name)
    enabled, arches = values.get("enabled"), values.get("supportedArches")
    if enabled is not None and not isinstance(enabled, bool):
        reading.not_understood(document.span((*where, "enabled")), "expected true, false or nothing")
        enabled = None
    items: tuple[Item, ...] | None = None
    if isinstance(arches, list) and all(isinstance(arch, str) for arch in arches):
        items = tuple(Item(arch, document.span((*where, "supportedArches", i))) for i, arch in enumerate(arches))
    elif arches is not None:
        reading.not_understood(document.span((*where, "supportedArches")), "expected a list of architectures")
    settings: dict[str, Setting] = {}
    for key, value in values.items():
        if key not in _OWN_SETTINGS:
            _flatten(document, (*where, key), key, value, settings)
    return ChartShim(name=name, span=document.span(where, of_key=True), enabled=enabled, arches=items, settings=settings)


def _flatten(document: Document, where: KeyPath, key: str, value: object, into: dict[str, Setting]) -> None:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            _flatten(document, (*where, name), f"{key}.{name}", item, into)
    else:
        into[key] = Setting(value, document.span(where))


def read_manifest_lists(reading: Reading) -> list[Listing]:
    """Return the lists of shims in the plain manifests that deploy and clean up (before the chart was the only way)."""
    found = []
    for name, what in (
        (f"{FOLDER}/kata-deploy/base/kata-deploy.yaml", "the manifest that deploys"),
        (f"{FOLDER}/kata-cleanup/base/kata-cleanup.yaml", "the manifest that cleans up"),
    ):
        text = reading.text(name)
        if text is None:
            continue
        listing = _environment_list(text, what)
        if listing is not None:
            found.append(listing)
    return found


def _environment_list(text: Text, what: str) -> Listing | None:
    for match in _ENV.finditer(text.text):
        if match.group(1) == "SHIMS":
            items = tuple(text.words(match.start(2), match.end(2)))
            return Listing(what=what, span=text.span(match.start(), match.end(1)), items=items, role=Role.SELECTION)
    return None
