"""``kata-bundle size``: what shims weigh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import (
    App,
    Names,
    arch_option,
    json_option,
    known_shims,
    manifests_option,
    pass_app,
    profile_option,
    quiet_option,
    source_option,
    store_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.plan.size import LayerSize, SizeReport, Weight

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle size --shim qemu,clh,fc --arch x86_64
  kata-bundle size --shim all --arch all --json
  kata-bundle size out/ --components"""
)
@click.argument("bundle", required=False, type=click.Path(exists=True, file_okay=False))
@click.option(
    "--shim", "shims", multiple=True, type=Names(known_shims), metavar="SHIM[,SHIM…]",
    help='Shims, "default", or "all" [default: all of the bundle].',
)  # fmt: skip
@arch_option
@click.option("--components", is_flag=True, help="Show each component, too.")
@click.option(
    "--imported", type=click.Choice(["ignore", "prefer", "only"]), default="ignore", show_default=True,
    help="Weigh tarballs taken in with `kata-bundle import`, as a bundle would use them.",
)  # fmt: skip
@store_option
@manifests_option
@profile_option
@source_option
@json_option
@quiet_option
@pass_app
@click.pass_context
def command(
    ctx: click.Context,
    app: App,
    bundle: str | None,
    shims: tuple[tuple[str, ...], ...],
    arches: tuple[Arch, ...],
    components: bool,
    imported: str,
) -> None:
    """Show what each shim weighs alone, how much of that it shares, and what it alone adds.

    Weighed are the layers of BUNDLE, or without one those that the store has of the selection; nothing is made. "shared" is what
    another selected shim on the same architecture needs too; "marginal" is what goes when this one goes.
    """
    from kata_bundle.plan.size import size_report

    words = tuple(dict.fromkeys(name for group in shims for name in group))
    chosen = ctx.get_parameter_source("arches") is not click.core.ParameterSource.DEFAULT
    if bundle is not None:
        cells, layers = _of_bundle(bundle, words, arches if chosen else ())
    else:
        cells, layers = _of_store(app, words, arches, imported)
    report = size_report(cells, layers)
    if report.unknown:
        names = ", ".join(f"{component} ({arch})" for arch, component in report.unknown)
        app.say(f"not in the store, so they count nothing: {names}")
    app.emit(report.to_dict(), lambda: _text(report, components=components))


def _of_bundle(
    path: str, words: tuple[str, ...], arches: tuple[Arch, ...]
) -> tuple[Mapping[tuple[Arch, str], tuple[str, ...]], Mapping[tuple[Arch, str], LayerSize]]:
    from pathlib import Path

    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import UsageError
    from kata_bundle.oci.bundle import open_bundle
    from kata_bundle.plan.selection import ALL, DEFAULT

    opened = open_bundle(Path(path), arches=arches or None)
    indexes = {arch: opened.index(arch) for arch in opened.arches() if not arches or arch in arches}
    known = {shim for index in indexes.values() for shim in index.shims}
    wrong = [word for word in words if word not in {*known, ALL, DEFAULT}]
    if wrong:
        message = "; ".join(f'the bundle holds no shim "{word}"' for word in wrong)
        raise UsageError(message, hint=did_you_mean(wrong[0], known) or f"it holds {', '.join(sorted(known))}")
    cells: dict[tuple[Arch, str], tuple[str, ...]] = {}
    layers: dict[tuple[Arch, str], LayerSize] = {}
    for arch, index in indexes.items():
        defaults = index.default_shims if DEFAULT in words else ()
        for shim, row in index.shims.items():
            if not words or ALL in words or shim in words or shim in defaults:
                cells[arch, shim] = row
        for name, layer in index.layers.items():
            layers[arch, name] = _layer(layer.packed, layer.packed_size_bytes, layer.unpacked_size_bytes, layer.origin)
    return cells, layers


