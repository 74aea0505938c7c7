"""Which components go into each release bundle, per runtime family and architecture: the allowlists of a release.

Sorted by the tarballs' names, as release scripts list them. Must not know: how a release is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.canonical import dumps_pretty
from kata_bundle.core.errors import UsageError

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog, Component

__all__ = ["release_lists", "render_release_lists", "render_tarball_names"]


def release_lists(catalog: Catalog) -> dict[str, dict[str, list[str]]]:
    """Return bundle → architecture (kernel name) → components."""
    return {
        bundle: {arch.value: [c.name for c in _members(catalog, bundle, arch)] for arch in catalog.arches}
        for bundle in catalog.release.bundles.values()
    }


def render_release_lists(catalog: Catalog) -> str:
    """Return all lists as JSON."""
    return dumps_pretty(release_lists(catalog))


def render_tarball_names(catalog: Catalog, bundle: str, arch: Arch) -> str:
    """Return one tarball name a line; raise :class:`UsageError` for a bundle that does not exist."""
    bundles = catalog.release.bundles.values()
    if bundle not in bundles:
        msg = f'there is no release bundle "{bundle}"'
        raise UsageError(msg, hint=f"known bundles: {', '.join(bundles)}")
    return "".join(f"{component.tarball}\n" for component in _members(catalog, bundle, arch))


def _members(catalog: Catalog, bundle: str, arch: Arch) -> list[Component]:
    family = next(family for family, name in catalog.release.bundles.items() if name == bundle)
    found = [c for c in catalog.components.values() if arch in c.releases.get(family, ())]
    return sorted(found, key=lambda component: component.tarball)
