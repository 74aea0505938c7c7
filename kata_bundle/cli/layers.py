"""The table of layers, the same for what was bundled and what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.cli.render import size_text, table_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kata_bundle.core.arch import Arch
    from kata_bundle.oci.bundleindex import BundleLayer

__all__ = ["layers_table"]


def layers_table(rows: Iterable[tuple[BundleLayer, Arch, Sequence[str]]]) -> str:
    """Return one row a layer: component, architecture, sizes, real or fixture, version, and the shims that need it."""
    return table_text(
        ("component", "arch", "unpacked", "packed", "what it is", "version", "needed by"),
        [
            (
                layer.component,
                arch.value,
                size_text(layer.unpacked_size_bytes),
                size_text(layer.packed_size_bytes),
                "FIXTURE" if layer.origin == "fixture" else f"real ({layer.origin})",
                layer.version or "unknown",
                ", ".join(needed_by),
            )
            for layer, arch, needed_by in rows
        ],
        right=(2, 3),
    )
