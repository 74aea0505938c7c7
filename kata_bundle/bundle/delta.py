"""Deltas between bundles: which layer is made from which, what that takes, and the finished deltas in a layout.

A component's layer is made from the old bundle's layer of that component; where there is none, or between variants of one bundle,
from layers of similar names. What a delta does not save is not made. Must not know: how deltas are encoded, where they go next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from kata_bundle.archive.deltacosts import file_costs
from kata_bundle.archive.deltaencode import encode_delta, estimate_delta
from kata_bundle.archive.deltamatch import similar_files
from kata_bundle.bundle.arborescence import Edge, cheapest_bases
from kata_bundle.bundle.deltawork import SourceLayer
from kata_bundle.core.clock import DEFAULT_SOURCE_DATE
from kata_bundle.core.errors import UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.tree import File, Tree
from kata_bundle.oci import mediatypes
from kata_bundle.oci.deltas import delta_descriptor

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kata_bundle.archive.deltaencode import Estimate
    from kata_bundle.archive.deltaformat import DeltaRecipe, DeltaTable
    from kata_bundle.bundle.deltawork import Workspace
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.events import Progress
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.streams import Writable
    from kata_bundle.oci.bundle import Bundle
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.documents import Manifest

__all__ = [
    "LayerPlan",
    "bundle_layers",
    "bundle_mtime",
    "choose_bases",
    "likely_bases",
    "make_delta",
    "manifest_mtime",
    "plan_layers",
    "plan_to_dict",
]

_WORTH: Final = 0.95
"""A delta over this share of the full layer is not made: applying it takes time, too."""
_BASES: Final = 3
_SIZES: Final = 8
"""Layers of similar names whose sizes differ by more have little in common."""
_WORD: Final = re.compile(r"[a-z]+")


_Key: TypeAlias = "tuple[str, str, str]"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPlan:
    """How a component of the new bundle is transferred to somebody who has the old one."""

    layer: SourceLayer
    base: SourceLayer | None
    """``None``: the full layer."""
    estimate: Estimate | None
    """Of the delta, also when it turned out not to be worth it; ``None`` when there is nothing to start from."""
    is_unchanged: bool = False
    """The old bundle has a layer with this tree: nothing is transferred."""

    @property
    def full_bytes(self) -> int:
        """Size of the full layer."""
        return self.layer.entry.packed_size_bytes

    @property
    def transfer_bytes(self) -> int:
        """What is transferred."""
        if self.is_unchanged:
            return 0
        return self.full_bytes if self.base is None or self.estimate is None else self.estimate.size_bytes


def bundle_layers(bundle: Bundle, arches: Collection[Arch] | None = None) -> tuple[SourceLayer, ...]:
    """Return the layers of ``bundle`` by architecture and component; raises :class:`IntegrityError` when a file is missing."""
    return tuple(
        SourceLayer(arch=arch, entry=entry, path=bundle.layer_path(arch, entry.component))
        for arch in bundle.arches()
        if arches is None or arch in arches
        for entry in bundle.index(arch).ordered_layers
    )


def likely_bases(layer: SourceLayer, others: Sequence[SourceLayer]) -> tuple[SourceLayer, ...]:
    """Return at most three of ``others`` that ``layer`` may be like: of its architecture and component, else of similar names."""
    same_arch = [other for other in others if other.arch is layer.arch and other.entry.tree != layer.entry.tree]
    exact = [other for other in same_arch if other.component == layer.component]
    if exact:
        return tuple(exact[:_BASES])
    words = set(_WORD.findall(layer.component))
    scored = [(len(words & set(_WORD.findall(other.component))), other) for other in same_arch]
    size = layer.entry.unpacked_size_bytes
    near = [(score, other) for score, other in scored if score and size <= _SIZES * other.entry.unpacked_size_bytes]
    near = [(score, other) for score, other in near if other.entry.unpacked_size_bytes <= _SIZES * size]
    near.sort(key=lambda item: (-item[0], abs(item[1].entry.unpacked_size_bytes - size), item[1].component))
    return tuple(other for _, other in near[:_BASES])


def choose_bases(
    new: Sequence[SourceLayer], old: Sequence[SourceLayer], *, base: str | None
) -> list[tuple[SourceLayer, tuple[SourceLayer, ...]]]:
    """Return each of ``new`` with the layers that it may be made from.

    ``base`` names the only component to start from. Raises :class:`UsageError` when there is none of that name.
    """
    if base is not None and all(layer.component != base for layer in old):
        names = ", ".join(sorted({layer.component for layer in old}))
        msg = f'there is no component "{base}" to start from'
        raise UsageError(msg, hint=f"components there: {names}")
    pairs = []
    for layer in new:
        if base is not None:
            bases = tuple(o for o in old if o.component == base and o.arch is layer.arch and o.entry.tree != layer.entry.tree)
        else:
            bases = likely_bases(layer, old)
        pairs.append((layer, bases))
    return pairs


def plan_layers(
    pairs: Sequence[tuple[SourceLayer, tuple[SourceLayer, ...]]],
    old: Sequence[SourceLayer],
    workspace: Workspace,
    *,
    recipe: DeltaRecipe,
    exact: bool = False,
    jobs: int = 1,
    keep_files: bool = False,
    progress: Progress = NO_PROGRESS,
) -> list[LayerPlan]:
    """Return the cheapest way for each layer, by an estimate; ``exact`` compresses everything for it.

    Files in ``workspace`` are removed after each layer unless ``keep_files``. Raises :class:`IntegrityError` for damaged layers.
    """
    known = {(layer.arch, layer.entry.tree) for layer in old}
    changed = [(layer, bases) for layer, bases in pairs if (layer.arch, layer.entry.tree) not in known]
    found: dict[tuple[_Key, _Key], tuple[SourceLayer, Estimate]] = {}
    for layer, bases in changed:
        for base in bases:
            estimate = estimate_pair(layer, base, workspace, recipe=recipe, exact=exact, jobs=jobs, progress=progress)
            found[_key(base), _key(layer)] = base, estimate
        if not keep_files:
            workspace.drop()
    # What is there already costs nothing; among what is not, deltas must not need each other.
    alone = {_key(layer): round(_WORTH * layer.entry.packed_size_bytes) for layer, _ in changed}
    there = {key: 0 for key, _ in found if key not in alone}
    edges = [Edge(base, new, estimate.size_bytes) for (base, new), (_, estimate) in found.items()]
    chosen = cheapest_bases({**alone, **there}, edges)
    plans = []
    for layer, bases in pairs:
        if (layer.arch, layer.entry.tree) in known:
            plans.append(LayerPlan(layer=layer, base=None, estimate=None, is_unchanged=True))
            continue
        taken = chosen[_key(layer)]
        tried = [found[_key(base), _key(layer)] for base in bases]
        if taken is not None:
            base, estimate = found[taken, _key(layer)]
            plans.append(LayerPlan(layer=layer, base=base, estimate=estimate))
        else:
            plans.append(LayerPlan(layer=layer, base=None, estimate=min((e for _, e in tried), key=_size, default=None)))
    return plans


def estimate_pair(
    layer: SourceLayer,
    base: SourceLayer,
    workspace: Workspace,
    *,
    recipe: DeltaRecipe,
    exact: bool = False,
    jobs: int = 1,
    progress: Progress = NO_PROGRESS,
) -> Estimate:
    """Return the estimate of the delta that makes ``layer`` from ``base``."""
    old, new = _gather(layer, base, workspace)
    return estimate_delta(
        old,
        new,
        workspace.path,
        workspace.path,
        recipe=recipe,
        every=1 if exact else 8,
        jobs=jobs,
        what=layer.what,
        progress=progress,
    )


def make_delta(
    layer: SourceLayer,
    base: SourceLayer,
    workspace: Workspace,
    sink: Writable,
    *,
    recipe: DeltaRecipe,
    mtime: int,
    jobs: int = 1,
    progress: Progress = NO_PROGRESS,
) -> tuple[Descriptor, DeltaTable]:
    """Write the delta that makes ``layer`` from ``base`` to ``sink``; return its descriptor and table."""
    old, new = _gather(layer, base, workspace)
    made = encode_delta(
        old,
        new,
        workspace.path,
        workspace.path,
        sink,
        recipe=recipe,
        mtime=mtime,
        jobs=jobs,
        spool=workspace.folder,
        what=layer.what,
        progress=progress,
    )
    return delta_descriptor(layer.component, old.digest, new.digest, made.digest, made.size_bytes), made.table


def bundle_mtime(bundle: Bundle, arch: Arch) -> int:
    """Return the time of the files in the layers of ``bundle``, in seconds since 1970: its source date."""
    return manifest_mtime(bundle.layout.manifest(bundle.manifest_descriptor(arch)))


def manifest_mtime(manifest: Manifest) -> int:
    """Return the time of the files in an image's layers, in seconds since 1970: its creation, or else the default source date."""
    return _seconds(manifest.annotations.get(mediatypes.ANNOTATION_CREATED))


