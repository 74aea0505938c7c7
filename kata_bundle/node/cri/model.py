"""What is asked of the container runtime's configuration, and what planning answers.

Plain values without behaviour. Must not know how a configuration file looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.config.model import ErofsSize, MergeMode
    from kata_bundle.node.hostedit import HostEdit
    from kata_bundle.node.runtime import Runtime

__all__ = ["CriPlan", "CriRequest", "ErofsSettings", "RuntimeHandler", "UnitCall"]


@record
class RuntimeHandler:
    """One handler that the runtime is to offer.

    ``shim`` is the shim it is, or the base of a custom runtime or variant; ``snapshotter`` the word mapped to it (``nydus``,
    ``erofs``, ``devmapper`` …), not the name written to containerd. Paths are absolute on the host.
    """

    name: str
    shim: str
    is_rust: bool
    runtime_path: str
    config_path: str
    snapshotter: str | None = None
    pull_type: str | None = None


@record
class ErofsSettings:
    """How the erofs snapshotter is set up; ``None`` is the default (merged, disk)."""

    merge_mode: MergeMode | None = None
    size: ErofsSize | None = None
    has_dm_verity: bool = False
    max_unmerged_layers: int = 0
    """Written in merged mode only."""


@record
class CriRequest:
    """Everything that decides the configuration of a node's container runtime.

    ``version`` is the string that the node reports (``containerd://2.2.0``); ``config_dir`` where the runtime's directory is
    seen: ``/etc/containerd`` inside the installer's pod, ``node.cri.layouts.host_config_dir`` on the host itself.
    ``snapshotters`` are those to set up; ``user_drop_in`` the content of the user's drop-in.
    """

    runtime: Runtime
    version: str
    dest: str
    handlers: tuple[RuntimeHandler, ...]
    suffix: str | None = None
    config_dir: str = "/etc/containerd"
    config_file_name: str = "config.toml"
    debug: bool = False
    snapshotters: tuple[str, ...] = ()
    erofs: ErofsSettings = field(default_factory=ErofsSettings)
    user_drop_in: bytes | None = None


@record
class UnitCall:
    """One call to systemd: ``stop``, ``disable``, ``enable`` or ``restart`` of ``unit``, or ``daemon-reload`` of everything.

    ``may_fail``: an error is only logged, as for stopping a unit that is not there.
    """

    verb: str
    unit: str = ""
    may_fail: bool = False


@record
class CriPlan:
    """The edits in the order in which they are to be made, and what was decided.

    Undoing goes the other way, so no moment has an import of a file that is not there. ``decisions`` go into the receipt.
    ``watched`` are the files whose content says whether the runtime would load anything else than before (installer
    specification §15.10). ``restart_unit`` is the unit to restart when one of the edits changes what the runtime loads, ``None``
    where it picks the change up by itself. ``left`` says what could not be undone.
    """

    edits: tuple[HostEdit, ...]
    decisions: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    restart_unit: str | None = None
    left: tuple[str, ...] = ()
