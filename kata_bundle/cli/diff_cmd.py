"""``kata-bundle diff``: two catalogs, locks or bundles compared."""

from __future__ import annotations

from pathlib import Path

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle diff old-bundle/ new-bundle/
  kata-bundle diff old-bundle/ new-bundle/ --format markdown > release-note.md
  kata-bundle diff old-bundle/ new-bundle/ --transfer
  kata-bundle diff main/manifests manifests --json
  kata-bundle diff old.lock kata-bundle.lock --quiet"""
)
@click.argument("old", type=click.Path(exists=True))
@click.argument("new", type=click.Path(exists=True))
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "markdown"]), default=None,
    help="Form of the result [default: text].",
)  # fmt: skip
@click.option(
    "--files", type=click.IntRange(0), default=10, show_default=True, metavar="N",
    help="Name at most N files a component; 0 reads none. JSON names all, unless 0.",
)  # fmt: skip
@click.option("--transfer", is_flag=True, help="Of bundles: also say what an upgrade by deltas takes, file by file.")
@json_option
@quiet_option
@pass_app
def command(app: App, old: str, new: str, form: str | None, files: int, transfer: bool) -> int:
    """Compare OLD and NEW: two bundles (OCI layouts), two folders of manifests, or two locks.

    Exit with 0 when they are equal, with 12 when they differ. Of bundles, files are compared where a component's content differs.
    """
    from kata_bundle.cli.sides import read_side, tree_reader
    from kata_bundle.core.errors import DriftError, UsageError
    from kata_bundle.plan.diff import compare_snapshots

    before, after = read_side(Path(old)), read_side(Path(new))
    if before.snapshot.kind is not after.snapshot.kind:
        message = f"{old} is a {before.snapshot.kind}, {new} a {after.snapshot.kind}: they cannot be compared"
        raise UsageError(message)
    read_trees = tree_reader(app, before, after) if files else None
    report = compare_snapshots(before.snapshot, after.snapshot, read_trees=read_trees)
    document, shown = report.to_dict(), ""
    if transfer:
        if before.bundle is None or after.bundle is None:
            message = "--transfer needs two bundles"
            raise UsageError(message)
        if not report.is_equal:
            from kata_bundle.cli.delta_cmd import estimate

            document["transfer"], shown = estimate(app, before.bundle, after.bundle, files=files)
    app.close()
    if app.json or form == "json":
        app.json = True
        app.emit(document, str)
    elif form == "markdown":
        from kata_bundle.cli.diff_markdown import diff_markdown

        click.echo(diff_markdown(report, files=files), nl=False)
    elif not app.quiet:
        from kata_bundle.cli.diff_text import diff_text

        click.echo(diff_text(report, files=files) + (f"\n\ntransfer by deltas\n\n{shown}" if shown else ""))
    return 0 if report.is_equal else DriftError.exit_code
