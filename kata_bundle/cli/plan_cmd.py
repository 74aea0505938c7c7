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
  kata-bundle plan --shim default --arch s390x --json
  kata-bundle plan --shim qemu,qemu-snp --arch x86_64 --graph svg > plan.svg
  kata-bundle plan --shim all --arch all --graph dot --parts | dot -Tpdf > plan.pdf"""
)
@selection_options
@click.option("--graph", type=click.Choice(["dot", "svg"]), help="Print the plan as a graph instead.")
@click.option("--parts", is_flag=True, help="In a graph: also what the components are built from.")
@manifests_option
@json_option
@pass_app
def command(app: App, selection: Selection, graph: str | None, parts: bool) -> None:
    """Show which components a selection of shims needs, each once, and who needs it."""
    from kata_bundle.core.errors import UsageError
    from kata_bundle.plan.closure import plan_closure

    if graph is None and parts:
        message = "--parts is for --graph"
        raise UsageError(message)
    if graph is not None and app.json:
        message = "--graph and --json exclude each other"
        raise UsageError(message)
    catalog = app.catalog()
    plan = plan_closure(catalog, selection)
    if graph is None:
        app.emit(plan.to_dict(), lambda: _text(plan))
        return
    from kata_bundle.plan.graph import plan_graphs, render_dot

    graphs = plan_graphs(catalog, plan, parts=parts)
    if graph == "dot":
        click.echo(render_dot(graphs), nl=False)
    else:
        from kata_bundle.plan.svg import render_svg

        click.echo(render_svg(graphs), nl=False)


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
