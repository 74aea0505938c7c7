"""What goes on a medium in full and what as a delta, so that the whole is smallest.

Every layer once, whatever bundles have it. Each may be made from likely others, of other releases or of its own, at an estimated
cost; the cheapest arborescence over these says from which. Must not know: how media are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.packing import why_unrepeatable
from kata_bundle.bundle.arborescence import Edge, cheapest_bases
from kata_bundle.bundle.delta import bundle_layers, bundle_mtime, estimate_pair, likely_bases
from kata_bundle.core.events import NO_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, MutableMapping, Sequence

    from kata_bundle.archive.deltaformat import DeltaRecipe
    from kata_bundle.bundle.deltawork import SourceLayer, Workspace
    from kata_bundle.bundle.medium import Medium
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.oci.bundle import Bundle

__all__ = ["Input", "MediaPlan", "Placed", "plan_medium"]

_GAIN: Final = 0.95
"""A delta over this share of the full layer is not worth its time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """A bundle that goes on the medium, and under which name."""

    name: str
    bundle: Bundle
    arches: Collection[Arch] | None = None
    """``None``: all that it has."""

    def layers(self) -> tuple[SourceLayer, ...]:
        """Return its layers."""
        return bundle_layers(self.bundle, self.arches)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """How one layer goes on the medium."""

    layer: SourceLayer
    mtime: int
    base: SourceLayer | None
    """``None``: in full."""
    expected_bytes: int
    releases: tuple[str, ...]
    reason: str = ""
    """Why it is there in full, where that is not plain."""
    is_twin: bool = False
    """Another layer there has the same files, packed otherwise: nothing is written for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaPlan:
    """All new layers of a medium, bases before what is made from them."""

    placed: tuple[Placed, ...]
    present_bytes: int
    """Packed bytes of layers that the medium has already, in either way."""

    @property
    def full_bytes(self) -> int:
        """What the new layers take in full."""
        return sum(item.layer.entry.packed_size_bytes for item in self.placed)

    @property
    def expected_bytes(self) -> int:
        """What they will take, by estimate."""
        return sum(item.expected_bytes for item in self.placed)


def plan_medium(
    inputs: Sequence[Input],
    medium: Medium | None,
    workspace: Workspace,
    *,
    recipe: DeltaRecipe,
    keep_full: Collection[str] = (),
    jobs: int = 1,
    estimates: MutableMapping[str, int] | None = None,
    progress: Progress = NO_PROGRESS,
) -> MediaPlan:
    """Return how the layers of ``inputs`` go on ``medium`` (``None``: a new one) so that they take least.

    Layers of the releases ``keep_full`` go there in full. ``estimates`` remembers costs by both trees, so that a run that was
    interrupted comes to the same plan sooner. Raises :class:`IntegrityError` for damaged layers.
    """
    estimates = {} if estimates is None else estimates
    layers: dict[Digest, SourceLayer] = {}
    releases: dict[Digest, list[str]] = {}
    mtimes: dict[Digest, int] = {}
    for each in inputs:
        for layer in each.layers():
            layers.setdefault(layer.entry.packed, layer)
            releases.setdefault(layer.entry.packed, []).append(each.name)
            mtimes.setdefault(layer.entry.packed, bundle_mtime(each.bundle, layer.arch))
    fresh = {packed: layer for packed, layer in layers.items() if not _is_there(layer, medium)}
    bases = {layer.entry.packed: layer for layer in (medium.full_layers.values() if medium is not None else ())}
    bases |= {packed: layer for packed, layer in layers.items() if packed not in fresh}
    full = {packed for packed in fresh if set(releases[packed]) & set(keep_full)}
    reasons = {packed: why_unrepeatable(layer.entry.recipe) for packed, layer in fresh.items()}
    fixed = {packed for packed in fresh if packed in full or reasons[packed] is not None}
    twins = _twins(fresh, fixed, medium)
    nodes = {packed: layer for packed, layer in fresh.items() if packed not in twins}
    edges = []
    for packed, layer in nodes.items():
        if packed in fixed:
            continue
        for base in _candidates(layer, [*nodes.values(), *bases.values()], releases, packed):
            key = f"{base.entry.tree} {layer.entry.tree} {recipe.level}"
            if key not in estimates:
                found = estimate_pair(layer, base, workspace, recipe=recipe, jobs=jobs, progress=progress)
                estimates[key] = found.size_bytes
            edges.append(Edge(base.entry.packed, packed, estimates[key]))
    alone = {packed: round(_GAIN * layer.entry.packed_size_bytes) for packed, layer in nodes.items()}
    alone |= dict.fromkeys(fixed, 0) | dict.fromkeys(bases, 0)
    chosen = cheapest_bases(alone, edges)
    costs = {(edge.base, edge.new): edge.cost for edge in edges}
    placed: list[Placed] = []
    known = nodes | bases
    for packed in (*_bases_first({p: chosen[p] for p in nodes}), *twins):
        base_packed = chosen.get(packed)
        full_bytes = 0 if packed in twins else fresh[packed].entry.packed_size_bytes
        placed.append(
            Placed(
                layer=fresh[packed],
                mtime=mtimes[packed],
                base=None if base_packed is None else known[base_packed],
                expected_bytes=full_bytes if base_packed is None else costs[base_packed, packed],
                releases=tuple(dict.fromkeys(releases[packed])),
                reason=reasons[packed] or "",
                is_twin=packed in twins,
            )
        )
    present = sum(layers[packed].entry.packed_size_bytes for packed in layers if packed not in fresh)
    return MediaPlan(placed=tuple(placed), present_bytes=present)


def _candidates(
    layer: SourceLayer, others: Sequence[SourceLayer], releases: Mapping[Digest, list[str]], packed: Digest
) -> list[SourceLayer]:
    """Return what ``layer`` may be made from: its component in other releases, and its likes in its own."""
    same = [other for other in others if other.component == layer.component]
    names = set(releases[packed])
    own = [o for o in others if o.component != layer.component and names & set(releases.get(o.entry.packed, ()))]
    found = {other.entry.packed: other for other in (*likely_bases(layer, same), *likely_bases(layer, own))}
    return list(found.values())


def _twins(fresh: Mapping[Digest, SourceLayer], fixed: Collection[Digest], medium: Medium | None) -> list[Digest]:
    """Return those of ``fresh`` whose files another layer brings: of several with one tree all but one that is there anyway."""
    first: dict[Digest, Digest] = {}
    for packed in sorted(fresh, key=lambda packed: packed not in fixed):
        first.setdefault(fresh[packed].entry.tree, packed)
    there = {tree for tree in first if medium is not None and medium.chain(tree) is not None}
    return [
        packed
        for packed, layer in fresh.items()
        if packed not in fixed and (layer.entry.tree in there or first[layer.entry.tree] != packed)
    ]


def _is_there(layer: SourceLayer, medium: Medium | None) -> bool:
    return medium is not None and (layer.entry.packed in medium.known or medium.layout.has(layer.entry.packed))


def _bases_first(chosen: Mapping[Digest, Digest | None]) -> list[Digest]:
    """Return the keys so that each comes after what it is made from."""
    ordered: dict[Digest, None] = {}
    for packed in chosen:
        way = []
        place: Digest | None = packed
        while place is not None and place in chosen and place not in ordered:
            way.append(place)
            place = chosen[place]
        ordered |= dict.fromkeys(reversed(way))
    return list(ordered)
