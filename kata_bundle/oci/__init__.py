"""OCI image layouts and the bundles in them."""

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
