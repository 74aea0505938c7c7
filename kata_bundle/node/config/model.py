"""The effective configuration of one install as one frozen value: what every later step reads, and nothing else.

Built by ``resolve`` after everything was checked, so its users need not check again. Source of the fields: installer
specification §2. Must not know where a value came from (``origins`` does), nor any file of the host.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DNS_LABEL",
    "GUEST_PULL",
    "AnnotationRule",
    "CustomRuntime",
    "ErofsSize",
    "MergeMode",
    "NodeConfig",
    "ProxySetting",
    "ShimMapping",
    "UserDropIn",
    "redact",
]

GUEST_PULL: Final = "guest-pull"
DEFAULT_CONTAINERD_CONFIG: Final = "config.toml"
DEFAULT_HEALTH_PORT: Final = 8090
CONTAINERD_FOLDER: Final = "/etc/containerd"
CRIO_FOLDER: Final = "/etc/crio/crio.conf.d"

DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""What a shim and a handler may be called: both become part of paths, unit names and TOML keys."""

_HIDDEN: Final = "***"


class MergeMode(StrEnum):
    """How the erofs snapshotter hands layers to a guest."""

    MERGED = "merged"
    UNMERGED = "unmerged"


class ErofsSize(StrEnum):
    """What holds the writable layer of the erofs snapshotter."""

    DISK = "disk"
    MEMORY = "memory"


@record
class AnnotationRule:
    """Hypervisor annotations that pods may set: with ``shim`` ``None`` for every shim."""

    shim: str | None
    annotations: tuple[str, ...]

    @property
    def text(self) -> str:
        """The entry as it is spelled in the variable."""
        names = ",".join(self.annotations)
        return names if self.shim is None else f"{self.shim}:{names}"


@record(kw_only=False)
class ShimMapping:
    """A list of ``shim:value`` entries in order; ``entries`` hold the trimmed parts between colons, however many there were."""

    entries: tuple[tuple[str, ...], ...] = ()

    def lookup(self, shim: str) -> str | None:
        """Return the value of the first entry with two parts for ``shim``; ``None`` when there is none or it is empty."""
        return next((value or None for key, value in self.pairs if key == shim), None)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The entries that have exactly two parts."""
        return tuple((entry[0], entry[1]) for entry in self.entries if len(entry) == 2)

    @property
    def text(self) -> str | None:
        """The entries as they are spelled in the variable; ``None`` when there are none."""
        return ",".join(":".join(entry) for entry in self.entries) or None

    def __bool__(self) -> bool:
        return bool(self.entries)


@record(repr=False)
class ProxySetting:
    """A proxy value for every shim (``everywhere``) or for single ones (``per_shim``, first match wins); never both.

    Values may hold credentials, so neither :func:`repr` nor :attr:`shown` shows them.
    """

    everywhere: str | None = None
    per_shim: tuple[tuple[str, str], ...] = ()

    def value_for(self, shim: str) -> str | None:
        """Return what applies to ``shim``, ``None`` when nothing does."""
        if self.everywhere is not None:
            return self.everywhere
        return next((value for name, value in self.per_shim if name == shim), None)

    @property
    def text(self) -> str | None:
        """The value as it is spelled in the variable, credentials included; ``None`` when there is none."""
        return self.everywhere or ";".join(f"{name}={value}" for name, value in self.per_shim) or None

    @property
    def shown(self) -> str | None:
        """The value for people and logs, without credentials."""
        if self.everywhere is not None:
            return redact(self.everywhere)
        return ";".join(f"{name}={redact(value)}" for name, value in self.per_shim) or None

    def __repr__(self) -> str:
        return f"ProxySetting({self.shown!r})"

    def __bool__(self) -> bool:
        return self.everywhere is not None or bool(self.per_shim)


@record
class CustomRuntime:
    """A further handler on top of a shim's configuration: the user's, or a synthesized debug or devkit variant."""

    handler: str
    base: str
    snapshotter: str | None = None
    pull_type: str | None = None
    drop_in: bytes | None = None
    """Content of the user's drop-in for it."""
    is_debug: bool = False
    """A debug or devkit variant."""
    is_devkit: bool = False

    @property
    def is_variant(self) -> bool:
        """Whether it was synthesized for ``DEBUG`` rather than given by the user."""
        return self.is_debug or self.is_devkit


@record
class UserDropIn:
    """The user's own containerd drop-in: where it is read from, and its content (``None`` when it was not there)."""

    source: str
    data: bytes | None


