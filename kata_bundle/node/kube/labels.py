"""The two node labels, and what each step of an install does to them (installer specification §22.1 to §22.4). Pure.

Must not know: how the API is reached.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.node.handlers import INSTANCE_LABEL_PREFIX, SHARED_LABEL, instance_label

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SHARED_LABEL",
    "SharedLabel",
    "apply_updates",
    "claim_updates",
    "demote_updates",
    "instance_label",
    "is_retryable",
    "json_pointer_token",
    "label_patch",
    "release_updates",
    "shared_label_after",
]


class SharedLabel(StrEnum):
    """What becomes of the shared label when one install lets go of the node."""

    KEEP = "keep"
    DEMOTE = "demote"
    REMOVE = "remove"


def shared_label_after(labels: Mapping[str, str], suffix: str | None, *, unmarked_install: bool = False) -> SharedLabel:
    """Return what becomes of the shared label when the install with ``suffix`` lets go.

    ``unmarked_install`` says whether another installer DaemonSet selects the node; it counts only where no other mark does.
    """
    own = instance_label(suffix)
    others = [value for key, value in labels.items() if key.startswith(INSTANCE_LABEL_PREFIX) and key != own]
    if any(value != "false" for value in others):
        return SharedLabel.KEEP
    if others:
        return SharedLabel.DEMOTE
    return SharedLabel.KEEP if unmarked_install else SharedLabel.REMOVE


def claim_updates(labels: Mapping[str, str], suffix: str | None) -> dict[str, str]:
    """Return the labels to set before anything is written: each to ``false`` unless it has a value already."""
    return {key: "false" for key in (SHARED_LABEL, instance_label(suffix)) if key not in labels}


def apply_updates(labels: Mapping[str, str], suffix: str | None) -> dict[str, str]:
    """Return the labels to set to ``true``; empty when both are."""
    return {key: "true" for key in (SHARED_LABEL, instance_label(suffix)) if labels.get(key) != "true"}


def demote_updates(labels: Mapping[str, str], suffix: str | None) -> dict[str, str]:
    """Return what keeps new workloads away before the install with ``suffix`` is taken apart, as far as no other one serves."""
    updates = {}
    own = instance_label(suffix)
    if labels.get(own, "false") != "false":
        updates[own] = "false"
    if shared_label_after(labels, suffix) is not SharedLabel.KEEP and labels.get(SHARED_LABEL, "false") != "false":
        updates[SHARED_LABEL] = "false"
    return updates


def release_updates(labels: Mapping[str, str], suffix: str | None, *, unmarked_install: bool = False) -> dict[str, str | None]:
    """Return what to change when the install with ``suffix`` lets go; ``None`` removes a label. Empty: nothing to do."""
    updates: dict[str, str | None] = {}
    own = instance_label(suffix)
    if own in labels:
        updates[own] = None
    after = shared_label_after(labels, suffix, unmarked_install=unmarked_install)
    if after is SharedLabel.DEMOTE and labels.get(SHARED_LABEL) != "false":
        updates[SHARED_LABEL] = "false"
    elif after is SharedLabel.REMOVE and SHARED_LABEL in labels:
        updates[SHARED_LABEL] = None
    return updates


def json_pointer_token(key: str) -> str:
    """Return ``key`` as one token of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def label_patch(
    labels: Mapping[str, str], updates: Mapping[str, str | None], *, resource_version: str
) -> list[dict[str, object]]:
    """Return ``updates`` as a JSON Patch (RFC 6902) that only applies to the node as it was read.

    A label that is to go but is not there is left out, since ``remove`` of nothing is an error.
    """
    patch: list[dict[str, object]] = [{"op": "test", "path": "/metadata/resourceVersion", "value": resource_version}]
    if not labels and any(value is not None for value in updates.values()):
        patch.append({"op": "add", "path": "/metadata/labels", "value": {}})
    for key, value in sorted(updates.items()):
        path = f"/metadata/labels/{json_pointer_token(key)}"
        if value is not None:
            patch.append({"op": "add", "path": path, "value": value})
        elif key in labels:
            patch.append({"op": "remove", "path": path})
    return patch


def is_retryable(status: int) -> bool:
    """Return whether a guarded patch refused with HTTP ``status`` should be decided again from a fresh reading."""
    return status in {409, 422}
