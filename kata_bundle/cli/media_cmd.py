"""``kata-bundle media``: several bundles on one medium for sites without a network, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kata_bundle.cli.app import App, PathName, dry_run_option, jobs_option, json_option, pass_app, quiet_option
from kata_bundle.cli.delta_cmd import arches_option, names_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kata_bundle.bundle.mediaexport import Exported
    from kata_bundle.bundle.mediaimport import ImportedLayer, Wanted
    from kata_bundle.bundle.mediaplan import Input, MediaPlan
    from kata_bundle.bundle.medium import Medium, Release
    from kata_bundle.core.arch import Arch

__all__ = ["command"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A release's name: a tag as registries take it, and a folder's name."""


@click.group()
def command() -> None:
    """Put bundles on one small medium, check it, and take them from it.

    A medium is an OCI image layout. Layers lie there in full or as deltas, whichever makes the whole smallest.
    """


@command.command(
    "export",
    epilog="""\b
Examples:
  kata-bundle media export 3.30.0=bundle-3.30.0/ 3.30.1=bundle-3.30.1/ -o /mnt/stick/kata
  kata-bundle media export 3.31.0=bundle/ 3.30.1=old/ -o /mnt/stick/kata      # append to it
  kata-bundle media export bundle/ -o medium --arch x86_64 --dry-run
  kata-bundle media export a=a/ b=b/ -o medium --full b                       # any tool can copy b""",
)
@click.argument("bundles", nargs=-1, required=True, metavar="[NAME=]BUNDLE…")
@click.option(
    "-o", "--output", required=True, metavar="DIR", type=PathName(file_okay=False), help="The medium: new, or to add to."
)
@names_option("full", "Keep all layers of these releases in full.")
@click.option("--level", type=click.IntRange(1, 22), default=10, show_default=True, help="zstd level of the deltas.")
@arches_option
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def export_command(
    app: App, bundles: tuple[str, ...], output: str, fulls: tuple[str, ...], level: int, arches: tuple[Arch, ...] | None
) -> None:
    """Add bundles to a medium, each under a name (default: its folder's).

    What is on the medium stays. An interrupted run changed nothing that can be seen; run it again and it goes on. To let a new
    release start from one that is on the medium already, name that one's bundle too. Layers are unpacked where TMPDIR says.
    """
    from kata_bundle.archive.deltaencode import current_recipe
    from kata_bundle.bundle.deltastore import open_or_create
    from kata_bundle.bundle.deltawork import Workspace
    from kata_bundle.bundle.mediaexport import Record, export_medium
    from kata_bundle.bundle.mediaplan import plan_medium
    from kata_bundle.bundle.medium import Medium
    from kata_bundle.core.errors import UsageError

    directory = Path(output)
    inputs = [_input(text, arches) for text in bundles]
    names = [each.name for each in inputs]
    for name in fulls:
        if name not in names:
            message = f'--full "{name}" is none of {", ".join(names)}'
            raise UsageError(message)
    if len(set(names)) != len(names):
        message = "two bundles have one name"
        raise UsageError(message, hint="name them: NAME=BUNDLE")
    recipe = current_recipe(level)
    exists = (directory / "index.json").exists()
    record = Record(directory)
    if not app.dry_run:
        layout = open_or_create(directory)
    # Not beside the medium, which may be slow and small.
    with Workspace(jobs=app.job_count, progress=app.progress) as work:
        medium = Medium.open(directory) if exists else None
        plan = plan_medium(
            inputs,
            medium,
            work,
            recipe=recipe,
            keep_full=fulls,
            jobs=app.job_count,
            estimates=record.estimates,
            progress=app.progress,
        )
        if app.dry_run:
            app.close()
            app.emit(_plan_document(plan, None), lambda: _plan_text(plan, None))
            return
        record.save()
        done = export_medium(layout, inputs, plan, work, record, recipe=recipe, jobs=app.job_count, progress=app.progress)
    app.close()
    app.emit(_plan_document(plan, done), lambda: _plan_text(plan, done))


