"""The fast way from a valid document to the values that its model describes, without building any model.

A cold process that finds nothing wrong should not pay for importing and building the models. So the JSON Schema of a document,
which is made from its model and checked for drift, is compiled into closures here. They accept what the model accepts, or less:
what they refuse is given to the model, which has the last word and the explanation. Accepted tables become :class:`Record` with
the model's attributes, defaults and ``model_fields_set``, so that rules do not know the difference.

Knows: the keywords of JSON Schema that our models lead to. Must not know: what documents mean, findings.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import TYPE_CHECKING, Any

from kata_bundle.core.resources import shipped

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Record", "shaped"]


class Record:
    """A table with a fixed set of keys: one attribute a key, and the keys that were given."""

    model_fields_set: frozenset[str]

    def __init__(self, values: dict[str, Any], given: frozenset[str]) -> None:
        self.__dict__.update(values)
        self.__dict__["model_fields_set"] = given

    def __getattr__(self, name: str) -> Any:  # pragma: no cover - tells type checkers that there are more attributes
        raise AttributeError(name)


class _Refused(Exception):  # noqa: N818 - the model will say why
    pass


_compiled: dict[str, Callable[[Any], Any]] = {}


def shaped(name: str, data: object) -> Any | None:
    """Return ``data`` as the schema ``name`` describes it, ``None`` when it may be anything else (ask the model)."""
    build = _compiled.get(name)
    if build is None:
        try:
            schema = json.loads((shipped("schemas") / f"{name}.schema.json").read_bytes())
        except OSError:  # pragma: no cover - the schemas are shipped with the program
            return None
        build = _compiled[name] = _Compiler(schema).node(schema)
    try:
        return build(data)
    except _Refused:
        return None


class _Compiler:
    def __init__(self, schema: dict[str, Any]) -> None:
        self._defs: dict[str, Any] = schema.get("$defs", {})
        self._built: dict[str, Callable[[Any], Any]] = {}

    def node(self, schema: dict[str, Any]) -> Callable[[Any], Any]:  # noqa: PLR0911 - one return a keyword
        """Return the function that checks and converts a value of ``schema``."""
        reference = schema.get("$ref")
        if reference is not None:
            return self._referred(reference.rpartition("/")[2])
        match schema.get("type"):
            case "object":
                return self._record(schema) if "properties" in schema else self._table(schema)
            case "array":
                return self._list(schema)
            case "string":
                return _date if schema.get("format") == "date" else _text(schema)
            case "integer":
                return _whole(schema)
            case "boolean":
                return _flag
        return _never  # a keyword that this module does not know: the model decides

    def _referred(self, name: str) -> Callable[[Any], Any]:
        if name not in self._built:
            self._built[name] = self.node(self._defs[name])
        return self._built[name]

    def _record(self, schema: dict[str, Any]) -> Callable[[Any], Any]:
        properties: dict[str, tuple[str, Callable[[Any], Any]]] = {}
        defaults: dict[str, Any] = {}
        parts: list[tuple[str, Callable[[Any], Any]]] = []
        for key, inner in schema["properties"].items():
            attribute, build = key.lstrip("_"), self.node(inner)
            properties[key] = (attribute, build)
            if key in schema.get("required", ()):
                continue
            if "$ref" in inner and "default" not in inner:
                parts.append((attribute, build))  # a part that is left out is an empty one
            else:
                defaults[attribute] = inner.get("default")
        required = frozenset(schema.get("required", ()))

        def check(value: Any) -> Record:
            if type(value) is not dict or not required <= value.keys():
                raise _Refused
            values = dict(defaults)
            try:
                for key, item in value.items():
                    attribute, build = properties[key]
                    values[attribute] = build(item)
            except KeyError:
                raise _Refused from None
            for attribute, build in parts:
                if attribute not in values:
                    values[attribute] = build({})
            return Record(values, frozenset(properties[key][0] for key in value))

        return check

    def _table(self, schema: dict[str, Any]) -> Callable[[Any], Any]:
        patterns = schema.get("patternProperties")
        if patterns is not None:
            ((pattern, inner),) = patterns.items()
            fits: Callable[[str], object] = re.compile(pattern).fullmatch
        else:
            inner = schema["additionalProperties"]
            fits = frozenset(schema.get("propertyNames", {}).get("enum", ())).__contains__
        build = self.node(inner)

        def check(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _Refused
            for key in value:
                if not fits(key):
                    raise _Refused
            return {key: build(item) for key, item in value.items()}

        return check

    def _list(self, schema: dict[str, Any]) -> Callable[[Any], Any]:
        build, least = self.node(schema["items"]), schema.get("minItems", 0)

        def check(value: Any) -> list[Any]:
            if type(value) is not list or len(value) < least:
                raise _Refused
            return [build(item) for item in value]

        return check


def _text(schema: dict[str, Any]) -> Callable[[Any], Any]:
    allowed = frozenset(schema["enum"]) if "enum" in schema else None
    fits = re.compile(schema["pattern"]).fullmatch if "pattern" in schema else None
    least = schema.get("minLength", 0)

    def check(value: Any) -> str:
        if type(value) is not str or len(value) < least:
            raise _Refused
        if (allowed is not None and value not in allowed) or (fits is not None and not fits(value)):
            raise _Refused
        return value

    return check


def _whole(schema: dict[str, Any]) -> Callable[[Any], Any]:
    least, most, only = schema.get("minimum"), schema.get("maximum"), schema.get("const")

    def check(value: Any) -> int:
        if type(value) is not int or (only is not None and value != only):
            raise _Refused
        if (least is not None and value < least) or (most is not None and value > most):
            raise _Refused
        return value

    return check


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _Refused
    return value


def _date(value: Any) -> datetime.date:
    if type(value) is not datetime.date:
        raise _Refused
    return value


def _never(_value: Any) -> Any:
    raise _Refused
