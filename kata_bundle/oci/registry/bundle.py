"""Bundles in registries: the documents read and checked, layers fetched one by one. The remote twin of ``oci.bundle``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.bundleindex import BundleIndex
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.client import Repository
    from kata_bundle.oci.registry.reference import Reference

__all__ = ["RemoteBundle", "open_remote_bundle"]


class RemoteBundle:
    """An opened bundle in a registry; all its documents are checked and consistent. Layers are not read."""

    reference: Reference
    """Pinned to the digest that was found."""
    repository: Repository
    descriptor: Descriptor

    @property
    def digest(self) -> Digest:
        """Digest of the image index."""
        raise NotImplementedError

    def arches(self) -> tuple[Arch, ...]:
        """Return the architectures that were opened, by name."""
        raise NotImplementedError

    def index(self, arch: Arch) -> BundleIndex:
        """Return the bundle index of ``arch``."""
        raise NotImplementedError

    def manifest_descriptor(self, arch: Arch) -> Descriptor:
        """Return the descriptor of the image manifest of ``arch``."""
        raise NotImplementedError

    def layer_descriptor(self, arch: Arch, component: str) -> Descriptor:
        """Return the descriptor of a component's layer."""
        raise NotImplementedError

    def layers(self, arch: Arch) -> Mapping[str, Descriptor]:
        """Return component → layer."""
        raise NotImplementedError


def open_remote_bundle(repository: Repository, *, arches: Collection[Arch] | None = None) -> RemoteBundle:
    """Return the bundle that the repository's reference names."""
    raise NotImplementedError
