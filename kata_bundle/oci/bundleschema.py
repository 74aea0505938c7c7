"""JSON Schema of the bundle index, for programs that read bundles without this one.

Says what :mod:`oci.bundleindex` reads, but for what a schema cannot say: that shims need layers that are there, and so on. A test
keeps the two together. Must not know: files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.archive.toc import MAX_TABLE
from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import COMPONENT_NAME
from kata_bundle.core.fields import MAX_INTEGER
from kata_bundle.oci.bundleindex import ORIGIN, READ_VERSIONS

if TYPE_CHECKING:
    import re

    from kata_bundle.core.fields import JsonValue

__all__ = ["bundle_index_schema"]

_TEXT: Final[dict[str, JsonValue]] = {"type": "string", "minLength": 1}
_DIGEST: Final[dict[str, JsonValue]] = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_SIZE: Final[dict[str, JsonValue]] = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}


def bundle_index_schema() -> dict[str, JsonValue]:
    """Return the schema of the config member ``io.katacontainers.bundle``, without a name."""
    name = _matching(COMPONENT_NAME)
    layer = _object(
        {
            "tree": _DIGEST,
            "packed": _DIGEST,
            "packed_size_bytes": _SIZE,
            "diff_id": _DIGEST,
            "unpacked_size_bytes": _SIZE,
            "origin": _matching(ORIGIN),
            "hermetic": {"type": "boolean"},
        },
        {
            "version": _nullable(_TEXT),
            "rule_key": _nullable(_DIGEST),
            "action": _nullable(_DIGEST),
            "recipe": _nullable({"type": "object"}),
            "table": _nullable(_object({"digest": _DIGEST, "offset": _at_least(8), "size_bytes": _at_least(1, MAX_TABLE)}, {})),
        },
    )
    document = _object(
        {
            "version": {"enum": [*READ_VERSIONS], "type": "integer"},
            "arch": {"enum": [arch.value for arch in Arch]},
            "prefix": _TEXT,
            "default_shims": {"type": "array", "items": _TEXT, "uniqueItems": True},
            "shims": _table(name, {"type": "array", "items": name, "uniqueItems": True}),
            "layers": _table(name, layer),
            "runtime_classes": {"type": "array", "items": {"type": "object"}},
        },
        {"default_shim": _nullable(_TEXT)},
    )
    return {"description": "What one architecture's image of a bundle holds.", **document}


def _object(required: dict[str, JsonValue], optional: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": [*sorted(required)],
        "additionalProperties": False,
    }


def _at_least(minimum: int, maximum: int = MAX_INTEGER) -> dict[str, JsonValue]:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _table(names: dict[str, JsonValue], values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {"type": "object", "propertyNames": names, "additionalProperties": values}


def _matching(pattern: re.Pattern[str]) -> dict[str, JsonValue]:
    return {"type": "string", "pattern": f"^(?:{pattern.pattern})$"}


def _nullable(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {**schema, "type": [schema["type"], "null"]}
