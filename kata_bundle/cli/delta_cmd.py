"""``kata-bundle delta``: what an upgrade takes, and the deltas that make it take so little."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, Names, PathName, dry_run_option, jobs_option, json_option, pass_app, quiet_option
from kata_bundle.core.arch import Arch

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.bundle.delta import LayerPlan
    from kata_bundle.oci.bundle import Bundle

__all__ = ["arches_option", "command", "estimate", "names_option"]


def names_option(option: str, what: str) -> Callable[[Any], Any]:
    """Add an option that takes names, several times or separated by commas; the command gets a tuple."""

    def callback(_ctx: click.Context, _parameter: click.Parameter, value: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for group in value for name in group))

    return click.option(
        f"--{option}", f"{option}s", multiple=True, type=Names(list), callback=callback, metavar="NAME[,NAME…]", help=what
    )


def arches_option(function: Any) -> Any:
    """Add ``--arch``, which here means every architecture of the bundles unless some are named; ``None`` then."""

    def callback(_ctx: click.Context, _parameter: click.Parameter, value: tuple[tuple[str, ...], ...]) -> tuple[Arch, ...] | None:
        names = tuple(dict.fromkeys(name for group in value for name in group))
        return None if names in {(), ("all",)} else tuple(dict.fromkeys(Arch.parse(name) for name in names))

    return click.option(
        "--arch",
        "arches",
        multiple=True,
        type=Names(lambda: [*Arch, "all"]),
        callback=callback,
        metavar="ARCH[,ARCH…]",
        help="Only these architectures [default: all there are].",
    )(function)


@click.command(
    epilog="""\b
