"""What an opened bundle is asked, wherever its documents were read. Must not know: layouts, registries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.oci.bundleindex import BundleIndex
    from kata_bundle.oci.descriptor import Descriptor

__all__ = ["OpenedBundle", "OpenedImage"]


class OpenedImage(Protocol):
    """One architecture's documents, checked against each other."""

    @property
    def descriptor(self) -> Descriptor:
        """Descriptor of the image manifest."""

    @property
    def index(self) -> BundleIndex:
        """The bundle index of its config."""

    @property
    def layers(self) -> Mapping[str, Descriptor]:
        """Component → layer."""


Image = TypeVar("Image", bound=OpenedImage)


class OpenedBundle(Generic[Image]):
    """The images of a bundle by architecture; ``what`` names the bundle in errors."""

    def __init__(self, what: str, images: Mapping[Arch, Image]) -> None:
        self._what = what
        self._images = images

    def arches(self) -> tuple[Arch, ...]:
        """Return the architectures that were opened, by name."""
        return tuple(self._images)

    def image(self, arch: Arch) -> Image:
        """Return the documents of ``arch``; raises :class:`IntegrityError` when the bundle has none."""
        found = self._images.get(arch)
        if found is None:
            msg = f"{self._what} holds no image for {arch}, only for {', '.join(self._images)}"
            raise IntegrityError(msg)
        return found

    def index(self, arch: Arch) -> BundleIndex:
        """Return the bundle index of ``arch``; raises like :meth:`image`."""
        return self.image(arch).index

    def manifest_descriptor(self, arch: Arch) -> Descriptor:
        """Return the descriptor of the image manifest of ``arch``; raises like :meth:`image`."""
        return self.image(arch).descriptor

    def layers(self, arch: Arch) -> Mapping[str, Descriptor]:
        """Return component → layer of ``arch``; raises like :meth:`image`."""
        return self.image(arch).layers

    def layer_descriptor(self, arch: Arch, component: str) -> Descriptor:
        """Return the descriptor of a component's layer; raises :class:`IntegrityError` when there is none."""
        found = self.image(arch).layers.get(component)
        if found is None:
            msg = f'{self._what} holds no component "{component}" for {arch}'
            raise IntegrityError(msg)
        return found
