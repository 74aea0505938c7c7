"""``kata-bundle generate runtimeclasses``."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, Names, known_shims, pass_app
from kata_bundle.cli.generate.output import deliver, output_options

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle generate runtimeclasses | kubectl apply -f -
  kata-bundle generate runtimeclasses --shim qemu-snp,qemu-tdx --discovery -o classes.yaml
  kata-bundle generate runtimeclasses --shim qemu --suffix blue --debug"""
)
@click.option(
    "--shim", "shims", multiple=True, type=Names(known_shims), metavar="SHIM[,SHIM…]",
    help='Shims, "default", or "all" [default: those that the chart enables].',
)  # fmt: skip
@click.option(
    "--arch", "arches", multiple=True, type=Names(lambda: ["x86_64", "aarch64", "s390x", "ppc64le"]), metavar="ARCH[,ARCH…]",
    help="Only shims that exist on one of these [default: any].",
)  # fmt: skip
@click.option("--suffix", metavar="S", help="Suffix of the install that the classes belong to.")
@click.option("--default-class", is_flag=True, help="One class more, for the default shim.")
@click.option("--debug", is_flag=True, help="A debug variant of each class, too.")
@click.option("--devkit", is_flag=True, help="A devkit variant of each class, too; with --debug.")
@click.option(
    "--discovery", is_flag=True,
    help="The cluster runs node feature discovery: select capable nodes, request TEE keys.",
)  # fmt: skip
@click.option("--overhead/--no-overhead", default=True, help="State what a pod costs beside its containers [default: yes].")
@click.option("--kata-version", metavar="VERSION", help="Release to name in an annotation.")
@output_options
@pass_app
def command(
    app: App,
    shims: tuple[tuple[str, ...], ...],
    arches: tuple[tuple[str, ...], ...],
    suffix: str | None,
    default_class: bool,
    debug: bool,
    devkit: bool,
    discovery: bool,
    overhead: bool,
    kata_version: str | None,
    output: str | None,
    check: bool,
) -> None:
    """Write the RuntimeClass objects of shims, with overheads and node selectors."""
    from kata_bundle.core.arch import Arch
    from kata_bundle.generate.runtimeclasses import ClassOptions, render_runtime_classes, select_shims

    options = ClassOptions(
        suffix=suffix,
        default_class=default_class,
        debug=debug,
        devkit=devkit,
        discovery=discovery,
        overhead=overhead,
        kata_version=kata_version,
    )
    catalog = app.catalog()
    on = tuple(dict.fromkeys(Arch.parse(name) for group in arches for name in group))
    selected = select_shims(catalog, tuple(dict.fromkeys(name for group in shims for name in group)), on)
    deliver(
        app, lambda _existing: {"": render_runtime_classes(catalog, selected, options, arches=on)}, output=output, check=check
    )
