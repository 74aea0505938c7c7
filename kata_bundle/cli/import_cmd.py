"""``kata-bundle import``: take prebuilt tarballs into the store, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, manifests_option, pass_app, quiet_option, store_option
from kata_bundle.core.arch import Arch

if TYPE_CHECKING:
    from kata_bundle.build import Imported

__all__ = ["command"]


def _arch(_ctx: click.Context, _parameter: click.Parameter, value: str) -> Arch:
    return Arch.parse(value)


@click.command(
    epilog="""\b
Examples:
  kata-bundle import tarballs/ --arch x86_64 --dry-run
  kata-bundle import tarballs/ --arch arm64
  kata-bundle bundle --shim qemu --arch aarch64 -o out --imported only"""
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--arch",
    required=True,
    callback=_arch,
    metavar="ARCH",
    help="The architecture they are for: archives do not say it themselves.",
)
@store_option
@manifests_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, folder: str, arch: Arch) -> None:
    """Take the kata-static-COMPONENT.tar.zst files of a folder into the store, byte for byte.

    Each is read to its end first. When one is malformed, hostile or of no known component, all problems are shown and nothing is
    taken.
    """
    from pathlib import Path

    from kata_bundle.build import import_directory

    catalog = app.catalog()
    found = import_directory(
        Path(folder), app.store(), arch, known=catalog.components, dry_run=app.dry_run, progress=app.progress
    )
    app.close()
    app.emit({"layers": [one.to_dict() for one in found]}, lambda: _text(found, dry_run=app.dry_run))


def _text(found: tuple[Imported, ...], *, dry_run: bool) -> str:
    from kata_bundle.cli.render import plural, size_text, table_text

    rows = [
        (
            one.record.component,
            one.record.arch.value,
            str(one.file_count),
            size_text(one.record.unpacked_size_bytes),
            size_text(one.record.packed_size_bytes),
            one.record.packed[:19] + "…",
            "up to date" if one.is_known else "new",
        )
        for one in found
    ]
    headers = ("component", "arch", "files", "unpacked", "packed", "digest", "")
    fresh = sum(not one.is_known for one in found)
    if dry_run:
        said = f"{fresh} would be imported; nothing was changed"
    else:
        said = f"{fresh} imported" if fresh else "all up to date, nothing was imported"
    return f"{table_text(headers, rows, right=(2, 3, 4))}\n\n{plural(len(found), 'tarball')}: {said}"