@command.command(
    "import",
    epilog="""\b
Examples:
  kata-bundle media import /mnt/stick/kata -o bundles/
  kata-bundle media import /mnt/stick/kata -o bundle/ --release 3.30.1 --arch x86_64 --shim qemu
  kata-bundle media import /mnt/stick/kata -o bundles/ --dry-run""",
)
@click.argument("medium", type=PathName(exists=True, file_okay=False))
@click.option(
    "-o", "--output", required=True, metavar="DIR", type=PathName(file_okay=False),
    help="Where the bundle goes; of several releases, each into a folder of its name there.",
)  # fmt: skip
@names_option("release", "Only these releases [default: all].")
@names_option("shim", "Only what these shims need.")
@arches_option
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def import_command(
    app: App,
    medium: str,
    output: str,
    releases: tuple[str, ...],
    shims: tuple[str, ...],
    arches: tuple[Arch, ...] | None,
) -> None:
    """Make bundles from a medium again, with the digests that they had.

    Every byte is checked. A run that was interrupted goes on when it is run again.
    """
    from kata_bundle.bundle.deltawork import Workspace
    from kata_bundle.bundle.mediaimport import import_release, wanted_layers
    from kata_bundle.bundle.medium import Medium
    from kata_bundle.oci.layout import Layout

    source = Medium.open(Path(medium))
    chosen = _releases(source, releases)
    folder = Path(output)
    targets = {name: folder if len(chosen) == 1 else folder / name for name in chosen}
    wanted = {name: wanted_layers(source, release, arches=arches, shims=shims) for name, release in chosen.items()}
    done: dict[str, list[ImportedLayer]] = {}
    if not app.dry_run:
        for target in targets.values():
            Layout.check_target(target)
        for name, release in chosen.items():
            layout = Layout.create(targets[name])
            with Workspace(targets[name].parent, jobs=app.job_count, progress=app.progress) as work:
                done[name] = import_release(
                    source, release, layout, wanted[name], work, jobs=app.job_count, progress=app.progress
                )
    app.close()
    app.emit(_import_document(chosen, wanted, targets, done), lambda: _import_text(chosen, wanted, targets, dry_run=app.dry_run))


@command.command(
    "verify",
    epilog="""\b
Examples:
  kata-bundle media verify /mnt/stick/kata
  kata-bundle media verify /mnt/stick/kata --deep --json""",
)
@click.argument("medium", type=PathName(exists=True, file_okay=False))
@click.option("--deep", is_flag=True, help="Also make every layer that is there as a delta, and compare its digest.")
@jobs_option
@json_option
@quiet_option
@pass_app
def verify_command(app: App, medium: str, deep: bool) -> int:
    """Read all of a medium: every blob and document, and whether each layer can be had. Exit with 7 when something is wrong."""
    from kata_bundle.bundle.medium import Medium
    from kata_bundle.core.errors import IntegrityError
    from kata_bundle.oci.verify import verify_layout

    problems = [str(problem) for problem in verify_layout(Path(medium))]
    releases: list[str] = []
    if not problems:
        try:
            source = Medium.open(Path(medium))
            releases = list(source.releases)
            problems += source.problems()
            if deep and not problems:
                problems += _rebuild_all(app, source)
        except IntegrityError as error:
            problems.append(str(error))
    app.close()
    document = {"version": 1, "medium": medium, "releases": releases, "deep": deep, "problems": problems}
    app.emit(document, lambda: "\n".join(problems) if problems else f"{medium} is sound: {', '.join(releases) or 'empty'}")
    return IntegrityError.exit_code if problems else 0


def _rebuild_all(app: App, medium: Medium) -> list[str]:
    import os

    from kata_bundle.bundle.deltawork import Workspace
    from kata_bundle.bundle.mediaimport import Rebuilder, wanted_layers
    from kata_bundle.core.errors import IntegrityError

    problems = []
    for release in medium.releases.values():
        for item in wanted_layers(medium, release):
            if item.is_full:
                continue
            with Workspace(jobs=app.job_count, progress=app.progress) as work, open(os.devnull, "wb") as nowhere:
                try:
                    Rebuilder(medium, work, jobs=app.job_count, progress=app.progress).layer(item, nowhere)
                except IntegrityError as error:
                    problems.append(f"{release.name}: {item.what}: {error}")
    return problems


def _input(text: str, arches: tuple[Arch, ...] | None) -> Input:
    from kata_bundle.bundle.mediaplan import Input
    from kata_bundle.core.errors import UsageError
    from kata_bundle.oci.bundle import open_bundle

    name, equals, place = text.partition("=")
    path = Path(place if equals else text)
    if not equals or not _NAME.fullmatch(name):
        name, path = Path(text).absolute().name, Path(text)
    if not path.is_dir():
        message = f'"{path}" is no folder'
        raise UsageError(message, hint="give the folder of a bundle, or NAME=FOLDER")
    if not _NAME.fullmatch(name):
        message = f'"{name}" is no name for a release'
        raise UsageError(message, hint=f"name it: NAME={path}")
    bundle = open_bundle(path)
    chosen = None if arches is None else tuple(arch for arch in arches if arch in bundle.arches())
    if chosen == ():
        message = f"{path} has nothing for {', '.join(arches or ())}"
        raise UsageError(message)
    return Input(name=name, bundle=bundle, arches=chosen)


