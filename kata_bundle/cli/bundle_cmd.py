"""``kata-bundle bundle``: build, pack and assemble a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import (
    App,
    PathName,
    dry_run_option,
    jobs_option,
    json_option,
    manifests_option,
    pass_app,
    profile_option,
    quiet_option,
    sandbox_option,
    selection_options,
    source_option,
    store_option,
)
from kata_bundle.cli.eventstream import events_options
from kata_bundle.cli.remote_options import remote_options

if TYPE_CHECKING:
    from kata_bundle.cli.eventstream import EventsChoice
    from kata_bundle.cli.make import Made, Prepared
    from kata_bundle.cli.remote_options import RemoteChoice
    from kata_bundle.plan.selection import Selection

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle bundle --shim qemu,clh --arch x86_64,aarch64 -o out
  kata-bundle bundle --shim default -o out --tarballs tarballs
  kata-bundle bundle --shim qemu -o out --locked
  skopeo copy --all oci:out docker://registry.example/kata:v1"""
)
@selection_options
@click.option("-o", "--output", metavar="DIR", type=PathName(), help="Write the OCI layout there.")
@click.option("--tarballs", metavar="DIR", type=PathName(), help="Write the plain kata-static tarballs there (too).")
@click.option(
    "--lock", "lock_path", metavar="FILE", type=PathName(dir_okay=False), default="kata-bundle.lock", show_default=True,
    help="The lock to write, or with --locked to enforce.",
)  # fmt: skip
@click.option("--locked", is_flag=True, help="Stop unless the inputs are exactly those of the lock.")
@click.option(
    "--imported", type=click.Choice(["ignore", "prefer", "only"]), default="ignore", show_default=True,
    help="Use tarballs taken in with `kata-bundle import` instead of building.",
)  # fmt: skip
@click.option("--level", type=click.IntRange(1, 22), default=10, show_default=True, help="zstd level of the layers.")
@remote_options
@events_options
@store_option
@manifests_option
@profile_option
@source_option
@sandbox_option
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    selection: Selection,
    output: str | None,
    tarballs: str | None,
    lock_path: str,
    locked: bool,
    imported: str,
    level: int,
    remote: RemoteChoice,
    events: EventsChoice,
) -> None:
    """Build, pack and assemble the selected shims as an OCI layout, each component once.

    What the store has is used again. The same inputs give the same bytes, on any machine and with any --jobs; dates inside are
    SOURCE_DATE_EPOCH or 2020-01-01.
    """
    from pathlib import Path

    from kata_bundle.archive.zstd import current_recipe
    from kata_bundle.bundle.assemble import check_targets, write_layout, write_tarballs
    from kata_bundle.cli.make import ensure_lock, make_layers, prepare
    from kata_bundle.core import clock

    if output is None and tarballs is None:
        message = "nothing to write: give -o DIR, --tarballs DIR, or both"
        raise click.UsageError(message)
    source_date = clock.source_date()
    store = app.store()
    prepared = prepare(app, selection, store, imported=imported)
    layout, tarball_folder, lock = Path(output) if output else None, Path(tarballs) if tarballs else None, Path(lock_path)
    check_targets(prepared.plan, layout=layout, tarballs=tarball_folder, lock=lock)
    changed = ensure_lock(prepared, lock, locked=locked, dry_run=app.dry_run)
    if app.dry_run:
        app.emit(_dry_document(prepared, changed), lambda: _dry_text(prepared, lock_path, changed, output, tarballs))
        return
    if changed:
        app.say(f"wrote {lock_path}")
    made = make_layers(app, prepared, store, recipe=current_recipe(level), source_date=source_date, remote=remote, events=events)
    layers = [one.layer for one in made]
    document: dict[str, Any] = {"layers": [one.to_dict() for one in made]}
    what = (prepared.catalog, prepared.plan, layers, store)
    if layout is not None:
        digest = write_layout(*what, layout, source_date=source_date, progress=app.progress)
        document.update(digest=digest, layout=output)
    if tarball_folder is not None:
        folders = write_tarballs(*what, tarball_folder, progress=app.progress)
        document["tarballs"] = [str(folder) for folder in folders]
    app.close()
    app.emit(document, lambda: _text(made, document))


def _text(made: list[Made], document: dict[str, Any]) -> str:
    from kata_bundle.cli.render import layers_table, plural, size_text

    fresh = [one for one in made if not (one.content_reused and one.layer_reused)]
    packed = {one.layer.packed: one.layer.packed_size_bytes for one in made}
    lines = [layers_table([(one.layer.to_bundle_layer(), one.layer.arch, one.needed_by) for one in made]), ""]
    if fresh:
        lines.append(f"{plural(len(made), 'layer')}: {len(fresh)} made, {len(made) - len(fresh)} up to date")
    else:
        lines.append(f"{plural(len(made), 'layer')}: all up to date, nothing was built or packed")
    lines.append(f"{plural(len(packed), 'distinct blob')}, {size_text(sum(packed.values()))} packed")
    if "digest" in document:
        lines.append(f"bundle {document['digest']} in {document['layout']}")
    lines += [f"tarballs in {folder}" for folder in document.get("tarballs", ())]
    fixtures = sorted({one.layer.component for one in made if not one.is_real})
    if fixtures:
        lines.append(f"FIXTURES, not for production: {', '.join(fixtures)}")
    return "\n".join(lines)


def _dry_document(prepared: Prepared, changed: bool) -> dict[str, Any]:
    import json

    return {"plan": prepared.plan.to_dict(), "lock": json.loads(prepared.lock.to_json()), "lock_changes": changed}


def _dry_text(prepared: Prepared, lock_path: str, changed: bool, output: str | None, tarballs: str | None) -> str:
    from kata_bundle.cli.render import plural, table_text

    rows = [
        (c.component, c.arch.value, prepared.lock.components[c.arch][c.component].kind, ", ".join(c.needed_by))
        for c in prepared.plan.components
    ]
    lines = [table_text(("component", "arch", "from", "needed by"), rows), ""]
    lines.append(f"would make or reuse {plural(len(rows), 'layer')}; nothing was changed")
    if changed:
        lines.append(f"would write {lock_path}")
    lines += [f"would write the OCI layout {output}"] if output else []
    lines += [f"would write tarballs to {tarballs}"] if tarballs else []
    return "\n".join(lines)
