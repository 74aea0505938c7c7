"""``kata-bundle why``: the reason for a component."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, arch_option, json_option, manifests_option, pass_app

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.plan.closure import Reason

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle why qemu ovmf --arch all
  kata-bundle why qemu-snp virtiofsd --arch x86_64 --json"""
)
@click.argument("shim")
@click.argument("component")
@arch_option
@manifests_option
@json_option
@pass_app
def command(app: App, shim: str, component: str, arches: tuple[Arch, ...]) -> None:
    """Explain whether SHIM needs COMPONENT, and which other shims do."""
    from kata_bundle.plan.closure import why

    reasons = why(app.catalog(), shim, component, arches)
    app.emit([reason.to_dict() for reason in reasons], lambda: "\n".join(_text(reason) for reason in reasons))


def _text(reason: Reason) -> str:
    others = f"also needed by {', '.join(reason.also_needed_by)}" if reason.also_needed_by else "no other shim needs it"
    if reason.listed:
        return f'{reason.arch}: "{reason.shim}" lists "{reason.component}" in {_MAP}; {others}'
    row = ", ".join(reason.siblings)
    return f'{reason.arch}: "{reason.shim}" does not need "{reason.component}" (its components: {row}); {others}'


_MAP = "shim-components.json"
