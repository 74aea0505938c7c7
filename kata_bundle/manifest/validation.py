"""From a document's data to its model, with every mistake as a finding at its place.

Knows: pydantic's errors. Must not know: what the documents mean together.
"""

from __future__ import annotations

import re
import types
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Finding, did_you_mean
from kata_bundle.manifest.shape import shaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from kata_bundle.core.diagnostics import Report, Span
    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath

__all__ = ["MALFORMED", "MISSING_KEY", "NOT_ALLOWED", "UNKNOWN_KEY", "WRONG_TYPE", "validate"]

UNKNOWN_KEY: Final = "KB110"
MISSING_KEY: Final = "KB111"
WRONG_TYPE: Final = "KB112"
NOT_ALLOWED: Final = "KB113"
MALFORMED: Final = "KB114"

_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "date_type": "a date such as 2026-08-22",
}


def validate(document: Document, schema: str, report: Report) -> Any:
    """Return ``document`` as the model of ``schema`` describes it; ``None`` when it is none, with every reason in ``report``.

    The models are imported only for a document that :func:`shaped` does not take.
    """
    found = shaped(schema, document.data)
    if found is not None:
        return found
    from pydantic import ValidationError

    from kata_bundle.manifest.schema import SCHEMAS

    model = SCHEMAS[schema]
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            report.add(_finding(document, model, details))
        return None


def _finding(document: Document, model: type[BaseModel], details: ErrorDetails) -> Finding:
    location = details["loc"]
    of_key = bool(location) and location[-1] == "[key]"
    path: KeyPath = location[:-1] if of_key else location
    kind, value = details["type"], details["input"]
    hint: str | None = None
    related: tuple[Span, ...] = ()
    if kind == "extra_forbidden":
        known = _fields(model, path[:-1])
        name = str(path[-1])
        code, message, of_key = UNKNOWN_KEY, f'key "{name}" is not known here', True
        hint = did_you_mean(name, known) or f"known keys: {', '.join(sorted(known))}"
    elif kind == "missing":
        code, message, of_key = MISSING_KEY, f'key "{path[-1]}" is missing', True
        path = path[:-1]
        related, hint = _namesake(document, path)
    elif kind in _TYPES:
        code, message = WRONG_TYPE, f"expected {_TYPES[kind]}, found {_described(value)}"
    elif kind == "literal_error":
        allowed = _allowed(model, location)
        code = NOT_ALLOWED
        message = f"expected one of {', '.join(map(_quoted, allowed))}, found {_described(value)}"
        hint = _spelt_otherwise(value, [a for a in allowed if isinstance(a, str)]) if isinstance(value, str) else None
    elif kind == "string_pattern_mismatch":
        from kata_bundle.manifest.models import PATTERNS

        pattern = details.get("ctx", {}).get("pattern", "")
        code, message = MALFORMED, f"expected {PATTERNS.get(pattern, f'a text like {pattern}')}, found {_described(value)}"
    else:
        code, message = MALFORMED, f"{_sentence(details['msg'])}, found {_described(value)}"
    return Finding(span=document.span(path, of_key=of_key), code=code, message=message, hint=hint, related=related)


def _namesake(document: Document, path: KeyPath) -> tuple[tuple[Span, ...], str | None]:
    """Return the place of an entry with nearly the same name as the incomplete one at ``path``, which may be its other half."""
    import difflib

    table = document.data
    for part in path[:-1]:
        table = table[part] if isinstance(table, dict) and part in table else None
    if not path or not isinstance(table, dict) or not isinstance(path[-1], str):
        return (), None
    others = [name for name in table if name != path[-1]]
    close = difflib.get_close_matches(path[-1], others, n=1, cutoff=0.85)
    if not close:
        return (), None
    place = document.span((*path[:-1], close[0]), of_key=True)
    return (place,), f'is it a part of "{close[0]}", or that of this?'


def _spelt_otherwise(value: str, allowed: list[str]) -> str | None:
    for arch in Arch:
        if value in {arch.go_name, arch.debian_name} and arch.value in allowed:
            return f'manifests use uname\'s names: "{arch}"'
    return did_you_mean(value, allowed)


def _sentence(text: str) -> str:
    return re.sub(r"^Input should", "the value should", text)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _described(value: object) -> str:
    match value:
        case str():
            return f'"{value}"' if len(value) <= 80 else f'"{value[:77]}…"'
        case bool():
            return "true" if value else "false"
        case dict():
            return "a table"
        case list():
            return "a list"
        case None:
            return "nothing"
        case _:
            return str(value)


def _step(annotation: Any, part: str | int) -> Iterable[Any]:
    """Yield the types that a value of type ``annotation`` has at ``part``."""
    from pydantic import BaseModel

    for kind in _unwrapped(annotation):
        origin, arguments = get_origin(kind), get_args(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                if part in {name, field.alias}:
                    yield field.annotation
        elif origin is dict:
            yield arguments[0 if part == "[key]" else 1]
        elif origin is list:
            yield arguments[0]


def _unwrapped(annotation: Any) -> Iterable[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _unwrapped(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for option in get_args(annotation):
            yield from _unwrapped(option)
    else:
        yield annotation


def _at(model: type[BaseModel], path: Iterable[str | int]) -> list[Any]:
    found: list[Any] = [model]
    parts = list(path)
    for i, part in enumerate(parts):
        if i + 1 < len(parts) and parts[i + 1] == "[key]":
            continue
        found = [option for kind in found for option in _step(kind, part)]
    return [option for kind in found for option in _unwrapped(kind)]


def _fields(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Return the keys that the model knows at ``path``."""
    from pydantic import BaseModel

    return [
        field.alias or name
        for kind in _at(model, path)
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    ]


def _allowed(model: type[BaseModel], path: KeyPath) -> list[object]:
    """Return the values that the model allows at ``path``."""
    return [value for kind in _at(model, path) if get_origin(kind) is Literal for value in get_args(kind)]
