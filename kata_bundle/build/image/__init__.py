"""The payload image: a base of pinned distribution packages, the installer, and packed components; no container daemon.

Knows: package pins, the lock of Python packages, the store, OCI layouts. Must not know: how components are made,
the command line.
"""

from kata_bundle.build.image.assemble import ImageLayer, Nydus, PayloadImage, build_image
from kata_bundle.build.image.base import BASE_PACKAGES, load_base_lock, refresh_base
from kata_bundle.build.image.extras import NYDUS_PACKAGE

__all__ = [
    "BASE_PACKAGES",
    "NYDUS_PACKAGE",
    "ImageLayer",
    "Nydus",
    "PayloadImage",
    "build_image",
    "load_base_lock",
    "refresh_base",
]
