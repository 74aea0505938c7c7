"""What components.toml and upstream.toml say of upstream's build, in the forms that rules compare. No rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.models import ComponentLayer
    from kata_bundle.manifest.positions import KeyPath


__all__ = ["LAST_COMMIT", "VERSION_KEY", "arches_of", "bare", "expanded", "folder_of", "layers", "version_names"]

VERSION_KEY = re.compile(r"(assets|externals|languages)\.([^ <]|<[^>]*>)*")
LAST_COMMIT = re.compile(r"last commit of (\S+)")


def layers(manifests: Manifests) -> Iterator[tuple[KeyPath, ComponentLayer]]:
    """Yield every component and every group of components.toml, with its key."""
    model = manifests.components.model
    for name, component in model.components.items():
        yield ("components", name), component
    for name, group in model.groups.items():
        yield ("groups", name), group


def arches_of(manifests: Manifests) -> dict[KeyPath, set[str]]:
    """Return, by layer, the architectures on which the components that take values from it are built."""
    found: dict[KeyPath, set[str]] = {}
    for name, component in manifests.components.model.components.items():
        arches = manifests.facts(name).values.get("arches") or ()
        for where in (("components", name), *(("groups", group) for group in component.groups)):
            found.setdefault(where, set()).update(arches)
    return found


def expanded(key: str, arches: set[str]) -> list[str]:
    """Return a version key once for each architecture, when it has a place for one."""
    return [key.replace("<arch>", arch) for arch in sorted(arches)] if "<arch>" in key else [key]


def version_names(manifests: Manifests) -> set[str]:
    """Return every key of versions.yaml that upstream.toml knows, and every table above one."""
    names: set[str] = set()
    for entry, members in manifests.upstream.model.versions.items():
        parts = entry.split(".")
        names |= {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
        names |= {f"{entry}.{member}" for member in members}
    return names


def bare(text: str) -> str:
    """Return a script folder without the remark in brackets behind it."""
    return text.partition(" (")[0]


def folder_of(text: str) -> str:
    """Return the folder of upstream\'s tree that a cache key names; those below static-build may be named from there."""
    return f"tools/packaging/{text}" if text.startswith("static-build/") else text