def plan_to_dict(plan: LayerPlan, table: DeltaTable | None = None, made_bytes: int | None = None) -> dict[str, JsonValue]:
    """Return the JSON form: what each component takes, and its files; of the ``table`` of the finished delta when given."""
    shown = table or (None if plan.estimate is None or plan.base is None else plan.estimate.table)
    files: list[JsonValue] = [] if shown is None else [dict(cost.to_dict()) for cost in file_costs(shown)]
    return {
        "component": plan.layer.component,
        "arch": plan.layer.arch.value,
        "mode": "unchanged" if plan.is_unchanged else "full" if plan.base is None else "delta",
        "base": None if plan.base is None else {"component": plan.base.component, "tree": plan.base.entry.tree},
        "tree": plan.layer.entry.tree,
        "full_bytes": plan.full_bytes,
        "transfer_bytes": plan.transfer_bytes if made_bytes is None else made_bytes,
        "exact": made_bytes is not None or plan.base is None or plan.estimate is None or plan.estimate.exact,
        "files": files,
    }


def _gather(layer: SourceLayer, base: SourceLayer, workspace: Workspace) -> tuple[Tree, Tree]:
    """Return both trees, with what a delta may read of them at hand."""
    old, new = workspace.tree(base), workspace.tree(layer)
    known = {entry.digest for entry in old.entries.values() if isinstance(entry, File)}
    changed = {entry.digest for entry in new.entries.values() if isinstance(entry, File)} - known
    bases = {file.digest for files in similar_files(old, new).values() for file in files}
    workspace.unpack(base, bases)
    workspace.unpack(layer, changed)
    return old, new


def _key(layer: SourceLayer) -> _Key:
    return layer.arch.value, layer.component, layer.entry.tree


def _size(estimate: Estimate) -> int:
    return estimate.size_bytes


def _seconds(text: str | None) -> int:
    from datetime import UTC, datetime

    try:
        moment = datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return DEFAULT_SOURCE_DATE
    return int(moment.timestamp())
