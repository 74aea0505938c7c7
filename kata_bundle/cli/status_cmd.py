"""``kata-bundle status``: what is installed, since when, from which digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option
from kata_bundle.cli.site_options import site_options
from kata_bundle.cli.sites import machine_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.status import Status

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle status
  kata-bundle status --root /tmp/node --json"""
)
@site_options
@json_option
@quiet_option
@pass_app
def command(app: App, root: str, dest: str, suffix: str | None) -> None:
    """Say what is installed, since when, from which digest, which generations are kept and what drifted.

    Sizes, modes and links are compared; `kata-bundle verify` hashes every byte.
    """
    from kata_bundle.node.status import status

    found = status(machine_for(app, root, dest, suffix))
    app.emit(found.to_dict(), lambda: _text(found))


def _runtime(decisions: Mapping[str, JsonValue]) -> str:
    """Return what was decided about the container runtime's configuration in one line."""
    mode = f", {decisions['mode']}" if "mode" in decisions else ""
    schema = f", schema {decisions['schema']}" if decisions.get("schema") is not None else ""
    return f"configures {decisions.get('runtime')} {decisions.get('version')} in {decisions.get('output_file')}{mode}{schema}"


def _text(found: Status) -> str:
    from kata_bundle.cli.render import plural, size_text, table_text
    from kata_bundle.core.relpath import printable

    lines = (
        ["an install was interrupted; the next install, rollback or uninstall finishes or undoes it"] if found.interrupted else []
    )
    receipt = found.receipt
    if receipt is None:
        return "\n".join([*lines, f"nothing is installed in {found.dest}"])
    lines += [
        f"generation {receipt.generation} in {receipt.dest} since {receipt.activated} ({receipt.kind})",
        f"from {receipt.source} {receipt.source_digest or 'of unknown origin'}"
        + (f" for {receipt.arch}" if receipt.arch else ""),
        f"shims: {', '.join(receipt.shims) or 'unknown'}",
    ]
    if receipt.decisions:
        lines.append(_runtime(receipt.decisions))
    if receipt.retained:
        lines.append(f"retained for running sandboxes: {', '.join(receipt.retained)}")
    rows = [
        (name, layer.version or "", layer.origin, size_text(layer.packed_size_bytes), layer.packed[:19])
        for name, layer in receipt.layers.items()
    ]
    if rows:
        lines.append(table_text(("component", "version", "origin", "packed", "digest"), rows, right=(3,)))
    for edit in receipt.edits:
        lines.append(f"edited {printable(edit.path)} ({edit.kind}): {edit.reason}")
    others = [number for number in found.generations if number != receipt.generation]
    if others:
        lines.append(f"{plural(len(others), 'other generation')} kept: {', '.join(map(str, others))}")
    lines += [f"drifted {printable(path)}" for path in found.drifted] or ["nothing drifted"]
    return "\n".join(lines)
