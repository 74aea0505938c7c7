"""Every JSON Schema that the project publishes, whichever room it comes from."""

from __future__ import annotations

from kata_bundle.manifest.schema import SCHEMAS, file_name, model_schema, render_schema, schema_text

__all__ = ["NAMES", "render", "schema_files"]

_FOLDERS = {
    "build-rules": "build",
    "build-events": "build",
    "toolchains": "build",
    "repro": "build",
    "bundle-index": "oci",
    "node-spec": "node",
}
"""Schemas of documents that are no manifests: name to folder below ``schemas/``."""

NAMES = (*SCHEMAS, *_FOLDERS)
"""The names of all schemas."""


def render(name: str) -> str:  # noqa: PLR0911 - one for each document
    """Return the text of the schema ``name``."""
    match name:
        case "build-rules":
            from kata_bundle.build.rulefile import RuleDocument

            return schema_text(name, model_schema(RuleDocument))
        case "build-events":
            from kata_bundle.build.events import event_schema

            return schema_text(name, event_schema())
        case "toolchains":
            from kata_bundle.build.toolchain import ToolchainsDocument

            return schema_text(name, model_schema(ToolchainsDocument))
        case "repro":
            from kata_bundle.build.repro.schema import repro_schema

            return schema_text(name, repro_schema())
        case "bundle-index":
            from kata_bundle.oci.bundleschema import bundle_index_schema

            return schema_text(name, bundle_index_schema())
        case "node-spec":
            from kata_bundle.node.config.specfile import render_schema as render_node_spec

            return render_node_spec()
        case _:
            return render_schema(name)


def schema_files() -> dict[str, str]:
    """Return the text of every schema by its path below ``schemas/``."""
    return {f"{_FOLDERS[name]}/{file_name(name)}" if name in _FOLDERS else file_name(name): render(name) for name in NAMES}
