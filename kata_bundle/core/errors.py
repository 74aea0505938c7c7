"""Every error the project raises on purpose, with the exit code on the class.

::

    BundleError (1)
    ├── UsageError (2)             the command line or an option value
    ├── FindingsError (3)          the input documents have findings
    ├── LockError (4)              a lock is missing or stale
    │   └── PinMissingError        a pinned source is no longer served
    ├── BuildError (5)             a component could not be made
    ├── ReproducibilityError (6)   two builds differ
    ├── IntegrityError (7)         bytes are not what their digest, size or format says
    │   └── ArchiveError           an archive is malformed or hostile
    ├── RemoteError (8)            a registry or server
    ├── HostError (9)              the host does not meet a precondition; nothing was changed
    ├── InstallRestoredError (10)  an install failed; the previous state is back
    ├── InstallError (11)          an install failed; somebody has to look
    └── DriftError (12)            what is there differs from what was recorded

130 is an interrupt. An error is an exception and stops the command; a *finding* (``core.diagnostics``) is a value in a report.
"""

from __future__ import annotations

import errno
from typing import Final

__all__ = [
    "ArchiveError",
    "BuildError",
    "BundleError",
    "DriftError",
    "FindingsError",
    "HostError",
    "InstallError",
    "InstallRestoredError",
    "IntegrityError",
    "LockError",
    "PinMissingError",
    "RemoteError",
    "ReproducibilityError",
    "UsageError",
    "host_error",
]


class BundleError(Exception):
    """An expected failure. ``hint`` says what to do next; ``retryable`` whether the same call may succeed later."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.retryable = retryable


class UsageError(BundleError):
    """The command line, an option or an environment variable is wrong."""

    exit_code = 2


class FindingsError(BundleError):
    """Input documents have findings of severity error; the report was shown."""

    exit_code = 3


class LockError(BundleError):
    """A lock is missing, stale or disagrees with what was made."""

    exit_code = 4


class PinMissingError(LockError):
    """A pinned source is no longer served."""


class BuildError(BundleError):
    """A component could not be made."""

    exit_code = 5


class ReproducibilityError(BundleError):
    """Two builds of one rule differ."""

    exit_code = 6


class IntegrityError(BundleError):
    """Bytes do not match their digest, size or declared format."""

    exit_code = 7


class ArchiveError(IntegrityError):
    """An archive is malformed, hostile or beyond a limit; nothing outside the target was touched."""


class RemoteError(BundleError):
    """A registry or another server refused, failed or answered nonsense."""

    exit_code = 8


class HostError(BundleError):
    """The host does not meet a precondition; nothing was changed."""

    exit_code = 9


class InstallRestoredError(BundleError):
    """An install failed and the previous state is back."""

    exit_code = 10


class InstallError(BundleError):
    """An install failed and the state needs attention."""

    exit_code = 11


class DriftError(BundleError):
    """What is there differs from what was recorded."""

    exit_code = 12


_OTHER_PLACE: Final = "or name another place"
_HOST_PROBLEMS: Final = {
    errno.EACCES: f"run as a user who may do that, {_OTHER_PLACE}",
    errno.EPERM: f"run as a user who may do that, {_OTHER_PLACE}",
    errno.EROFS: f"make the file system writable, {_OTHER_PLACE}",
    errno.ENOSPC: f"free some space there, {_OTHER_PLACE}",
    errno.EDQUOT: f"free some space there, {_OTHER_PLACE}",
    errno.EFBIG: "name a place on a file system that takes larger files",
    errno.EIO: "a disk or its connection fails: see the kernel's messages",
    errno.ESTALE: "a network file system went away: mount it again",
    errno.EMFILE: "allow more open files: ulimit -n",
    errno.ENFILE: "the host has no open file left",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ELOOP: "symbolic links on the way lead in a circle",
}


def host_error(error: OSError) -> HostError | None:
    """Return what ``error`` says of the host, ``None`` when it does not come from disks, permissions or limits.

    The rest, such as a file that is not there, is the program's to expect where it can happen.
    """
    hint = _HOST_PROBLEMS.get(error.errno or 0)
    if hint is None:
        return None
    place = f": {error.filename}" if error.filename else ""
    return HostError(f"{error.strerror}{place}", hint=hint, retryable=True)
