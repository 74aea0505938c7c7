"""``kata-bundle plan``: the closure of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, json_option, manifests_option, pass_app, selection_options

if TYPE_CHECKING:
    from kata_bundle.plan.closure import Plan
    from kata_bundle.plan.selection import Selection

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle plan --shim qemu,clh --arch x86_64,aarch64
  kata-bundle plan --shim default --arch s390x --json"""
)
@selection_options
@manifests_option
@json_option
@pass_app
def command(app: App, selection: Selection) -> None:
    """Show which components a selection of shims needs, each once, and who needs it."""
    from kata_bundle.plan.closure import plan_closure

    plan = plan_closure(app.catalog(), selection)
    app.emit(plan.to_dict(), lambda: _text(plan))


def _text(plan: Plan) -> str:
    from kata_bundle.cli.render import plural, table_text

    parts = []
    for arch in plan.arches:
        components = plan.components_on(arch)
        shims = plan.shims_on(arch)
        parts.append(f"{arch}: {plural(len(shims), 'shim')} ({', '.join(shims)}), {plural(len(components), 'component')}")
        parts.append(table_text(("component", "needed by"), [(c.component, ", ".join(c.needed_by)) for c in components]))
        parts.append("")
    return "\n".join(parts)