@record
class NodeConfig:
    """Everything that decides what an install puts on a node. ``machine`` is the kernel's name of the architecture."""

    machine: str
    node_name: str | None = None
    """Absent only where no Kubernetes node is concerned."""
    daemonset_name: str = "kata-deploy"
    debug: bool = False
    devkit: bool = False
    """In effect: asked for, and ``debug`` too."""
    shims: tuple[str, ...] = ()
    default_shim: str | None = None
    annotation_rules: tuple[AnnotationRule, ...] = ()
    snapshotters: ShimMapping = ShimMapping()
    pull_types: ShimMapping = ShimMapping()
    forced_guest_pull: tuple[str, ...] = ()
    https_proxy: ProxySetting = ProxySetting()
    no_proxy: ProxySetting = ProxySetting()
    installation_prefix: str | None = None
    suffix: str | None = None
    install_directory: str | None = None
    """The install directory when it was chosen directly; ``None`` where it follows from prefix and suffix."""
    snapshotter_setup: tuple[str, ...] = ()
    """Snapshotters to install, in order."""
    erofs_merge_mode: MergeMode | None = None
    erofs_size: ErofsSize | None = None
    erofs_dmverity: bool = False
    containerd_config_name: str = DEFAULT_CONTAINERD_CONFIG
    containerd_user_drop_in: UserDropIn | None = None
    custom_runtimes: tuple[CustomRuntime, ...] = ()
    """The user's, then debug variants, then devkit variants."""
    shim_drop_ins: Mapping[str, bytes] = field(default_factory=dict)
    """Content of the user's drop-in per configured shim."""
    startup_taints: tuple[str, ...] = ()
    runtime_version: str | None = None
    """The container runtime's version string, when the environment states it."""
    distribution: str | None = None
    health_port: int = DEFAULT_HEALTH_PORT
    machine_id: str | None = None
    post_delete_hook: bool = False

    # -- derived paths (installer specification §2.4), absolute on the host

    @property
    def dest(self) -> str:
        """The install directory."""
        if self.install_directory is not None:
            return self.install_directory
        return f"{(self.installation_prefix or '').rstrip('/')}/opt/kata" + (f"-{self.suffix}" if self.suffix else "")

    @property
    def has_default_dest(self) -> bool:
        """Whether the install directory is the one that payload files name."""
        return self.dest == "/opt/kata"

    @property
    def containerd_config(self) -> str:
        """The main configuration file of a containerd that no distribution places elsewhere."""
        return f"{CONTAINERD_FOLDER}/{self.containerd_config_name}"

    @property
    def containerd_backup(self) -> str:
        """Backup of :attr:`containerd_config`."""
        return f"{self.containerd_config}.bak"

    @property
    def containerd_drop_in(self) -> str:
        """The containerd drop-in at its default location."""
        return f"{self.dest}/containerd/config.d/kata-deploy.toml"

    @property
    def crio_runtime_file(self) -> str:
        """The CRI-O drop-in with our runtimes."""
        return f"{CRIO_FOLDER}/99-kata-deploy{self._dashed_suffix}"

    @property
    def crio_debug_file(self) -> str:
        """The CRI-O drop-in that raises the log level (D17)."""
        return f"{CRIO_FOLDER}/100-kata-deploy-debug{self._dashed_suffix}"

    @property
    def _dashed_suffix(self) -> str:
        return f"-{self.suffix}" if self.suffix else ""

    @property
    def uses_guest_pull(self) -> bool:
        """Whether any handler pulls images inside the guest (installer specification §20, point 6)."""
        types = [value for _, value in self.pull_types.pairs] + [runtime.pull_type for runtime in self.custom_runtimes]
        return bool(self.forced_guest_pull) or GUEST_PULL in types

    @property
    def payload_shims(self) -> tuple[str, ...]:
        """Shims whose components are needed: the configured ones, then bases of custom runtimes (D3), each once."""
        return tuple(dict.fromkeys([*self.shims, *(runtime.base for runtime in self.custom_runtimes)]))


def redact(text: str) -> str:
    """Return a proxy value without its user info and query, whatever stands in them.

    >>> redact("http://user:p/w@proxy:3128/?key=1")
    'http://***@proxy:3128/?***'
    """
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
    head = scheme.group() if scheme else ""
    rest = text[len(head) :]
    if "@" in rest:
        rest = f"{_HIDDEN}@{rest.rpartition('@')[2]}"
    before, question, _ = rest.partition("?")
    return f"{head}{before}{question}{_HIDDEN if question else ''}"
