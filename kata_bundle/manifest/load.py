"""Load a folder of manifests: read, validate, check, resolve."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import FILE_NAME
from kata_bundle.core.diagnostics import Finding, Report, Span
from kata_bundle.core.resources import shipped
from kata_bundle.manifest.models import (
    ArchDocument,
    ComponentMapDocument,
    ComponentsDocument,
    RuntimeClassesDocument,
    ShimsDocument,
)
from kata_bundle.manifest.positions import key_text
from kata_bundle.manifest.resolve import Documents, resolve_catalog

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["load_catalog"]


def load_catalog(folder: Path | None = None) -> tuple[Catalog | None, Report]:
    """Return the catalog of ``folder`` (default: the shipped manifests) and everything found wrong with it."""
    root = shipped("manifests") if folder is None else folder
    report = Report()

    def read(name: str, model: Any) -> Any:
        path = root / name
        try:
            data = json.loads(path.read_bytes()) if name.endswith(".json") else tomllib.loads(path.read_text("utf-8"))
            return model.model_validate(data)
        except ValidationError as error:
            for item in error.errors():
                report.add(Finding(span=Span(path=str(path), key=key_text(item["loc"])), code="KB111", message=item["msg"]))
        except (OSError, ValueError) as error:
            report.add(Finding(span=Span(path=str(path)), code="KB101", message=str(error)))
        return None

    component_map = read(FILE_NAME, ComponentMapDocument)
    shims = read("shims.toml", ShimsDocument)
    components = read("components.toml", ComponentsDocument)
    classes = read("runtimeclasses.toml", RuntimeClassesDocument)
    arches = {arch: read(f"arches/{arch}.toml", ArchDocument) for arch in Arch}
    if report.errors:
        return None, report
    documents = Documents(component_map=component_map, shims=shims, components=components, runtime_classes=classes, arches=arches)
    return resolve_catalog(documents), report
