"""From a selection to a bundle: the one place where planning, building and bundling meet.

``build`` and ``bundle`` do not know each other (docs/decisions/002); this hands the results of one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.build import Rulebook, Target, build_plan
from kata_bundle.bundle.pack import Content, pack_contents
from kata_bundle.cli.eventstream import NO_EVENTS, watching
from kata_bundle.cli.remote_options import NO_REMOTE, open_workshop
from kata_bundle.core.errors import LockError, UsageError
from kata_bundle.plan.closure import plan_closure
from kata_bundle.plan.lock import Lock, LockedComponent, enforce

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kata_bundle.archive.zstd import Recipe
    from kata_bundle.cli.app import App
    from kata_bundle.cli.eventstream import EventsChoice
    from kata_bundle.cli.remote_options import RemoteChoice
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.closure import Plan
    from kata_bundle.plan.selection import Selection
    from kata_bundle.store import Store
    from kata_bundle.store.records import LayerRecord

__all__ = ["Made", "Prepared", "ensure_lock", "make_layers", "prepare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything known before work begins: the plan, the imported layers it takes as they are, and the lock it leads to."""

    catalog: Catalog
    plan: Plan
    book: Rulebook
    imported: Mapping[tuple[Arch, str], LayerRecord]
    lock: Lock


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A component as a packed layer, and what of it was there before."""

    layer: LayerRecord
    needed_by: tuple[str, ...]
    content_reused: bool
    layer_reused: bool

    @property
    def is_real(self) -> bool:
        """Whether the content does what its name says."""
        return self.layer.origin != "fixture"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        document = self.layer.to_dict()
        return {
            **document,
            "real": self.is_real,
            "needed_by": list(self.needed_by),
            "content_reused": self.content_reused,
            "layer_reused": self.layer_reused,
        }


def prepare(app: App, selection: Selection, store: Store | None, *, imported: str) -> Prepared:
    """Return the plan of ``selection`` and the lock it leads to. Nothing is made and nothing fetched.

    ``imported`` says what becomes of tarballs taken in with ``kata-bundle import``: ``ignore`` them, ``prefer`` them where
    there is one, or use them ``only`` (then :class:`UsageError` names every component without one).
    """
    catalog = app.catalog()
    plan = plan_closure(catalog, selection)
    found = {} if imported == "ignore" or store is None else _imported(plan, store)
    taken = [Target(arch=arch, component=component) for arch, component in found]
    book = Rulebook.load(catalog, profile=app.profile, imported=taken, given=app.given())
    if imported == "only":
        missing = [f"{c.component} ({c.arch})" for c in plan.components if (c.arch, c.component) not in found]
        if missing:
            msg = f"no imported tarball for {', '.join(missing)}"
            raise UsageError(msg, hint="kata-bundle import DIR --arch ARCH takes them in; --imported prefer builds the rest")
    book.require_all(Target(arch=c.arch, component=c.component) for c in plan.components)
    lock = Lock(
        profile=app.profile,
        shims={arch.value: plan.shims_on(arch) for arch in plan.arches},
        components={
            arch.value: {
                c.component: _locked(book, c.component, arch, found.get((arch, c.component))) for c in plan.components_on(arch)
            }
            for arch in plan.arches
        },
    )
    return Prepared(catalog=catalog, plan=plan, book=book, imported=found, lock=lock)


def ensure_lock(prepared: Prepared, path: Path, *, locked: bool, dry_run: bool) -> bool:
    """Write the lock to ``path`` when it differs, or with ``locked`` enforce the one there; return whether it changed.

    Raises :class:`LockError` when the file is no lock, and with ``locked`` also when it is missing or disagrees.
    """
    text = prepared.lock.to_json()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if locked:
            msg = f"{path} does not exist"
            raise LockError(msg, hint="run once without --locked to write it") from None
        data = b""
    # Read even when it is going to be replaced: what is no lock is somebody's file.
    known = Lock.from_json(data, what=str(path)) if data or locked else None
    if known is not None and locked:
        enforce(known, prepared.lock, what=str(path))
        return False
    if data == text.encode():
        return False
    if not dry_run:
        from kata_bundle.core.fsops import write_atomic

        write_atomic(path, text.encode())
    return True


def make_layers(
    app: App,
    prepared: Prepared,
    store: Store,
    *,
    recipe: Recipe,
    source_date: int,
    remote: RemoteChoice = NO_REMOTE,
    events: EventsChoice = NO_EVENTS,
) -> list[Made]:
    """Return the layer of every planned component, in plan order, making and packing what the store lacks."""
    planned = prepared.plan.components
    targets = [Target(arch=c.arch, component=c.component) for c in planned if (c.arch, c.component) not in prepared.imported]
    workshop = open_workshop(app, remote)
    with watching(app, events) as watcher:
        built = build_plan(
            prepared.book, store, targets, jobs=app.job_count, workshop=workshop, progress=app.progress, watcher=watcher
        )
    contents = [
        Content(
            component=b.component,
            arch=b.arch,
            tree=b.tree,
            origin=b.origin,
            version=b.version,
            rule_key=b.rule_key,
            hermetic=b.hermetic,
        )
        for b in built
    ]
    packed = pack_contents(contents, store, recipe=recipe, source_date=source_date, jobs=app.job_count, progress=app.progress)
    made = {(p.layer.arch, p.layer.component): (p, b.is_cached) for p, b in zip(packed, built, strict=True)}
    result = []
    for component in planned:
        key = (component.arch, component.component)
        if key in made:
            one, cached = made[key]
            layer, content_reused, layer_reused = one.layer, cached, one.reused
        else:
            layer, content_reused, layer_reused = prepared.imported[key], True, True
        result.append(Made(layer=layer, needed_by=component.needed_by, content_reused=content_reused, layer_reused=layer_reused))
    return result


def _imported(plan: Plan, store: Store) -> dict[tuple[Arch, str], LayerRecord]:
    from kata_bundle.build import imported_layer

    found = {}
    for component in plan.components:
        record = imported_layer(store, component.component, component.arch)
        if record is not None:
            found[component.arch, component.component] = record
    return found


def _pin_texts(book: Rulebook, target: Target) -> list[str]:
    packages = [f"{pin.package} {pin.version} {pin.digest}" for pin in book.pins(target)]
    return packages + [f"{pin.package} {pin.version} {pin.digest}" for pin in book.source_packages(target)]


def _locked(book: Rulebook, component: str, arch: Arch, imported: LayerRecord | None) -> LockedComponent:
    if imported is not None:
        # A foreign tarball is its own pin: nothing is known of how it was made.
        return LockedComponent(kind=imported.origin, rule_key=imported.packed, pins=(imported.packed,))
    target = Target(arch=arch, component=component)
    return LockedComponent(
        kind=book.recipe(target).kind.value,
        rule_key=book.key(target),
        pins=tuple(sorted(_pin_texts(book, target))),
    )
