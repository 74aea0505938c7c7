"""Layers made from what is installed and a delta, instead of fetched whole.

A source elsewhere may offer deltas beside its layers. One is taken when it starts from the tree of an installed layer and is
smaller than the layer. It is but a hint until the files that it gives have the digests of the wanted tree; whatever
goes wrong before that is told in a line, and the layer is fetched as if there was none. Must not know: how sources are asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import BundleError, IntegrityError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from kata_bundle.core.tree import Tree
    from kata_bundle.node.generations import Staging
    from kata_bundle.node.prepare import Work
    from kata_bundle.node.source import LayerRef
    from kata_bundle.oci.deltas import DeltaRef

__all__ = ["Chosen", "choose_deltas", "fetch_deltas", "restore_layers", "without"]


@record
class Chosen:
    """A layer that has to be had, and the delta that gives it."""

    ref: LayerRef
    delta: DeltaRef


def choose_deltas(work: Work) -> tuple[Chosen, ...]:
    """Return the smallest delta for each layer that one is offered for; asks the source, and takes an error for no offer."""
    if work.old is None or not work.unknown or not work.desired.source.is_elsewhere:
        return ()
    installed = {layer.tree for layer in work.old.layers.values()}
    try:
        offered = work.desired.source.deltas(work.desired.selection.arch)
    except BundleError as error:
        work.machine.progress.note(f"deltas cannot be used: {error}")
        return ()
    chosen = []
    for ref in work.unknown:
        fitting = [
            delta
            for delta in offered
            if delta.new == ref.tree and delta.old in installed and delta.descriptor.size_bytes < ref.packed_size_bytes
        ]
        if fitting:
            best = min(fitting, key=lambda delta: (delta.descriptor.size_bytes, delta.descriptor.digest))
            chosen.append(Chosen(ref=ref, delta=best))
    return tuple(chosen)


def fetch_deltas(work: Work, chosen: Sequence[Chosen]) -> dict[str, Path]:
    """Have the deltas on this machine; return component → file, without those that did not come."""
    found = {}
    for item in chosen:
        try:
            found[item.ref.component] = work.desired.source.fetch_delta(item.delta)
        except (BundleError, OSError) as error:
            _tell(work, item, error)
    return found


def restore_layers(work: Work, staging: Staging) -> dict[str, Tree]:
    """Make the new files of layers by deltas where that goes; return component → tree, their contents are then at hand."""
    chosen = choose_deltas(work)
    paths = fetch_deltas(work, chosen)
    trees = {}
    for item in chosen:
        component = item.ref.component
        if component not in paths or item.ref.tree is None:
            continue
        try:
            trees[component] = staging.restore(component, paths[component], item.ref.tree, work.contents)
        except IntegrityError as error:
            _tell(work, item, error)
        else:
            work.machine.progress.note(
                f"{component}: made from what is installed and a delta of {item.delta.descriptor.size_bytes} bytes"
                f" (the layer has {item.ref.packed_size_bytes})"
            )
    return trees


def without(refs: Sequence[LayerRef], components: Collection[str]) -> tuple[LayerRef, ...]:
    """Return those of ``refs`` that are of other components."""
    return tuple(ref for ref in refs if ref.component not in components)


def _tell(work: Work, item: Chosen, error: Exception) -> None:
    work.machine.progress.note(f"{item.ref.component}: the delta cannot be used, the layer is fetched: {error}")
