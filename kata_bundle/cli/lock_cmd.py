"""``kata-bundle lock``: the locks that the project ships."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import (
    App,
    dry_run_option,
    json_option,
    pass_app,
    profile_option,
    quiet_option,
    source_option,
    store_option,
)

if TYPE_CHECKING:
    from kata_bundle.build import DebPin, PinChange, Refreshed
    from kata_bundle.build.debsource import SourcePin
    from kata_bundle.build.toolchain import PinnedToolchain

__all__ = ["command"]


_rules_option = click.option(
    "--rules",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="The folder with the rules and the lock [default: the shipped one].",
)


@click.group(
    epilog="""\b
The lock of a selection, kata-bundle.lock, is written by "kata-bundle bundle" and enforced with its --locked."""
)
def command() -> None:
    """Refresh or check the pins that build rules use."""


@command.command(
    epilog="""\b
Examples:
  kata-bundle lock debian --refresh-missing
  kata-bundle lock debian --check
  kata-bundle lock debian --dry-run"""
)
@click.option("--refresh-missing", is_flag=True, help="Replace only pins that the mirror no longer has, and add missing ones.")
@click.option("--check", is_flag=True, help="Change nothing; exit with 4 when the mirror lacks a pinned package.")
@_rules_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def debian(app: App, refresh_missing: bool, check: bool, rules: str | None) -> None:
    """Pin the distribution packages of the build rules to what the mirror has today, and show each change."""
    from pathlib import Path

    from kata_bundle.build import Apt, load_deb_lock, load_rules, missing_pins, refresh_pins, rules_folder
    from kata_bundle.build.debsource import load_source_lock
    from kata_bundle.build.debsourcepins import missing_source_pins, refresh_source_pins
    from kata_bundle.build.refresh import source_changes
    from kata_bundle.build.sources import missing_error
    from kata_bundle.core.record import replace

    if check and refresh_missing:
        message = "--check and --refresh-missing exclude each other"
        raise click.UsageError(message)
    folder = rules_folder(Path(rules) if rules else None)
    known, lock, sources = load_rules(folder), load_deb_lock(folder), load_source_lock(folder)
    total = len(lock.pins) + len(sources.pins)
    with Apt() as packages:
        if check:
            gone: list[DebPin | SourcePin] = [*missing_pins(known, lock, packages)]
            gone += missing_source_pins(known, sources, packages)
            if gone:
                raise missing_error(gone)
            app.emit({"pins": total, "missing": []}, lambda: f"the mirror has all {total} pinned packages")
            return
        result = refresh_pins(known, lock, packages, only_missing=refresh_missing)
        fresh = refresh_source_pins(known, sources, packages, only_missing=refresh_missing)
    if result.changes and not app.dry_run:
        result.lock.write(folder)
    changes = source_changes(sources, fresh)
    if changes and not app.dry_run:
        fresh.write(folder)
    total = len(result.lock.pins) + len(fresh.pins)
    result = replace(result, changes=(*result.changes, *changes))
    document = {"pins": total, "changes": [change.to_dict() for change in result.changes]}
    app.emit(document, lambda: _text(result, total, dry_run=app.dry_run))


@command.command(
    epilog="""\b
