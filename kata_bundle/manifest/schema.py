"""JSON Schemas (2020-12) of the manifest documents, made from the models.

The files in ``schemas/`` are for editors and other programs; ours validate with the models. A test compares both and checks the
shipped manifests against the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.core.canonical import dumps_pretty
from kata_bundle.manifest import models

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel

__all__ = [
    "DIALECT",
    "SCHEMAS",
    "drift",
    "file_name",
    "model_schema",
    "render_schema",
    "schema_files",
    "schema_text",
    "write_schemas",
]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SCHEMAS: dict[str, type[BaseModel]] = {
    "arch": models.ArchDocument,
    "components": models.ComponentsDocument,
    "ignores": models.IgnoresDocument,
    "runtimeclasses": models.RuntimeClassesDocument,
    "shim-components": models.ComponentMapDocument,
    "shims": models.ShimsDocument,
    "upstream": models.UpstreamDocument,
}
"""Schema name to model."""


def file_name(name: str) -> str:
    """Return the file of schema ``name``."""
    return f"{name}.schema.json"


def render_schema(name: str) -> str:
    """Return the text of schema ``name``."""
    return schema_text(name, model_schema(SCHEMAS[name]))


def model_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of documents that ``model`` reads, without its name."""
    schema: dict[str, Any] = _plain(model.model_json_schema(mode="validation"))
    return schema


def schema_text(name: str, schema: Mapping[str, Any]) -> str:
    """Return ``schema`` as its file has it."""
    return dumps_pretty({"$schema": DIALECT, "$id": f"urn:kata-bundle:schema:{name}:1", **schema})


def _plain(schema: Any) -> Any:
    """Return ``schema`` as documents need it: no null for an absent key, no titles, no names that match no pattern."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    if "patternProperties" in schema:
        result["additionalProperties"] = False  # the names of a table are as closed as its keys
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "default" and value is None:
            continue
        if key == "anyOf" and {"type": "null"} in value:
            options = [option for option in value if option != {"type": "null"}]
            result |= _plain(options[0]) if len(options) == 1 else {"anyOf": _plain(options)}
        else:
            # The names below these are data, even if one is "title" or "default".
            named = key in {"properties", "patternProperties", "$defs"}
            result[key] = {name: _plain(item) for name, item in value.items()} if named else _plain(value)
    return result


def schema_files() -> dict[str, str]:
    """Return the text of every schema of a manifest by its file."""
    return {file_name(name): render_schema(name) for name in SCHEMAS}


def drift(folder: Path, expected: Mapping[str, str]) -> tuple[str, ...]:
    """Return the schema files below ``folder`` that are missing, differ from what is expected, or are not expected at all."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.schema.json")} if folder.is_dir() else {}
    wrong = [name for name, text in expected.items() if name not in found or found[name].read_text(encoding="utf-8") != text]
    return tuple(sorted({*wrong, *(name for name in found if name not in expected)}))


def write_schemas(folder: Path, expected: Mapping[str, str]) -> tuple[str, ...]:
    """Write every expected file that differs into ``folder`` and return their names."""
    from kata_bundle.core.fsops import write_atomic

    changed = [name for name in drift(folder, expected) if name in expected]
    for name in changed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, expected[name].encode())
    return tuple(changed)
