"""Checking a whole store: every blob read, every record followed to what it names.

Must not know: what blobs and records are for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.store.store import Store

__all__ = ["Audit", "audit", "repair"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What is wrong with a store. Damaged blobs and records have been set aside: reading them does that."""

    blobs: int
    size_bytes: int
    damaged: tuple[Digest, ...]
    incomplete: tuple[str, ...]
    """Records that name what is not there, as paths below the store."""
    problems: tuple[str, ...]
    """Records that could not be read, in words."""

    def __bool__(self) -> bool:
        return bool(self.damaged or self.incomplete or self.problems)


def audit(store: Store, *, progress: Progress = NO_PROGRESS) -> Audit:
    """Read all of ``store`` and return what is wrong with it."""
    digests = list(store.digests())
    total = sum(store.size(digest) or 0 for digest in digests)
    damaged = []
    progress.start("verify the store", total)
    try:
        for digest in digests:
            size = store.size(digest) or 0
            try:
                store.verified_path(digest)
            except IntegrityError:
                damaged.append(digest)
            progress.advance("verify the store", size)
    finally:
        progress.finish("verify the store")
    incomplete: list[str] = []
    problems: list[str] = []
    for name, result in store.results(problems):
        try:
            if not store.has_tree(result.tree):
                incomplete.append(f"actions/{name}")
        except IntegrityError:
            incomplete.append(f"actions/{name}")
    for name, layer in store.layer_records(problems):
        if store.size(layer.packed) != layer.packed_size_bytes:
            incomplete.append(f"refs/layer/{name}")
    for root, named in store.roots().items():
        incomplete += [f"roots/{root}" for digest in named if not store.has(digest)][:1]
    return Audit(
        blobs=len(digests),
        size_bytes=total,
        damaged=tuple(damaged),
        incomplete=tuple(incomplete),
        problems=tuple(problems),
    )


def repair(store: Store, found: Audit) -> int:
    """Drop the records that lead nowhere, so that what they remembered is made again when needed; return their number."""
    for name in found.incomplete:
        (store.root / name).unlink(missing_ok=True)
    return len(found.incomplete)
