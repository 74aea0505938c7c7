"""The only module that reads the time; tests replace :func:`now`."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from kata_bundle.core.errors import UsageError

__all__ = ["DEFAULT_SOURCE_DATE", "monotonic", "now", "source_date", "timestamp"]

DEFAULT_SOURCE_DATE = 1577836800
"""2020-01-01T00:00:00Z: the time every packed file gets unless ``SOURCE_DATE_EPOCH`` says otherwise."""


def now() -> float:
    """Return seconds since the epoch."""
    return time.time()


def monotonic() -> float:
    """Return seconds on a clock that never steps, for durations."""
    return time.monotonic()


def timestamp(at: float | None = None, *, milliseconds: bool = False) -> str:
    """Return ``at`` (default: now) as ``2026-11-24T09:00:00Z``, or with ``milliseconds`` as ``2026-11-24T09:00:00.000Z``."""
    moment = datetime.fromtimestamp(now() if at is None else at, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond // 1000:03d}Z" if milliseconds else f"{text}Z"


def source_date() -> int:
    """Return the time to clamp to, in seconds: ``SOURCE_DATE_EPOCH`` (reproducible-builds.org), else the built-in default.

    Raises :class:`UsageError` when the variable is set to anything but a number of seconds from 0 to 2^33.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return DEFAULT_SOURCE_DATE
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 1 << 33):
        msg = f'SOURCE_DATE_EPOCH is "{text[:40]}", expected seconds since 1970 as a plain number'
        raise UsageError(msg)
    return int(text)
