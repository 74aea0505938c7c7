"""Garbage collection: which records are still wanted, which blobs these need, and the removal of the rest.

A record (a result, a packed layer) is wanted when it was made or used lately, and as long as the newest ones fit into the size
asked for; what ``roots`` name is wanted whatever its age. A blob is needed when a wanted record names it: a tree with its files,
a layer, a log, a source that the ingredients state. Everything else goes, unless it is younger than a grace period: it may belong
to a record that is about to be written.

Collecting waits for its turn: every command that works with a store holds ``locks/gc`` shared until it ends, a collector holds it
alone. Must not know: rules, shims.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.core import clock
from kata_bundle.core.digest import Digest
from kata_bundle.core.errors import BundleError
from kata_bundle.core.tree import File, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kata_bundle.store.records import ActionResult, LayerRecord
    from kata_bundle.store.store import Store

__all__ = ["GRACE_S", "Collected", "collect"]

GRACE_S: Final = 3600.0
"""Blobs younger than this, in seconds, stay whatever refers to them."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What a collection removed and left, or with a dry run would have."""

    records: tuple[str, ...]
    """Names of the records that were dropped, oldest first."""
    blobs: int
    freed_bytes: int
    """Of blobs, checkouts and work folders together."""
    kept_blobs: int
    kept_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    name: str
    age_s: float
    digests: frozenset[Digest]


def collect(
    store: Store, *, keep_s: float, max_bytes: int | None = None, grace_s: float = GRACE_S, dry_run: bool = False
) -> Collected:
    """Remove what nobody wants any more and return what that was.

    ``keep_s`` is how many seconds ago a record must have been made or used to be wanted; ``max_bytes`` bounds the blobs of wanted
    records, the newest of which are kept, roots first. What is dated later than now, by a clock that was set back since, counts
    as new and gets today's date, from which it ages. The caller holds the store's lock for collectors. With ``dry_run`` nothing
    is removed or changed.
    """
    sizes = {digest: store.size(digest) or 0 for digest in store.digests()}
    needed = {digest for digests in store.roots().values() for one in digests for digest in _closure(store, one, sizes)}
    dropped: list[_Record] = []
    total = sum(sizes.get(digest, 0) for digest in needed)
    if not dry_run:
        _back_to_today(store)
    for record in sorted(_records(store, sizes), key=lambda record: (record.age_s, record.name)):
        new = record.digests - needed
        size = sum(sizes.get(digest, 0) for digest in new)
        if record.age_s > keep_s or (max_bytes is not None and total + size > max_bytes):
            dropped.append(record)
            continue
        needed |= new
        total += size
    now = clock.now()
    going = [digest for digest in sizes if digest not in needed and _age(store.path(digest), now) >= grace_s]
    folders = list(_leftovers(store.root))
    freed = sum(sizes[digest] for digest in going) + sum(_weight(path) for path in folders)
    dropped.reverse()
    if not dry_run:
        # Records first: a record without its blobs is worse than a blob without a record.
        for record in dropped:
            os.unlink(store.root / record.name)
        for digest in going:
            os.unlink(store.path(digest))
        for path in folders:
            shutil.rmtree(path, ignore_errors=True)
    gone = set(going)
    kept = [size for digest, size in sizes.items() if digest not in gone]
    return Collected(
        records=tuple(record.name for record in dropped),
        blobs=len(going),
        freed_bytes=freed,
        kept_blobs=len(kept),
        kept_bytes=sum(kept),
    )


def _records(store: Store, sizes: dict[Digest, int]) -> Iterator[_Record]:
    now = clock.now()
    for name, result in store.results():
        path = f"actions/{name}"
        yield _Record(name=path, age_s=_age(store.root / path, now), digests=frozenset(_of_result(store, result, sizes)))
    for name, layer in store.layer_records():
        path = f"refs/layer/{name}"
        yield _Record(name=path, age_s=_age(store.root / path, now), digests=frozenset(_of_layer(layer, sizes)))


def _of_result(store: Store, result: ActionResult, sizes: dict[Digest, int]) -> Iterator[Digest]:
    yield from _closure(store, result.tree, sizes)
    if result.log in sizes:
        yield result.log
    for text in result.ingredients.values():
        yield from (Digest(found) for found in _DIGEST.findall(text) if Digest(found) in sizes)


def _of_layer(layer: LayerRecord, sizes: dict[Digest, int]) -> Iterator[Digest]:
    yield from (digest for digest in (layer.packed, layer.tree) if digest in sizes)


def _closure(store: Store, digest: Digest, sizes: dict[Digest, int]) -> Iterator[Digest]:
    """Yield the digest, and of a tree the digests of its files."""
    if digest not in sizes:
        return
    yield digest
    with open(store.path(digest), "rb") as stream:
        if stream.read(1) != b"{":
            return
    try:
        tree = Tree.from_json(store.read(digest))
    except (BundleError, json.JSONDecodeError):
        return  # a blob that begins like a tree and is none
    yield from (entry.digest for entry in tree.entries.values() if isinstance(entry, File) and entry.digest in sizes)


def _leftovers(root: Path) -> Iterator[Path]:
    """Yield what is made again when needed: checked-out trees, failed actions, given-up downloads, trees that differed."""
    for name in ("checkouts", "sandboxes", "downloads", "repro"):
        folder = root / name
        if folder.is_dir():
            yield folder


def _age(path: Path, now: float) -> float:
    try:
        return max(0.0, now - path.stat().st_mtime)
    except FileNotFoundError:
        return 0.0


def _back_to_today(store: Store) -> None:
    now = clock.now()
    for name in ("actions", "refs", "blobs"):
        for folder, _, names in os.walk(store.root / name):
            for path in (os.path.join(folder, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    if os.lstat(path).st_mtime > now:
                        os.utime(path, (now, now), follow_symlinks=False)


def _weight(folder: Path) -> int:
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)
