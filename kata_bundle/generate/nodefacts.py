"""Node facts: what the installer has to know about shims, rendered from the catalog.

The installer must work without the catalog (a node has no manifests), so ``kata_bundle/node/facts.json`` carries these facts; a
test compares it with what the catalog gives. ``kata-bundle generate all`` writes it.

Knows: the catalog. Must not know: what the installer does with the facts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kata_bundle.core.canonical import dumps_pretty
from kata_bundle.manifest.catalog import ShimStatus

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog, Shim

__all__ = ["facts_path", "is_current", "node_facts", "render_node_facts"]


def node_facts(catalog: Catalog) -> dict[str, Any]:
    """Return the document: per architecture the defaults, per shim that the installer accepts what it needs to place it.

    ``arches`` are those where the component map has a row; ``hypervisor_binary`` is ``None`` for QEMU, whose program is named by
    architecture and artifact, and where there is none; ``overhead`` is ``None`` without a RuntimeClass.
    """
    return {
        "version": 1,
        "arches": {
            arch.value: {"default_shim": entry.default_shim, "default_shims": list(entry.default_shims)}
            for arch, entry in catalog.arches.items()
        },
        "shims": {name: _shim(catalog, shim) for name, shim in catalog.shims.items() if shim.status is not ShimStatus.UNFINISHED},
    }


def _shim(catalog: Catalog, shim: Shim) -> dict[str, Any]:
    klass = catalog.runtime_classes.get(shim.name)
    return {
        "arches": [arch.value for arch in shim.arches],
        "section": shim.hypervisor,
        "family": shim.family.value,
        "qemu_artifact": shim.qemu_artifact,
        "hypervisor_binary": shim.hypervisor_binary,
        "tee": shim.tee.value if shim.tee else None,
        "overhead": {"memory": klass.memory, "cpu": klass.cpu} if klass else None,
        "config_directory": shim.config_directory,
        "shim_binary": shim.shim_binary,
        "status": shim.status.value,
    }


def render_node_facts(catalog: Catalog) -> str:
    """Return the file's text."""
    return dumps_pretty(node_facts(catalog))


def facts_path() -> Path:
    """Return where the file lies in this installation."""
    return Path(__file__).resolve().parent.parent / "node" / "facts.json"


def is_current(catalog: Catalog) -> bool:
    """Return whether the file is there and equals what the catalog gives."""
    try:
        return facts_path().read_text(encoding="utf-8") == render_node_facts(catalog)
    except FileNotFoundError:
        return False
