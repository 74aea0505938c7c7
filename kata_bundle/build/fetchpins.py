"""Pins files that rules name by version: fetches each once, into the store, and states its length and digest.

Must not know: how components are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.build.actionrules import ActionRecipe, SourceKind
from kata_bundle.build.fetch import download_whole
from kata_bundle.build.fetchlock import FetchPin
from kata_bundle.build.resolve import file_name
from kata_bundle.build.rulebook import Target
from kata_bundle.core.errors import LockError, UsageError
from kata_bundle.core.events import NO_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kata_bundle.build.rulebook import Rulebook
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = ["pin_files", "unpinned_files"]


def unpinned_files(book: Rulebook, components: Sequence[str] = ()) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the addresses of all files without a pin, by entry and file name, of ``components`` (default: all).

    Raises :class:`LockError` naming the sources that would have to be given to know addresses, :class:`BuildError` for a
    component without a rule, :class:`UsageError` when nothing is fetched in this profile.
    """
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    absent: set[str] = set()
    is_any = False
    for name in components or book.rules:
        for arch in book.rule(name).recipes_of(book.profile):
            recipe = book.recipe(Target(arch=arch, component=name))
            if not isinstance(recipe, ActionRecipe):
                continue
            for source in recipe.sources:
                if source.kind is not SourceKind.FETCH:
                    continue
                is_any = True
                if source.digest is not None:
                    continue
                if source.entry and book.resolver.folder(recipe.versions) is None:
                    absent.add(recipe.versions)
                    continue
                found[source.entry or source.name, file_name(source)] = source.urls
    if absent:
        msg = f"the addresses are not known without {', '.join(sorted(absent))}"
        raise LockError(msg, hint=" ".join(f"--source {name}=DIR" for name in sorted(absent)))
    if not is_any:
        msg = f"no rule of profile {book.profile} fetches files"
        raise UsageError(msg, hint="--profile upstream has such rules")
    return found


def pin_files(
    wanted: Mapping[tuple[str, str], tuple[str, ...]], store: Store, *, max_bytes: int, progress: Progress = NO_PROGRESS
) -> tuple[FetchPin, ...]:
    """Return a pin of each file, fetched into ``store``; raises like :func:`download_whole`."""
    pins = []
    for (entry, name), urls in wanted.items():
        with store.scratch() as folder:
            path = download_whole(urls, folder / "file", what=name, max_bytes=max_bytes, progress=progress)
            digest, size = store.put_file(path)
            pins.append(FetchPin(entry=entry, file=name, size_bytes=size, digest=digest))
    return tuple(pins)
