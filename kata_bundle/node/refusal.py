"""Why the installer refuses a node before it touches anything.

The message is for people and says what to do; :class:`Refusal` is for programs and tests. Must not decide anything.
"""

from __future__ import annotations

from enum import StrEnum

from kata_bundle.core.errors import HostError

__all__ = ["Refusal", "RefusedError"]


class Refusal(StrEnum):
    """The precondition of the container runtime's configuration that a node does not meet."""

    BAD_MAJOR_VERSION = "bad_major_version"
    BAD_USER_DROP_IN = "bad_user_drop_in"
    BAD_VERSION_FORMAT = "bad_version_format"
    CONTAINERD_TOO_OLD = "containerd_too_old"
    CRI_DISABLED = "cri_disabled"
    DISTRIBUTION_MISMATCH = "distribution_mismatch"
    GO_SHIM_ON_MERGED_EROFS = "go_shim_on_merged_erofs"
    IMPORT_OVERRIDES = "import_overrides"
    MERGE_REPLACES = "merge_replaces"
    MISSING_IMPORT = "missing_import"
    NO_CUSTOM_RUNTIMES = "no_custom_runtimes"
    NO_DROP_IN_SUPPORT = "no_drop_in_support"
    SYSTEMD_UNREACHABLE = "systemd_unreachable"
    UNKNOWN_SNAPSHOTTER = "unknown_snapshotter"
    UNREADABLE_CONFIG = "unreadable_file"
    UNSUPPORTED_MODE = "unsupported_mode"
    UNSUPPORTED_RUNTIME = "unsupported_runtime"
    UNSUPPORTED_SCHEMA = "unsupported_schema"
    VERSION_UNKNOWN = "version_unknown"


class RefusedError(HostError):
    """The node cannot be configured as asked, for the reason ``kind``; nothing was changed."""

    def __init__(self, kind: Refusal, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
