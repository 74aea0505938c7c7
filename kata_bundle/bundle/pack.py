"""Pack component trees as layers, each once: a tree packed before by the same recipe is found again in the store.

Knows: the store and the archive format. Must not know: how a tree was made, or what a bundle looks like.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.archive.layer import pack_layer
from kata_bundle.archive.packing import packing_record
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.parallel import map_ordered
from kata_bundle.core.record import replace
from kata_bundle.store.records import LayerRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.archive.framewriter import FramePool
    from kata_bundle.archive.zstd import Recipe
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.store import Store

__all__ = ["Content", "Packed", "pack_contents"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A made component: its tree in the store, and its provenance as the bundle index states it."""

    component: str
    arch: Arch
    tree: Digest
    origin: str
    version: str | None
    rule_key: Digest | None
    hermetic: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A layer, and whether the store had it already."""

    layer: LayerRecord
    reused: bool
    repacked: LayerRecord | None = None
    """Of a new layer, one of the same content that the store has and another recipe made."""


def pack_contents(
    contents: Sequence[Content],
    store: Store,
    *,
    recipe: Recipe,
    source_date: int,
    jobs: int,
    progress: Progress = NO_PROGRESS,
) -> list[Packed]:
    """Return the layers of ``contents`` in that order, packing what the store does not have yet.

    ``source_date`` (seconds since 1970) is the time of every member. The bytes do not depend on ``jobs``. Raises
    :class:`IntegrityError` when the store's content is damaged.
    """
    from kata_bundle.archive.framewriter import FramePool

    pool = None if recipe.frame_size is None else FramePool(recipe, threads=jobs)
    with nullcontext() if pool is None else pool:
        return _pack(contents, store, pool, recipe=recipe, source_date=source_date, jobs=jobs, progress=progress)


def _pack(
    contents: Sequence[Content],
    store: Store,
    pool: FramePool | None,
    *,
    recipe: Recipe,
    source_date: int,
    jobs: int,
    progress: Progress,
) -> list[Packed]:
    # Frames of all components share the threads of the pool; reading, hashing and writing one goes on beside the others.
    def pack(content: Content) -> Packed:
        known = store.find_layer(content.component, content.tree, packing_record(recipe), source_date=source_date)
        if known is not None:
            return Packed(layer=_with_provenance(known, content), reused=True)
        tree = store.get_tree(content.tree)
        with store.new_blob() as blob:
            what = f"{content.component} ({content.arch})"
            made = pack_layer(
                tree, store.open, blob.sink, recipe=recipe, mtime=source_date, what=what, pool=pool, progress=progress
            )
            blob.publish(expected=made.packed)
        record = LayerRecord(
            component=content.component,
            arch=content.arch,
            tree=made.tree,
            packed=made.packed,
            packed_size_bytes=made.packed_size_bytes,
            diff_id=made.diff_id,
            unpacked_size_bytes=made.unpacked_size_bytes,
            origin=content.origin,
            hermetic=content.hermetic,
            version=content.version,
            rule_key=content.rule_key,
            recipe=packing_record(recipe),
            source_date=source_date,
            table=made.table,
        )
        other = next((layer for layer in store.layers(content.component) if layer.tree == made.tree), None)
        store.put_layer(record)
        if other is not None:
            progress.note(f"{what}: same content, repacked ({_what_differs(other, record)})")
        return Packed(layer=record, reused=False, repacked=other)

    return map_ordered(pack, contents, jobs=jobs)


def _what_differs(old: LayerRecord, new: LayerRecord) -> str:
    """Return why two layers of one tree have other bytes."""
    before = {**(old.recipe or {"recipe": "foreign"}), "date": old.source_date}
    after = {**(new.recipe or {}), "date": new.source_date}
    keys = [key for key in dict.fromkeys([*after, *before]) if before.get(key) != after.get(key)]
    words = [f"{key.replace('_', ' ')} {_word(before.get(key))} → {_word(after.get(key))}" for key in keys]
    return ", ".join(words) or "by the same recipe for another architecture"


def _word(value: JsonValue) -> str:
    return "none" if value is None else str(value)


def _with_provenance(record: LayerRecord, content: Content) -> LayerRecord:
    # Equal trees pack to equal bytes, whoever made them; the index states who made this one.
    return replace(
        record,
        arch=content.arch,
        origin=content.origin,
        version=content.version,
        rule_key=content.rule_key,
        hermetic=content.hermetic,
    )