Examples:
  kata-bundle delta old-bundle/ new-bundle/
  kata-bundle delta old-bundle/ new-bundle/ -o new-bundle/
  kata-bundle delta old-bundle/ new-bundle/ -o deltas/ --component rootfs-image --level 19
  kata-bundle delta bundle/ bundle/ --component rootfs-image-confidential --base rootfs-image"""
)
@click.argument("old", type=PathName(exists=True, file_okay=False))
@click.argument("new", type=PathName(exists=True, file_okay=False))
@click.option(
    "-o", "--output", metavar="DIR", type=PathName(file_okay=False),
    help="Put the deltas there: into a layout, as referrers of the images they lead to, or a new one [default: only estimate].",
)  # fmt: skip
@click.option("--estimate-only", is_flag=True, help="Make nothing; only say what it would take.")
@click.option("--exact", is_flag=True, help="Estimate by compressing everything, not only a sample.")
@names_option("component", "Only these components.")
@click.option("--base", metavar="COMPONENT", help="Start from this component of OLD, whatever the names say.")
@click.option("--level", type=click.IntRange(1, 22), default=10, show_default=True, help="zstd level of the deltas.")
@click.option(
    "--files", type=click.IntRange(0), default=5, show_default=True, metavar="N",
    help="Name at most N files a component, the dearest. JSON names all.",
)  # fmt: skip
@arches_option
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    old: str,
    new: str,
    output: str | None,
    estimate_only: bool,
    exact: bool,
    components: tuple[str, ...],
    base: str | None,
    level: int,
    files: int,
    arches: tuple[Arch, ...] | None,
) -> None:
    """Say what going from the bundle OLD to the bundle NEW takes, and make the deltas for it.

    An estimate comes first: of each file a sample of its frames is compressed. The same bundle twice compares its components with
    each other, such as an image with its variants. A node that has OLD installed takes the deltas by itself.
    """
    from kata_bundle.oci.bundle import open_bundle

    before, after = open_bundle(Path(old)), open_bundle(Path(new))
    with _Run(app, before, after, level=level, output=None if output is None else Path(output)) as run:
        plans = run.plan(arches, components, base, exact=exact)
        if estimate_only or app.dry_run or output is None:
            document = _document(plans, {}, before, after)
            app.emit(document, lambda: _text(plans, {}, files))
            return
        app.say(f"estimate: {_total_text(plans, {})}")
        made = run.make(plans)
    app.emit(_document(plans, made, before, after), lambda: _text(plans, made, files))


def estimate(app: App, old: Bundle, new: Bundle, *, files: int) -> tuple[dict[str, Any], str]:
    """Return what going from ``old`` to ``new`` would take, as JSON data and as text that names ``files`` files a component."""
    from kata_bundle.archive.deltaencode import DEFAULT_LEVEL

    with _Run(app, old, new, level=DEFAULT_LEVEL, output=None) as run:
        plans = run.plan(None, (), None, exact=False)
    return _document(plans, {}, old, new), _text([plan for plan in plans if not plan.is_unchanged], {}, files)


class _Run:
    """One comparison of two bundles, with the files that it needs."""

    def __init__(self, app: App, old: Bundle, new: Bundle, *, level: int, output: Path | None) -> None:
        from kata_bundle.archive.deltaencode import current_recipe
        from kata_bundle.bundle.deltawork import Workspace

        self._app = app
        self._old, self._new = old, new
        self._recipe = current_recipe(level)
        self._output = output
        parent = None if output is None or app.dry_run or not output.absolute().parent.is_dir() else output.absolute().parent
        self._workspace = Workspace(parent, jobs=app.job_count, progress=app.progress)

    def __enter__(self) -> _Run:
        self._workspace.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._workspace.__exit__(*details)
        self._app.close()

    def plan(
        self, arches: tuple[Arch, ...] | None, components: tuple[str, ...], base: str | None, *, exact: bool
    ) -> list[LayerPlan]:
        """Return what each wanted layer of the new bundle takes."""
        from kata_bundle.bundle.delta import bundle_layers, choose_bases, plan_layers
        from kata_bundle.core.errors import UsageError

        old, new = bundle_layers(self._old, arches), bundle_layers(self._new, arches)
        for component in components:
            if all(layer.component != component for layer in new):
                message = f'the bundle {self._new.layout.directory} has no component "{component}"'
                raise UsageError(message)
        wanted = [layer for layer in new if not components or layer.component in components]
        variants = self._old.digest == self._new.digest
        pairs = choose_bases(wanted, old, base=base)
        return plan_layers(
            pairs,
            () if variants else old,
            self._workspace,
            recipe=self._recipe,
            exact=exact,
            jobs=self._app.job_count,
            progress=self._app.progress,
        )

    def make(self, plans: list[LayerPlan]) -> dict[int, Any]:
        """Make the deltas that are worth it; return plan number → (descriptor, table)."""
        from kata_bundle.bundle.delta import bundle_mtime
        from kata_bundle.bundle.deltastore import add_delta, open_or_create
        from kata_bundle.oci.deltas import attach_deltas

        if self._output is None:
            return {}
        layout = open_or_create(self._output)
        made: dict[int, Any] = {}
        for number, plan in enumerate(plans):
            if plan.base is not None:
                made[number] = add_delta(
                    layout,
                    plan.layer,
                    plan.base,
                    self._workspace,
                    recipe=self._recipe,
                    mtime=bundle_mtime(self._new, plan.layer.arch),
                    jobs=self._app.job_count,
                    progress=self._app.progress,
                )
                self._workspace.drop()
        is_attached = layout.has(self._new.digest)
        for arch in self._new.arches():
            deltas = [descriptor for number, (descriptor, _) in made.items() if plans[number].layer.arch is arch]
            if deltas:
                subject = self._new.manifest_descriptor(arch)
                attach_deltas(layout, subject, deltas, name=None if is_attached else f"delta-{arch}")
        return made


def _document(plans: list[LayerPlan], made: dict[int, Any], old: Bundle, new: Bundle) -> dict[str, Any]:
    from kata_bundle.bundle.delta import plan_to_dict

    rows = []
    for number, plan in enumerate(plans):
        descriptor, table = made.get(number, (None, None))
        row = plan_to_dict(plan, table, None if descriptor is None else descriptor.size_bytes)
        rows.append(row | {"delta": None if descriptor is None else descriptor.digest})
    return {
        "version": 1,
        "old": old.digest,
        "new": new.digest,
        "exact": all(row["exact"] for row in rows),
        "full_bytes": sum(plan.full_bytes for plan in plans),
        "transfer_bytes": sum(int(str(row["transfer_bytes"])) for row in rows),
        "components": rows,
    }


def _total_text(plans: list[LayerPlan], made: dict[int, Any]) -> str:
    from kata_bundle.cli.render import size_text

    full = sum(plan.full_bytes for plan in plans)
    taken = sum(made[n][0].size_bytes if n in made else plan.transfer_bytes for n, plan in enumerate(plans))
    is_sample = any(n not in made and p.base is not None and p.estimate and not p.estimate.exact for n, p in enumerate(plans))
    share = f" ({100 * taken / full:.1f} %)" if full else ""
    return f"{'about ' if is_sample else ''}{size_text(taken)} of {size_text(full)}{share}{', by a sample' if is_sample else ''}"


def _text(plans: list[LayerPlan], made: dict[int, Any], files: int) -> str:
    from kata_bundle.archive.deltacosts import file_costs
    from kata_bundle.cli.render import plural, size_text, table_text
    from kata_bundle.core.relpath import printable

    rows = []
    details = []
    for number, plan in enumerate(plans):
        size = made[number][0].size_bytes if number in made else plan.transfer_bytes
        how = "unchanged" if plan.is_unchanged else "full" if plan.base is None else f"from {plan.base.component}"
        share = f"{100 * size / plan.full_bytes:.1f} %" if plan.full_bytes else ""
        rows.append((plan.layer.component, plan.layer.arch.value, size_text(plan.full_bytes), size_text(size), share, how))
        table = made[number][1] if number in made else None if plan.base is None or plan.estimate is None else plan.estimate.table
        if table is None or not files:
            continue
        costs = [cost for cost in file_costs(table) if cost.stored_bytes]
        costs.sort(key=lambda cost: (-cost.stored_bytes, cost.path))
        details.append(f"{plan.layer.component} ({plan.layer.arch})")
        for cost in costs[:files]:
            stored, whole = size_text(cost.stored_bytes), size_text(cost.size_bytes)
            details.append(f"  {printable(cost.path)}  {cost.mode.value}  {stored} of {whole}")
        if len(costs) > files:
            details.append(f"  and {plural(len(costs) - files, 'file')} more")
    lines = [table_text(("component", "arch", "full", "transfer", "share", "how"), rows, right=(2, 3, 4)), ""]
    if details:
        lines += [*details, ""]
    return "\n".join([*lines, _total_text(plans, made)])
