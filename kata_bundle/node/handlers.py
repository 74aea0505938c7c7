"""Names that Kubernetes and the container runtimes know: handlers of shims and variants, and this install's node label.

Source: installer specification §4, §22.1 and §29. Must not know what is configured.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["INSTANCE_LABEL_PREFIX", "SHARED_LABEL", "Variant", "handler", "instance_label", "variant_handler"]

SHARED_LABEL: Final = "katacontainers.io/kata-runtime"
INSTANCE_LABEL_PREFIX: Final = "kata-deploy.katacontainers.io/"


class Variant(StrEnum):
    """The further handlers that each shim gets for finding faults."""

    DEBUG = "debug"
    DEVKIT = "devkit"


def handler(shim: str, suffix: str | None) -> str:
    """Return the handler of ``shim``, which is also the name of its RuntimeClass."""
    return f"kata-{shim}-{suffix}" if suffix else f"kata-{shim}"


def variant_handler(shim: str, suffix: str | None, variant: Variant) -> str:
    """Return the handler of a variant of ``shim``."""
    return f"{handler(shim, suffix)}-{variant}"


def instance_label(suffix: str | None) -> str:
    """Return the node label that is this install's own mark."""
    return INSTANCE_LABEL_PREFIX + (suffix or "default")