def _releases(medium: Medium, names: tuple[str, ...]) -> Mapping[str, Release]:
    from kata_bundle.core.errors import IntegrityError, UsageError

    known = medium.releases
    for name in names:
        if name not in known:
            message = f'the medium has no release "{name}"'
            raise UsageError(message, hint=f"there is {', '.join(sorted(known)) or 'nothing'}")
    chosen = {name: release for name, release in known.items() if not names or name in names}
    for name in chosen:
        if not _NAME.fullmatch(name):
            message = f"{name!a} is no name for a release"
            raise IntegrityError(message)
    return chosen


def _plan_document(plan: MediaPlan, done: Sequence[Exported] | None) -> dict[str, Any]:
    rows = []
    for number, item in enumerate(plan.placed):
        made = None if done is None else done[number]
        is_delta = (item.base is not None or item.is_twin) if made is None else made.is_delta
        base = item.base if is_delta else None
        mode = "full" if not is_delta else "same files" if item.is_twin else "delta"
        rows.append(
            {
                "component": item.layer.component,
                "arch": item.layer.arch.value,
                "releases": list(item.releases),
                "mode": mode,
                "base": None if base is None else {"component": base.component, "tree": base.entry.tree},
                "full_bytes": item.layer.entry.packed_size_bytes,
                "bytes": item.expected_bytes if made is None else made.written_bytes,
                "reason": item.reason if made is None else made.reason,
            }
        )
    return {
        "version": 1,
        "estimate": done is None,
        "full_bytes": plan.full_bytes,
        "bytes": sum(int(str(row["bytes"])) for row in rows),
        "present_bytes": plan.present_bytes,
        "layers": rows,
    }


def _plan_text(plan: MediaPlan, done: Sequence[Exported] | None) -> str:
    from kata_bundle.cli.render import size_text, table_text

    document = _plan_document(plan, done)
    rows = [
        (
            row["component"],
            row["arch"],
            ", ".join(row["releases"]),
            size_text(row["full_bytes"]),
            size_text(row["bytes"]),
            (f"from {row['base']['component']}" if row["base"] else row["mode"])
            + (f" ({row['reason']})" if row["reason"] else ""),
        )
        for row in document["layers"]
    ]
    about = "about " if done is None else ""
    total = f"{about}{size_text(document['bytes'])} for layers of {size_text(document['full_bytes'])}"
    there = f"; {size_text(plan.present_bytes)} of layers are there already" if plan.present_bytes else ""
    if not rows:
        return f"every layer is there already{there}"
    return "\n".join(
        [table_text(("component", "arch", "releases", "full", "medium", "how"), rows, right=(3, 4)), "", total + there]
    )


def _import_document(
    chosen: Mapping[str, Release],
    wanted: Mapping[str, list[Wanted]],
    targets: Mapping[str, Path],
    done: Mapping[str, list[ImportedLayer]],
) -> dict[str, Any]:
    return {
        "version": 1,
        "releases": {
            name: {
                "digest": release.descriptor.digest,
                "directory": str(targets[name]),
                "layers": [
                    {
                        "component": item.entry.component,
                        "arch": item.arch.value,
                        "packed": item.entry.packed,
                        "mode": "full" if item.is_full else "delta",
                        "read_bytes": item.read_bytes,
                        "was_there": done[name][number].was_there if name in done else None,
                    }
                    for number, item in enumerate(wanted[name])
                ],
            }
            for name, release in chosen.items()
        },
    }


def _import_text(
    chosen: Mapping[str, Release], wanted: Mapping[str, list[Wanted]], targets: Mapping[str, Path], *, dry_run: bool
) -> str:
    from kata_bundle.cli.render import plural, size_text

    lines = []
    for name, release in chosen.items():
        items = wanted[name]
        size = sum(item.entry.packed_size_bytes for item in items)
        deltas = sum(not item.is_full for item in items)
        verb = "would be made" if dry_run else "made"
        lines.append(
            f"{name}: {plural(len(items), 'layer')}, {size_text(size)}, {deltas} of them by deltas, {verb} in {targets[name]}"
            f" ({release.descriptor.digest})"
        )
    return "\n".join(lines) if lines else "the medium is empty"
