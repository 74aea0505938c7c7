"""Names of per-node Jobs and their labels (installer specification §32). Pure.

A node's name may be longer than a label value and may hold dots; whatever has to be changed gets a digest of the original, so
that ``worker.a`` and ``worker-a`` never meet. Must not know: the API.
"""

from __future__ import annotations

import hashlib
import re

__all__ = ["MAX_NAME", "job_name", "label_value", "sanitize_node"]

MAX_NAME = 63
"""Longest DNS label, and longest label value."""

_DIGEST = 24
_OTHER = re.compile(r"[^a-z0-9-]")


def sanitize_node(node: str) -> str:
    """Return ``node`` as letters, digits and inner dashes; different names may give the same."""
    return _OTHER.sub("-", node.lower()).strip("-")


def label_value(text: str) -> str:
    """Return ``text`` when it is a valid label value of that kind, else a shortened form with a digest of it."""
    clean = sanitize_node(text)
    return text if clean == text and len(text) <= MAX_NAME else _with_digest(clean, text.encode())


def job_name(prefix: str, node: str) -> str:
    """Return the name of the Job of one run (``prefix``) for ``node``: at most 63 characters, different for different nodes."""
    clean = sanitize_node(node)
    plain = f"{prefix}-{clean}"
    if clean and clean == node and len(plain) <= MAX_NAME:
        return plain
    return _with_digest(plain, prefix.encode() + b"\0" + node.encode())


def _with_digest(clean: str, source: bytes) -> str:
    digest = hashlib.sha256(source).hexdigest()[:_DIGEST]
    head = clean[: MAX_NAME - _DIGEST - 1].strip("-")
    return f"{head}-{digest}" if head else digest
