"""JSON, read by the standard library, which is fast; ``json_scanner`` finds places and explains what was refused.

Format: RFC 8259, without NaN, infinities, duplicate keys. Must not know: what documents mean.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from kata_bundle.manifest.refusal import SYNTAX, Refused, check_plain

__all__ = ["parse_json"]


class _Unwanted(Exception):  # noqa: N818 - leads from the fast reader to the one that explains
    pass


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(items)
    if len(result) != len(items):
        raise _Unwanted
    return result


def _constant(_name: str) -> NoReturn:
    raise _Unwanted


def parse_json(text: str) -> object:
    """Return the data of ``text``; raise :class:`Refused` with a place for anything that is not plain JSON."""
    try:
        data = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except (_Unwanted, ValueError, RecursionError) as error:
        _scan(text)  # explains, with a place
        message = f"the document is not plain JSON: {error}"  # pragma: no cover - the scanner refuses all that was refused
        raise Refused(SYNTAX, message) from None  # pragma: no cover
    try:
        check_plain(data)
    except Refused:
        _scan(text)  # finds the same, with a place
        raise  # pragma: no cover
    return data


def _scan(text: str) -> None:
    from kata_bundle.manifest.json_scanner import scan_json

    scan_json(text)
