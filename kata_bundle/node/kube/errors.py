"""What can go wrong with the Kubernetes API.

::

    KubeError (RemoteError, 8)
    ├── KubeUnreachableError   no answer, after all tries
    └── KubeStatusError        an answer that is a refusal: ``status``, ``reason``
"""

from __future__ import annotations

from kata_bundle.core.errors import RemoteError

__all__ = ["KubeError", "KubeStatusError", "KubeUnreachableError"]


class KubeError(RemoteError):
    """The Kubernetes API could not be used."""


class KubeUnreachableError(KubeError):
    """The API server did not answer; ``maybe_done`` says whether it may have carried out the request all the same."""

    def __init__(self, message: str, *, maybe_done: bool = True) -> None:
        super().__init__(message, retryable=True)
        self.maybe_done = maybe_done


class KubeStatusError(KubeError):
    """The API server refused.

    ``status`` is the HTTP code, ``reason`` Kubernetes' machine-readable word (possibly empty), ``retry_after_s`` how long the
    server asks to be left alone.
    """

    def __init__(self, message: str, *, status: int, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message, retryable=status == 429 or status >= 500)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s
