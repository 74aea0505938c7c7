"""What can go wrong while asking a guest's agent. Must not know: what was asked."""

from __future__ import annotations

from kata_bundle.core.errors import RemoteError

__all__ = ["AgentError", "AgentStatusError", "AgentTimeoutError"]


class AgentError(RemoteError):
    """The agent cannot be reached, or what it sends is not what the protocol says."""


class AgentTimeoutError(AgentError):
    """The agent did not answer in time."""


class AgentStatusError(AgentError):
    """The agent answered that it refuses. ``code`` is the name of the status, such as ``INVALID_ARGUMENT``."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
