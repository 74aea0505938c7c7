"""What the local store already has of a plan, found without making or changing anything; the store is not created either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.cli.app import App
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.profile import Profile
    from kata_bundle.core.tree import Tree
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.store import Store
    from kata_bundle.store.records import LayerRecord

__all__ = ["existing_store", "stored_layers", "stored_trees"]


def existing_store(app: App) -> Store | None:
    """Return the store of ``--store``, else the default one, ``None`` when there is none yet."""
    from kata_bundle.store import Store

    root = Path(app.store_path) if app.store_path else Store.default_root()
    return Store(root) if (root / "version").exists() else None


def stored_trees(
    catalog: Catalog, store: Store, wanted: Iterable[tuple[Arch, str]], *, profile: Profile, given: Mapping[str, Path]
) -> Mapping[tuple[Arch, str], Tree]:
    """Return the trees of the components in ``wanted`` that were made from today's rules and pins."""
    return {key: store.get_tree(digest) for key, digest in _made(catalog, store, wanted, profile, given).items()}


def stored_layers(
    catalog: Catalog,
    store: Store,
    wanted: Iterable[tuple[Arch, str]],
    *,
    imported: str,
    profile: Profile,
    given: Mapping[str, Path],
) -> Mapping[tuple[Arch, str], LayerRecord]:
    """Return the packed layers of the components in ``wanted``, made from today's rules and pins, or imported.

    ``imported`` says what becomes of imported tarballs, as for a bundle: ``ignore``, ``prefer`` or ``only``. Of several layers
    of one tree, the one that a bundle would use now, else the first by name.
    """
    from kata_bundle.archive.packing import packing_record
    from kata_bundle.archive.zstd import current_recipe
    from kata_bundle.build import imported_layer
    from kata_bundle.core import clock

    wanted = tuple(wanted)
    found: dict[tuple[Arch, str], LayerRecord] = {}
    if imported != "ignore":
        for arch, component in wanted:
            record = imported_layer(store, component, arch)
            if record is not None:
                found[arch, component] = record
    if imported == "only":
        return found
    recipe, source_date = packing_record(current_recipe()), clock.source_date()
    for (arch, component), tree in _made(catalog, store, (key for key in wanted if key not in found), profile, given).items():
        record = store.find_layer(component, tree, recipe, source_date=source_date)
        record = record or next((layer for layer in store.layers(component) if layer.tree == tree), None)
        if record is not None:
            found[arch, component] = record
    return found


def _made(
    catalog: Catalog, store: Store, wanted: Iterable[tuple[Arch, str]], profile: Profile, given: Mapping[str, Path]
) -> dict[tuple[Arch, str], Digest]:
    from kata_bundle.build import Rulebook, Target
    from kata_bundle.build.components import find_component

    book = Rulebook.load(catalog, profile=profile, given=given)
    found = {}
    for arch, component in wanted:
        if component in book.rules and book.rules[component].find(arch, profile) is not None:
            target = Target(arch=arch, component=component)
            built = None if book.lacking([target]) else find_component(book, store, target)
            if built is not None:
                found[arch, component] = built.tree
    return found