Examples:
  kata-bundle lock toolchains --refresh-missing
  kata-bundle lock toolchains c --dry-run"""
)
@click.argument("names", nargs=-1, metavar="[TOOLCHAIN]...")
@click.option("--refresh-missing", is_flag=True, help="Only those with a package that the mirror no longer has, or without pins.")
@_rules_option
@store_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def toolchains(app: App, names: tuple[str, ...], refresh_missing: bool, rules: str | None) -> None:
    """Pin every package of the toolchains to what the mirror has today, and the trees that these make.

    The packages are fetched into the store, since a tree's digest is only known once it was made.
    """
    from pathlib import Path

    from kata_bundle.build import Apt, rules_folder
    from kata_bundle.build.toolchain import (
        is_pinned,
        load_toolchain_lock,
        load_toolchains,
        make_builder,
        pin_toolchain,
        write_lock,
    )
    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import UsageError
    from kata_bundle.core.record import replace

    folder = rules_folder(Path(rules) if rules else None)
    known, lock = load_toolchains(folder), dict(load_toolchain_lock(folder))
    for name in names:
        if name not in known:
            message = f'there is no toolchain "{name}"'
            raise UsageError(message, hint=did_you_mean(name, known) or f"known are {', '.join(known)}")
    result = {key: pinned for key, pinned in lock.items() if key[0] in known and key[1] in known[key[0]].arches}
    store = app.store()
    with Apt() as packages:
        for toolchain in known.values():
            for arch in toolchain.arches if not names or toolchain.name in names else ():
                pinned = lock.get((toolchain.name, arch))
                if refresh_missing and pinned is not None and is_pinned(toolchain, pinned, packages):
                    continue
                fresh = pin_toolchain(toolchain, arch, packages)
                if not app.dry_run:
                    tree = make_builder(toolchain, fresh, store, packages, progress=app.progress)
                    fresh = replace(fresh, tree=tree.digest)
                result[toolchain.name, arch] = fresh
    if not app.dry_run and result != lock:
        write_lock(folder, result.values())
    changed = [key for key in sorted({*lock, *result}) if _packages(lock.get(key)) != _packages(result.get(key))]
    app.close()
    app.emit(
        {"toolchains": len(result), "changed": [{"name": name, "arch": arch.value} for name, arch in changed]},
        lambda: "\n".join(
            [f"{name} ({arch.value}): other packages than before" for name, arch in changed] or ["nothing changed"]
        ),
    )


@command.command(
    "sources",
    epilog="""\b
Examples:
  kata-bundle lock sources --profile upstream --source kata-containers=../kata-containers
  kata-bundle lock sources --profile upstream --source kata-containers=../kata-containers --dry-run""",
)
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--max-mib", type=click.IntRange(1, 1 << 20), default=4096, show_default=True, help="Largest file that is fetched.")
@_rules_option
@profile_option
@source_option
@store_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def files_of_the_network(app: App, components: tuple[str, ...], max_mib: int, rules: str | None) -> None:
    """Fetch and pin the files that rules name by versions and that have no pin yet.

    What is served today is what is pinned: compare the printed digests with those that the files' makers publish.
    """
    from pathlib import Path

    from kata_bundle.build import Rulebook, rules_folder
    from kata_bundle.build.fetchlock import load_fetch_lock, write_fetch_lock
    from kata_bundle.build.fetchpins import pin_files, unpinned_files

    folder = rules_folder(Path(rules) if rules else None)
    book = Rulebook.load(app.catalog(), folder, profile=app.profile, given=app.given())
    wanted = unpinned_files(book, components)
    lock = dict(load_fetch_lock(folder))
    if app.dry_run:
        document = {"would_pin": [{"entry": entry, "file": name} for entry, name in wanted]}
        app.emit(
            document, lambda: "\n".join(f"would fetch and pin {name} ({entry})" for entry, name in wanted) or "nothing to pin"
        )
        return
    pins = pin_files(wanted, app.store(), max_bytes=max_mib << 20, progress=app.progress)
    if pins:
        write_fetch_lock(folder, {**lock, **{(pin.entry, pin.file): pin for pin in pins}}.values())
    app.close()
    rows = [{"entry": pin.entry, "file": pin.file, "size_bytes": pin.size_bytes, "digest": pin.digest} for pin in pins]
    text = "\n".join(f"{pin.file} ({pin.entry}): {pin.size_bytes} bytes, {pin.digest}" for pin in pins)
    app.emit({"pinned": rows}, lambda: text or "nothing to pin")


def _packages(pinned: PinnedToolchain | None) -> tuple[DebPin, ...]:
    return () if pinned is None else pinned.pins


def _text(result: Refreshed, count: int, *, dry_run: bool) -> str:
    from kata_bundle.cli.render import plural

    lines = [_line(change) for change in result.changes]
    total = plural(count, "pin")
    if not lines:
        return f"{total}, nothing changed"
    said = "would change; nothing was written" if dry_run else "changed"
    return "\n".join([*lines, f"{total}, {len(lines)} {said}"])


def _line(change: PinChange) -> str:
    old, new = change.old, change.new
    if new is None:
        return f"{change.name}: {old.short if old else ''} → dropped, no rule needs it"
    return f"{change.name}: {old.short if old else 'not pinned'} → {new.short}"
