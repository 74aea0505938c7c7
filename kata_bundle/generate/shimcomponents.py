"""shim-components.json in the form that upstream's reviewers know: a shim's architectures one a line, lists aligned.

A text that says the same already is kept byte for byte, shim by shim: what a person aligned stays as it is, and a change of one
cell is a change of a line or two. Must not know: what components are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.core import canonical
from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.core.componentmap import ComponentMap

__all__ = ["COMMENT", "render_component_map"]

COMMENT = (
    "Per shim and architecture, the components that are installed for it.",
    "A component x is the archive kata-static-x.tar.zst.",
)
"""What a new file says about itself."""


def render_component_map(component_map: ComponentMap, existing: str | None = None) -> str:
    """Return the document of ``component_map``.

    ``existing`` is the text that it replaces: everything outside ``shims`` and every shim whose rows are equal, in order too, are
    copied from it. Raises :class:`IntegrityError` when it is no component map.
    """
    old = None if existing is None else _parse(existing)
    head = old.head if old else _head()
    rows = []
    for shim, row in component_map.shims.items():
        known = old.shims.get(shim) if old else None
        value = {arch: list(names) for arch, names in row.items()}
        # Compared as texts: the order of architectures and components is content here.
        if known is not None and json.dumps(known.value) == json.dumps(value):
            rows.append(known.lead + known.text)
        else:
            rows.append("\n    " + _row(shim, value))
    return head + ",".join(rows) + (old.tail if old else "\n  }\n}\n")


def _head() -> str:
    lines = ",\n".join(f"    {json.dumps(line)}" for line in COMMENT)
    return f'{{\n  "_comment": [\n{lines}\n  ],\n  "shims": {{'


def _row(shim: str, value: Mapping[str, list[str]]) -> str:
    width = max((len(json.dumps(arch)) for arch in value), default=0) + 1
    lines = [f"      {json.dumps(arch) + ':':<{width}} {json.dumps(names, ensure_ascii=False)}" for arch, names in value.items()]
    return f"{json.dumps(shim)}: {{\n" + ",\n".join(lines) + "\n    }"


@dataclass(frozen=True, slots=True)
class _Shim:
    lead: str
    """White space before the key."""
    text: str
    """From the opening quote of the key to the end of the value."""
    value: Any


@dataclass(frozen=True, slots=True)
class _Parsed:
    head: str
    """To the opening brace of ``shims``."""
    shims: Mapping[str, _Shim]
    tail: str
    """From the end of the last shim."""


def _parse(text: str) -> _Parsed:
    document = canonical.loads(text, what="the existing shim-components.json")
    if not isinstance(document, dict) or not isinstance(document.get("shims"), dict):
        msg = 'the existing shim-components.json has no object "shims"'
        raise IntegrityError(msg)
    opening = next(value for key, _, value, _ in _members(text, _skip(text, 0)) if key == "shims")
    shims: dict[str, _Shim] = {}
    end = opening + 1
    for name, start, _, end in _members(text, opening):
        space = start - len(text[:start].rstrip(_BLANKS))
        shims[name] = _Shim(text[start - space : start], text[start:end], document["shims"][name])
    return _Parsed(text[: opening + 1], shims, text[end:])


def _members(text: str, opening: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield key, start of the key, start and end of the value of each member of the object that opens at ``opening``."""
    decoder = json.JSONDecoder()
    place = _skip(text, opening + 1)
    while text[place] != "}":
        key, after = decoder.raw_decode(text, place)
        value = _skip(text, _skip(text, after) + 1)
        _, end = decoder.raw_decode(text, value)
        yield key, place, value, end
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)


_BLANKS = " \t\r\n"
_SPACE = re.compile(f"[{_BLANKS}]*")


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return place if found is None else found.end()
