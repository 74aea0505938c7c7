"""``kata-bundle store``: what the local store holds."""

from __future__ import annotations

from typing import Any

import click

from kata_bundle.cli.app import App, json_option, pass_app, store_option

__all__ = ["command"]


@click.group()
def command() -> None:
    """Inspect the local store."""


@command.command(
    epilog="""\b
Examples:
  kata-bundle store info
  kata-bundle store info --store .demo/store --json"""
)
@store_option
@json_option
@pass_app
def info(app: App) -> None:
    """Show where the store is, what it holds and how large it is."""
    store = app.store(create=False)
    digests = list(store.digests())
    layers = [layer.to_dict() for layer in store.layers()]
    document: dict[str, Any] = {
        "path": str(store.root),
        "blobs": len(digests),
        "size_bytes": sum(store.size(digest) or 0 for digest in digests),
        "layers": layers,
    }
    app.emit(document, lambda: _text(document))


def _text(document: dict[str, Any]) -> str:
    from kata_bundle.cli.render import plural, size_text, table_text

    rows = [
        (layer["component"], layer["arch"], layer["origin"], size_text(layer["packed_size_bytes"]), layer["packed"][:19] + "…")
        for layer in document["layers"]
    ]
    lines = [f"{document['path']}: {plural(document['blobs'], 'blob')}, {size_text(document['size_bytes'])}"]
    if rows:
        lines += ["", table_text(("layer", "arch", "origin", "packed", "digest"), rows, right=(3,))]
    return "\n".join(lines)
