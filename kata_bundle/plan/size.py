"""What shims weigh: each alone, what it shares with the others of a selection, and what it alone adds to them.

Sizes are those of packed layers (what is transferred and kept in a registry) and of their content (what lies on a node). A
layer that two components or architectures share byte for byte counts once in totals. Must not know: where layers are, how sizes
are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest

__all__ = ["ComponentSize", "LayerSize", "ShimSize", "SizeReport", "Weight", "size_report"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Weight:
    """Bytes as packed and as unpacked."""

    packed_bytes: int = 0
    unpacked_bytes: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(
            packed_bytes=self.packed_bytes + other.packed_bytes, unpacked_bytes=self.unpacked_bytes + other.unpacked_bytes
        )

    def __sub__(self, other: Weight) -> Weight:
        return Weight(
            packed_bytes=self.packed_bytes - other.packed_bytes, unpacked_bytes=self.unpacked_bytes - other.unpacked_bytes
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"packed_bytes": self.packed_bytes, "unpacked_bytes": self.unpacked_bytes}


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """A packed layer: its identity and its sizes in bytes."""

    packed: Digest
    weight: Weight
    is_real: bool = True
    """Whether it does what its name says, as opposed to a stand-in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentSize:
    """A component of the selection on one architecture; ``weight`` is ``None`` when nobody knows it."""

    arch: Arch
    component: str
    weight: Weight | None
    is_real: bool
    needed_by: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "arch": self.arch.value,
            "component": self.component,
            "weight": None if self.weight is None else self.weight.to_dict(),
            "real": self.is_real,
            "needed_by": list(self.needed_by),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ShimSize:
    """A shim on one architecture. ``alone`` is ``shared`` plus ``marginal``."""

    arch: Arch
    shim: str
    alone: Weight
    """What an install of this shim only needs."""
    shared: Weight
    """The part that another shim of the selection on this architecture needs too."""
    marginal: Weight
    """The part that goes when this shim leaves the selection."""
    unknown: tuple[str, ...]
    """Components whose sizes nobody knows; they count nothing."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "arch": self.arch.value,
            "shim": self.shim,
            "alone": self.alone.to_dict(),
            "shared": self.shared.to_dict(),
            "marginal": self.marginal.to_dict(),
            "unknown": list(self.unknown),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeReport:
    """All shims and components of a selection, architectures in the order asked for."""

    shims: tuple[ShimSize, ...]
    components: tuple[ComponentSize, ...]
    total: Weight
    """Each layer once: what a bundle of the selection holds."""
    separate: Weight
    """The sum of every shim alone: what payloads of one shim each would hold."""

    @property
    def unknown(self) -> tuple[tuple[Arch, str], ...]:
        """The components whose sizes nobody knows."""
        return tuple((c.arch, c.component) for c in self.components if c.weight is None)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "version": 1,
            "shims": [shim.to_dict() for shim in self.shims],
            "components": [component.to_dict() for component in self.components],
            "total": self.total.to_dict(),
            "separate": self.separate.to_dict(),
            "complete": not self.unknown,
        }


def size_report(cells: Mapping[tuple[Arch, str], Collection[str]], layers: Mapping[tuple[Arch, str], LayerSize]) -> SizeReport:
    """Return the sizes of ``cells``, (architecture, shim) → components, by ``layers``, (architecture, component) → layer."""
    users: dict[tuple[Arch, str], list[str]] = {}
    for (arch, shim), row in cells.items():
        for component in dict.fromkeys(row):
            users.setdefault((arch, component), []).append(shim)
    # By bytes, not by name: what another shim needs under another name is shared all the same.
    sharers: dict[tuple[Arch, Digest], set[str]] = {}
    for (arch, component), needed_by in users.items():
        if (arch, component) in layers:
            sharers.setdefault((arch, layers[arch, component].packed), set()).update(needed_by)
    shims = [_shim(arch, shim, row, sharers, layers) for (arch, shim), row in cells.items()]
    order = list(dict.fromkeys(arch for arch, _ in cells))
    components = [
        ComponentSize(
            arch=arch,
            component=component,
            weight=None if (layer := layers.get((arch, component))) is None else layer.weight,
            is_real=layer is None or layer.is_real,
            needed_by=tuple(sorted(needed_by)),
        )
        for (arch, component), needed_by in sorted(users.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    ]
    return SizeReport(
        shims=tuple(shims),
        components=tuple(components),
        total=_total(layers[key] for key in users if key in layers),
        separate=_sum(shim.alone for shim in shims),
    )


def _shim(
    arch: Arch,
    shim: str,
    row: Collection[str],
    sharers: Mapping[tuple[Arch, Digest], Collection[str]],
    layers: Mapping[tuple[Arch, str], LayerSize],
) -> ShimSize:
    mine = {name: layers[arch, name] for name in row if (arch, name) in layers}
    alone = _total(mine.values())
    marginal = _total(layer for layer in mine.values() if len(sharers[arch, layer.packed]) == 1)
    return ShimSize(
        arch=arch,
        shim=shim,
        alone=alone,
        shared=alone - marginal,
        marginal=marginal,
        unknown=tuple(sorted(name for name in set(row) if (arch, name) not in layers)),
    )


def _total(layers: Iterable[LayerSize]) -> Weight:
    return _sum({layer.packed: layer.weight for layer in layers}.values())


def _sum(weights: Iterable[Weight]) -> Weight:
    return sum(weights, start=Weight())