def _of_store(
    app: App, words: tuple[str, ...], arches: tuple[Arch, ...], imported: str
) -> tuple[Mapping[tuple[Arch, str], tuple[str, ...]], Mapping[tuple[Arch, str], LayerSize]]:
    from kata_bundle.cli.stored import existing_store, stored_layers
    from kata_bundle.core.errors import UsageError
    from kata_bundle.plan.closure import plan_closure
    from kata_bundle.plan.selection import Selection

    if not words:
        message = "no shim selected"
        raise UsageError(message, hint='name shims with --shim, or "all" or "default", or a bundle')
    catalog = app.catalog()
    plan = plan_closure(catalog, Selection(shims=words, arches=arches))
    cells = {(cell.arch, cell.shim): catalog.component_map.components(cell.shim, cell.arch) or () for cell in plan.cells}
    store = existing_store(app)
    records = (
        {}
        if store is None
        else stored_layers(
            catalog,
            store,
            [(c.arch, c.component) for c in plan.components],
            imported=imported,
            profile=app.profile,
            given=app.given(),
        )
    )
    if not records:
        message = "the store has no layer of this selection, so there is nothing to weigh"
        raise UsageError(message, hint="kata-bundle bundle makes them; kata-bundle size BUNDLE weighs an existing bundle")
    layers = {
        key: _layer(record.packed, record.packed_size_bytes, record.unpacked_size_bytes, record.origin)
        for key, record in records.items()
    }
    return cells, layers


def _layer(packed: str, packed_bytes: int, unpacked_bytes: int, origin: str) -> LayerSize:
    from kata_bundle.core.digest import parse_digest
    from kata_bundle.plan.size import LayerSize, Weight

    weight = Weight(packed_bytes=packed_bytes, unpacked_bytes=unpacked_bytes)
    return LayerSize(packed=parse_digest(packed), weight=weight, is_real=origin != "fixture")


def _text(report: SizeReport, *, components: bool) -> str:
    from kata_bundle.cli.render import plural, size_text, table_text

    several = len({shim.arch for shim in report.shims}) > 1
    head, rows = ["shim", *(["arch"] if several else [])], []
    for shim in report.shims:
        mark = "+" if shim.unknown else ""
        cells = [_weight(weight, mark) for weight in (shim.alone, shim.shared, shim.marginal)]
        rows.append([shim.shim, *([shim.arch.value] if several else []), *(cell for pair in cells for cell in pair)])
    columns = [*head, "alone: packed", "unpacked", "shared: packed", "unpacked", "marginal: packed", "unpacked"]
    parts = [table_text(columns, rows, right=range(len(head), len(columns))), ""]
    if components:
        parts.append(_components(report))
        parts.append("")
    total, separate = report.total, report.separate
    parts.append(
        f"together {size_text(total.packed_bytes)} packed, {size_text(total.unpacked_bytes)} unpacked, in "
        f"{plural(sum(c.weight is not None for c in report.components), 'component')}"
    )
    if separate.packed_bytes:
        share = 100 * total.packed_bytes / separate.packed_bytes
        parts.append(f"separate payloads would be {size_text(separate.packed_bytes)} packed: sharing leaves {share:.0f} %")
    stand_ins = sorted({c.component for c in report.components if not c.is_real})
    if stand_ins:
        parts.append(f"FIXTURES, whose sizes say nothing: {', '.join(stand_ins)}")
    if report.unknown:
        parts.append("+ and what is not known: some components are not in the store")
    return "\n".join(parts)


def _weight(weight: Weight, mark: str = "") -> tuple[str, str]:
    from kata_bundle.cli.render import size_text

    return size_text(weight.packed_bytes) + mark, size_text(weight.unpacked_bytes) + mark


def _components(report: SizeReport) -> str:
    from kata_bundle.cli.render import table_text

    rows = [
        (c.component, c.arch.value, *(("?", "?") if c.weight is None else _weight(c.weight)), ", ".join(c.needed_by))
        for c in report.components
    ]
    return table_text(("component", "arch", "packed", "unpacked", "needed by"), rows, right=(2, 3))
