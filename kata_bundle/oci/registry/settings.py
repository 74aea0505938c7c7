"""How a client behaves: where its configuration lies, and every limit it keeps. Pure values; nothing here is secret.

Must not know: what is asked of registries.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Limits", "RegistrySettings"]


@record
class Limits:
    """Time and size limits. Every wait of the client ends by one of these."""

    connect_s: float = 10.0
    """For a connection, TLS included."""
    send_s: float = 30.0
    """For the other side to take one piece of a body that we send."""
    answer_s: float = 60.0
    """From a sent request to the end of the answer's head, and as long again for a whole small answer."""
    commit_bytes_per_s: int = 8 << 20
    """How fast a registry is expected to check an uploaded blob before it answers; that time comes on top of ``answer_s``."""
    slow_bytes: int = 64 << 10
    """A body has to move this much in every ``slow_s``, or it is given up (and resumed)."""
    slow_s: float = 60.0
    tries: int = 6
    """Of one request; of a transfer, tries that moved nothing."""
    first_pause_s: float = 0.25
    longest_pause_s: float = 15.0
    longest_wait_s: float = 120.0
    """Most that a ``Retry-After`` may ask; more is an error that says so."""
    redirects: int = 5
    pages: int = 1000
    """Of one list."""
    names: int = 100_000
    """Tags of one repository, or referrers of one manifest."""
    upload_chunk_bytes: int | None = None
    """Bytes of one upload request; ``None``: a whole blob, and less only when the registry refuses that as too large."""
    inline_bytes: int = 1 << 20
    """Blobs up to this size are sent in one request."""


@record
class RegistrySettings:
    """What a client is given from outside."""

    plain_http: bool = False
    """Speak HTTP without TLS to the registries named; loopback hosts are spoken to so by default."""
    ca_file: Path | None = None
    """PEM file of roots to trust beside the system's."""
    auth_file: Path | None = None
    """A ``config.json`` to read alone, instead of the usual places."""
    hosts_folders: tuple[Path, ...] | None = None
    """Folders with one folder a host (``hosts.toml``, certificates); ``None``: the usual places."""
    token_hosts: frozenset[str] = frozenset()
    """Further hosts that may be sent credentials when a registry names them as its token service."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """Where proxies and places of configuration are read from."""
    limits: Limits = field(default_factory=Limits)
