"""What is installed when nobody chooses: the default lists, as data and as the variables that an installer reads.

Variables are those of installer specification §2.1: ``SHIMS_<ARCH>`` and ``DEFAULT_SHIM_<ARCH>``. Must not know: nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.core.canonical import dumps_pretty

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["default_shims", "render_default_shims", "render_default_variables"]


def default_shims(catalog: Catalog) -> dict[str, Any]:
    """Return, per architecture (kernel name), the default shim and the default shims in the catalog's order."""
    return {
        arch.value: {"default_shim": entry.default_shim, "default_shims": list(entry.default_shims)}
        for arch, entry in catalog.arches.items()
    }


def render_default_shims(catalog: Catalog) -> str:
    """Return the lists as JSON."""
    return dumps_pretty(default_shims(catalog))


def render_default_variables(catalog: Catalog) -> str:
    """Return the lists as one ``NAME="value"`` line a variable, readable by a shell and as an environment file."""
    lines = []
    for arch, entry in catalog.arches.items():
        suffix = arch.value.upper()
        lines.append(f'SHIMS_{suffix}="{" ".join(entry.default_shims)}"')
        lines.append(f'DEFAULT_SHIM_{suffix}="{entry.default_shim}"')
    return "\n".join(lines) + "\n"
