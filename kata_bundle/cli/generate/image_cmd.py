"""``kata-bundle generate image``: the installer's payload image, as an OCI layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import (
    App,
    dry_run_option,
    jobs_option,
    json_option,
    manifests_option,
    pass_app,
    profile_option,
    quiet_option,
    selection_options,
    source_option,
    store_option,
)
from kata_bundle.cli.remote_options import remote_options

if TYPE_CHECKING:
    from kata_bundle.build.apt import Apt
    from kata_bundle.build.image import PayloadImage
    from kata_bundle.cli.remote_options import RemoteChoice
    from kata_bundle.plan.selection import Selection

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle generate image --shim qemu --arch x86_64 -o image
  kata-bundle generate image --shim default --arch x86_64,aarch64 --pull -o image
  kata-bundle generate image --arch x86_64,aarch64,s390x --shim default --refresh-base
  skopeo copy --all oci:image:latest docker://registry.example/kata-deploy:v1"""
)
@selection_options
@click.option("-o", "--output", metavar="DIR", type=click.Path(), help="Write the OCI layout there.")
@click.option("--pull", is_flag=True, help="Put no components in: nodes pull the bundle.")
@click.option(
    "--imported", type=click.Choice(["ignore", "prefer", "only"]), default="ignore", show_default=True,
    help="Use tarballs taken in with `kata-bundle import` instead of building.",
)  # fmt: skip
@click.option("--level", type=click.IntRange(1, 22), default=10, show_default=True, help="zstd level of the layers.")
@click.option(
    "--nydus", metavar="DIR", type=click.Path(exists=True, file_okay=False),
    help="Folder with the nydus snapshotter's programs [default: those of a pinned distribution package].",
)  # fmt: skip
@click.option("--without-nydus", is_flag=True, help="Leave the nydus snapshotter out: nodes cannot be told to set it up.")
@click.option(
    "--versions", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
    help="Upstream's versions.yaml [default: a record of what the image holds].",
)  # fmt: skip
@click.option("--refresh-base", is_flag=True, help="Pin the base's packages anew, as the mirror has them today, and end.")
@remote_options
@store_option
@manifests_option
@profile_option
@source_option
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    *,
    selection: Selection,
    output: str | None,
    pull: bool,
    imported: str,
    level: int,
    nydus: str | None,
    without_nydus: bool,
    versions: str | None,
    refresh_base: bool,
    remote: RemoteChoice,
) -> None:
    """Make the multi-architecture image that a chart deploys: a base, the installer, and the components of the selection.

    No container daemon and no root is needed. The same pins, program and components give the same bytes. What each layer weighs
    and what the program costs to start is printed.
    """
    from pathlib import Path

    from kata_bundle.archive.zstd import current_recipe
    from kata_bundle.build.apt import Apt
    from kata_bundle.build.image import BASE_PACKAGES, NYDUS_PACKAGE, Nydus, build_image, load_base_lock
    from kata_bundle.cli.make import make_layers, prepare
    from kata_bundle.core import clock
    from kata_bundle.core.componentmap import ComponentMap

    with Apt() as packages:
        if refresh_base:
            _refresh(app, selection, packages)
            return
        if nydus is not None and without_nydus:
            message = "--nydus and --without-nydus exclude each other"
            raise click.UsageError(message)
        if output is None:
            message = "nothing to write: give -o DIR"
            raise click.UsageError(message)
        if app.dry_run:
            packages_in = BASE_PACKAGES if without_nydus or nydus else (*BASE_PACKAGES, NYDUS_PACKAGE)
            names = [f"{name} ({arch})" for arch in selection.arches for name in packages_in]
            app.emit({"dry_run": True, "base": names}, lambda: f"would write an image with {len(names)} packages to {output}")
            return
        source_date = clock.source_date()
        store = app.store()
        recipe = current_recipe(level)
        components, maps = {}, {}
        if not pull:
            prepared = prepare(app, selection, store, imported=imported)
            made = make_layers(app, prepared, store, recipe=recipe, source_date=source_date, remote=remote)
            for arch in prepared.plan.arches:
                components[arch] = [one.layer for one in made if one.layer.arch is arch]
                rows = {
                    shim: {arch.value: prepared.catalog.component_map.components(shim, arch) or ()}
                    for shim in prepared.plan.shims_on(arch)
                }
                maps[arch] = ComponentMap(rows).to_dict()
        image = build_image(
            Path(output),
            selection.arches,
            lock=load_base_lock(),
            packages=packages,
            store=store,
            components=components,
            component_map=maps,
            recipe=recipe,
            source_date=source_date,
            nydus=Nydus.NONE if without_nydus else Path(nydus) if nydus else Nydus.PINNED,
            versions=Path(versions).read_bytes() if versions else None,
            progress=app.progress,
        )
    app.close()
    document = {
        "digest": image.digest,
        "layout": output,
        "start_s": image.start_s,
        "layers": [
            {
                "arch": layer.arch.value,
                "name": layer.name,
                "digest": layer.packed,
                "packed_size_bytes": layer.packed_size_bytes,
                "unpacked_size_bytes": layer.unpacked_size_bytes,
            }
            for layer in image.layers
        ],
    }
    app.emit(document, lambda: _text(image, output))


def _refresh(app: App, selection: Selection, packages: Apt) -> None:
    from kata_bundle.build.image import NYDUS_PACKAGE, load_base_lock, refresh_base
    from kata_bundle.build.image.base import base_folder

    before = load_base_lock()
    after = before.with_pins(refresh_base(packages, selection.arches, (NYDUS_PACKAGE,)).pins)
    old, new = {pin.text for pin in before.pins}, {pin.text for pin in after.pins}
    if not app.dry_run:
        after.write(base_folder())
    lines = [*(f"- {text}" for text in sorted(old - new)), *(f"+ {text}" for text in sorted(new - old))]
    app.emit({"removed": sorted(old - new), "added": sorted(new - old)}, lambda: "\n".join(lines) or "nothing changed")


def _text(image: PayloadImage, output: str) -> str:
    from kata_bundle.cli.render import size_text, table_text

    rows = [
        (layer.arch.value, layer.name, size_text(layer.packed_size_bytes), size_text(layer.unpacked_size_bytes))
        for layer in image.layers
    ]
    lines = [table_text(("arch", "layer", "packed", "unpacked"), rows), ""]
    for arch in dict.fromkeys(layer.arch for layer in image.layers):
        own = [layer for layer in image.layers if layer.arch is arch]
        packed, unpacked = (
            sum(sizes) for sizes in zip(*((o.packed_size_bytes, o.unpacked_size_bytes) for o in own), strict=True)
        )
        lines.append(f"{arch.value}: {len(own)} layers, {size_text(packed)} packed, {size_text(unpacked)} unpacked")
    if image.start_s is not None:
        lines.append(f"kata-deploy starts in {image.start_s:.2f} s of processor time here")
    lines.append(f"image {image.digest} in {output}")
    return "\n".join(lines)
