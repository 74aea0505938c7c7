"""What can go wrong between us and a registry, as errors a caller can tell apart.

::

    RemoteError (core.errors, exit code 8)
    └── RegistryError              any answer or silence that is not what was asked for
        ├── RegistryStatusError    the registry answered with an error status
        │   ├── NotFoundError      404: no such tag, manifest, blob or repository
        │   └── DeniedError        401 or 403: no credentials, or not enough rights
        ├── UnreachableError       no connection, no answer in time, or a broken one
        └── ProtocolError          an answer outside the protocol, or beyond a limit

Content without its digest or size is :class:`~kata_bundle.core.errors.IntegrityError` (exit code 7) instead. No message holds a
credential, a token, or the query of an address. Must not know: requests.
"""

from __future__ import annotations

from kata_bundle.core.errors import RemoteError

__all__ = ["DeniedError", "NotFoundError", "ProtocolError", "RegistryError", "RegistryStatusError", "UnreachableError"]


class RegistryError(RemoteError):
    """A registry refused, failed, was silent or answered nonsense."""

    after_s: float = 0.0
    """How long the registry asks us to wait before the next try."""


class RegistryStatusError(RegistryError):
    """The registry answered with an error status. ``code`` is its own word for it (``DENIED``), empty without one."""

    def __init__(self, message: str, *, status: int, code: str = "", hint: str | None = None, retryable: bool = False) -> None:
        super().__init__(message, hint=hint, retryable=retryable)
        self.status = status
        self.code = code


class NotFoundError(RegistryStatusError):
    """There is no such tag, manifest, blob or repository, or we may not know of it."""


class DeniedError(RegistryStatusError):
    """Credentials are missing, wrong, or do not allow this."""


class UnreachableError(RegistryError):
    """No connection, no answer in time, or one that broke off."""


class ProtocolError(RegistryError):
    """An answer outside the protocol or beyond a limit; the registry is broken or hostile."""
