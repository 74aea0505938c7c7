"""JSON Schema of what ``kata-bundle repro --json`` prints, for programs that read it without this one. Must not know: files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.build.repro.compare import Kind
from kata_bundle.build.repro.conditions import Condition
from kata_bundle.core.arch import Arch
from kata_bundle.core.profile import Profile

if TYPE_CHECKING:
    from kata_bundle.core.fields import JsonValue

__all__ = ["repro_schema"]

_TEXT: Final[dict[str, JsonValue]] = {"type": "string"}
_MAYBE_TEXT: Final[dict[str, JsonValue]] = {"type": ["string", "null"]}
_DIGEST: Final = "^sha256:[0-9a-f]{64}$"
_MAYBE_DIGEST: Final[dict[str, JsonValue]] = {"type": ["string", "null"], "pattern": _DIGEST}


def repro_schema() -> dict[str, JsonValue]:
    """Return the schema, without a name."""
    conditions: list[JsonValue] = [one.value for one in Condition]
    difference = _object(
        {
            "path": _TEXT,
            "kind": {"enum": [one.value for one in Kind]},
            "first": _TEXT,
            "second": _TEXT,
            "offset": {"type": ["integer", "null"], "minimum": 0},
        }
    )
    verdict = _object(
        {
            "kind": _TEXT,
            "identical": {"type": "boolean"},
            "first": {"type": "string", "pattern": _DIGEST},
            "second": _MAYBE_DIGEST,
            "stored": _MAYBE_DIGEST,
            "failure": _MAYBE_TEXT,
            "hermetic": {"type": "boolean"},
            "varied": {"type": "array", "items": {"enum": conditions}, "uniqueItems": True},
            "not_varied": {"type": "object", "propertyNames": {"enum": conditions}, "additionalProperties": _TEXT},
            "causes": {"type": "array", "items": {"enum": [*conditions, "random", "together"]}, "uniqueItems": True},
            "differences": {"type": "array", "items": difference},
            "durations_s": {"type": "array", "items": {"type": "number", "minimum": 0}},
        }
    )
    maybe: dict[str, JsonValue] = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/verdict"}]}
    component = _object(
        {
            "component": _TEXT,
            "arch": {"enum": [arch.value for arch in Arch]},
            "version": _TEXT,
            "identical": {"type": "boolean"},
            "error": _MAYBE_TEXT,
            "tree": maybe,
            "layer": maybe,
            "kept": _MAYBE_TEXT,
            "diffoscope": _MAYBE_TEXT,
        }
    )
    members: dict[str, JsonValue] = {
        "profile": {"enum": [one.value for one in Profile]},
        "components": {"type": "array", "items": component},
    }
    return {**_object(members), "$defs": {"verdict": verdict}}


def _object(members: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
