"""What can go wrong between us and a Remote Execution API server, as errors a caller can tell apart.

::

    RemoteError (core.errors, exit code 8)
    └── ServerError         a refusal, silence or nonsense; ``code`` is gRPC's word for it (``NOT_FOUND``)
        └── BlobMissing     the server does not have a blob that it should have

Content that is not what its digest says is :class:`~kata_bundle.core.errors.IntegrityError` (exit code 7). No message holds a
token. Must not know: calls.
"""

from __future__ import annotations

from typing import Final

from kata_bundle.core.errors import RemoteError

__all__ = ["RETRYABLE", "BlobMissing", "ServerError"]

RETRYABLE: Final = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"})
"""gRPC codes after which the same call may succeed. ``RESOURCE_EXHAUSTED`` is among them since the API asks clients to come back
later after it."""


class ServerError(RemoteError):
    """A server refused, failed, was silent or answered nonsense."""

    def __init__(self, message: str, *, code: str, hint: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message, hint=hint, retryable=code in RETRYABLE if retryable is None else retryable)
        self.code = code


class BlobMissing(ServerError):  # noqa: N818 - what it says is no failure to whoever asked a cache
    """The server has no such blob (any more)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="NOT_FOUND")
