"""The host check: read-only, repeatable, every problem at once (installer specification §20)."""

from __future__ import annotations

from kata_bundle.node.hostcheck.check import HostCheckError, HostFacts, HostReport, check_host
from kata_bundle.node.hostcheck.kernel import Feature, KernelFacts, has_feature, read_kernel
from kata_bundle.node.hostcheck.programs import (
    HOST_PROGRAM_DIRECTORIES,
    MKFS_EROFS,
    find_program_file,
    has_c_string,
    missing_options,
)
from kata_bundle.node.hostcheck.space import SpaceFacts, read_space

__all__ = [
    "HOST_PROGRAM_DIRECTORIES",
    "MKFS_EROFS",
    "Feature",
    "HostCheckError",
    "HostFacts",
    "HostReport",
    "KernelFacts",
    "SpaceFacts",
    "check_host",
    "find_program_file",
    "has_c_string",
    "has_feature",
    "missing_options",
    "read_kernel",
    "read_space",
]
