"""JSON in one canonical spelling, and JSON from strangers read with limits.

Canonical: UTF-8, keys sorted by code point, no insignificant space, no NaN, one newline at the end.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from kata_bundle.core.errors import IntegrityError

__all__ = ["MAX_DOCUMENT", "dumps", "dumps_pretty", "loads"]

MAX_DOCUMENT = 64 << 20
"""Largest JSON document read, in bytes."""


def dumps(value: object) -> bytes:
    """Return ``value`` as canonical JSON bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def dumps_pretty(value: object) -> str:
    """Return ``value`` as JSON for people: sorted, indented, newline at the end. It can always be written as UTF-8."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:  # file names that are no UTF-8 travel as lone surrogates, which only escapes can spell
        return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
    return text


def loads(data: bytes | str, *, what: str) -> Any:
    """Return the parsed document; ``what`` names it in errors.

    Raises :class:`IntegrityError` for syntax errors, duplicate keys, NaN or infinities, too deep or too large documents.
    """
    if len(data) > MAX_DOCUMENT:
        msg = f"{what} has {len(data)} bytes, more than the {MAX_DOCUMENT} allowed"
        raise IntegrityError(msg)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            seen: set[str] = set()
            twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            msg = f'duplicate key "{twice}"'
            raise ValueError(msg)
        return result

    def constant(name: str) -> NoReturn:
        msg = f"{name} is not a JSON number"
        raise ValueError(msg)

    try:
        return json.loads(data, object_pairs_hook=pairs, parse_constant=constant)
    except RecursionError:
        msg = f"{what} is nested too deeply"
        raise IntegrityError(msg) from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        msg = f"{what} is not valid JSON: {error}"
        raise IntegrityError(msg) from None
