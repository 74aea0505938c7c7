"""What can go wrong with the host's systemd.

::

    SystemdError (HostError, 9)
    ├── SystemdUnavailableError   it cannot be asked at all; never to be read as "unit inactive" (D33)
    ├── SystemdTimeoutError       it, or a job, did not answer in time
    ├── DBusCallError             it refused a call; ``name`` is the D-Bus error name
    └── UnitError                 a job ended badly, or the unit is failed after it
"""

from __future__ import annotations

from kata_bundle.core.errors import HostError

__all__ = ["DBusCallError", "SystemdError", "SystemdTimeoutError", "SystemdUnavailableError", "UnitError"]


class SystemdError(HostError):
    """Talking to systemd failed."""


class SystemdUnavailableError(SystemdError):
    """No systemd could be asked."""


class SystemdTimeoutError(SystemdError):
    """No answer within the time limit."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class DBusCallError(SystemdError):
    """systemd answered a call with an error; ``name`` is its D-Bus name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class UnitError(SystemdError):
    """A unit did not do what it was told."""
