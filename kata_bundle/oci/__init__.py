"""OCI image layouts and the bundles in them. What is exported here is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kata_bundle.oci.bundle import Bundle, open_bundle, write_bundle
    from kata_bundle.oci.bundleindex import BundleIndex, BundleLayer
    from kata_bundle.oci.descriptor import Descriptor, Platform
    from kata_bundle.oci.layout import Layout
    from kata_bundle.oci.verify import Problem, Reason, verify_layout

__all__ = [
    "Bundle",
    "BundleIndex",
    "BundleLayer",
    "Descriptor",
    "Layout",
    "Platform",
    "Problem",
    "Reason",
    "open_bundle",
    "verify_layout",
    "write_bundle",
]

_MODULES = {
    "bundle": ("Bundle", "open_bundle", "write_bundle"),
    "bundleindex": ("BundleIndex", "BundleLayer"),
    "descriptor": ("Descriptor", "Platform"),
    "layout": ("Layout",),
    "verify": ("Problem", "Reason", "verify_layout"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{module}"), name)
