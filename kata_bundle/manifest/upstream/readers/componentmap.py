"""The component map: shim, architecture, components.

Format: shim-components.json, ``{"shims": {shim: {architecture: [component]}}}``. Trees before the middle of 2026 have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.componentmap import FILE_NAME
from kata_bundle.manifest.upstream.facts import Cell, Item, Listing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.manifest.upstream.texts import Reading

__all__ = ["PATH", "read_component_map"]

PATH = f"tools/packaging/kata-deploy/{FILE_NAME}"


def read_component_map(reading: Reading) -> tuple[Mapping[tuple[str, str], Cell] | None, Listing | None]:
    """Return the cells by (shim, architecture) and the list of shims, ``None`` when the tree has no map that can be read."""
    name = reading.find(PATH, among="tools/packaging/")
    document = None if name is None else reading.document(name)
    if document is None:
        return None, None
    data = document.data
    shims = data.get("shims") if isinstance(data, dict) else None
    if not isinstance(shims, dict):
        reading.not_understood(document.span(()), 'expected an object with the key "shims"')
        return None, None
    cells: dict[tuple[str, str], Cell] = {}
    items: list[Item] = []
    for shim, row in shims.items():
        items.append(Item(shim, document.span(("shims", shim), of_key=True)))
        if not isinstance(row, dict):
            reading.not_understood(document.span(("shims", shim)), "expected an object of architecture to component list")
            continue
        for arch, names in row.items():
            where = ("shims", shim, arch)
            if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                reading.not_understood(document.span(where), "expected a list of component names")
                continue
            components = tuple(Item(n, document.span((*where, i))) for i, n in enumerate(names))
            cells[shim, arch] = Cell(shim=shim, arch=arch, span=document.span(where, of_key=True), components=components)
    listing = Listing(what="the component map", span=document.span(("shims",), of_key=True), items=tuple(items))
    return cells, listing
