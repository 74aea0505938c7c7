"""Comparing copies: what several entries say about one thing, and which of them says something else.

Knows: nothing but values. A majority is taken for right; of two, the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kata_bundle.manifest.context import Manifests

__all__ = ["deviants", "groups", "siblings_of_families", "twin_of"]

K = TypeVar("K")
N = TypeVar("N")
RUST_SUFFIX = "-runtime-rs"


def groups(items: Iterable[tuple[K, N]]) -> Iterator[tuple[N, ...]]:
    """Yield the members of each key, keys in the order of their first member; keys with one member are left out."""
    found: dict[K, list[N]] = {}
    for key, member in items:
        found.setdefault(key, []).append(member)
    yield from (tuple(members) for members in found.values() if len(members) > 1)


def deviants(members: Sequence[tuple[N, object]]) -> tuple[N | None, list[N]]:
    """Return a member with the value that most have (the first one's when there is no such), and the members without it."""
    counts: dict[str, int] = {}
    for _, value in members:
        counts[repr(value)] = counts.get(repr(value), 0) + 1
    if len(counts) < 2:
        return None, []
    most = max(counts, key=lambda text: counts[text])
    right = next(member for member, value in members if repr(value) == most)
    return right, [member for member, value in members if repr(value) != most]


def twin_of(name: str) -> str:
    """Return what the same shim is called in the Rust family."""
    return f"{name}{RUST_SUFFIX}"


def siblings_of_families(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Yield (Go shim, Rust shim) that differ in the family only, as their names say."""
    shims = manifests.shims.model.shims
    for name, entry in shims.items():
        other = shims.get(twin_of(name))
        if other is not None and entry.family == "go" and other.family == "rust":
            yield name, twin_of(name)
