"""The nydus snapshotter instance for confidential guests (installer specification §19.2).

Its data directory is never removed: containerd keeps records of its snapshots, and a record without its snapshot breaks every
later pull. Must not run anything: calls to systemd are values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.record import record
from kata_bundle.node.cri.model import UnitCall
from kata_bundle.node.hostedit import HostEdit
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.snapshotters import instance_name
from kata_bundle.node.tomltext import KeyPath, TomlValue, render_document

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BINARIES",
    "FOLDER",
    "NydusPaths",
    "after_containerd",
    "after_files",
    "before_files",
    "containerd_keys",
    "fill_template",
    "host_edits",
    "nydus_paths",
    "uninstall_calls",
]

FOLDER = "nydus-for-kata-tee"
"""Below the install directory; never with the suffix, which the install directory already carries."""
BINARIES = ("containerd-nydus-grpc", "nydus-overlayfs")
_CONFIG = "config-guest-pulling.toml"

_PLAIN_ARGUMENT = re.compile(r"[A-Za-z0-9/_.,:@+=-]+\Z")


@record
class NydusPaths:
    """Every place that one instance has on a host."""

    name: str
    folder: str
    data_dir: str

    @property
    def unit(self) -> str:
        """The systemd unit."""
        return f"{self.name}.service"

    @property
    def unit_file(self) -> str:
        """Where the unit's text is."""
        return f"/etc/systemd/system/{self.unit}"

    @property
    def socket(self) -> str:
        """What containerd connects to."""
        return f"/run/{self.name}/containerd-nydus-grpc.sock"

    @property
    def config_file(self) -> str:
        """The snapshotter's own configuration."""
        return f"{self.folder}/{_CONFIG}"

    @property
    def binary(self) -> str:
        """The snapshotter."""
        return f"{self.folder}/{BINARIES[0]}"

    @property
    def overlayfs(self) -> str:
        """The mount helper."""
        return f"{self.folder}/{BINARIES[1]}"


def nydus_paths(dest: str, suffix: str | None) -> NydusPaths:
    """Return the places of the instance that belongs to the install in ``dest``."""
    name = instance_name(suffix)
    return NydusPaths(name=name, folder=f"{dest}/{FOLDER}", data_dir=f"/var/lib/{name}")


def _argument(text: str) -> str:
    """Return ``text`` as one word of a unit's command line."""
    if _PLAIN_ARGUMENT.match(text):
        return text
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        msg = f"path {text!r} has a control character and cannot stand in a systemd unit"
        raise RefusedError(Refusal.UNREADABLE_CONFIG, msg, hint="choose another INSTALLATION_PREFIX")
    for special, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(special, escaped)
    return f'"{text}"'


def exec_start(paths: NydusPaths) -> str:
    """Return the unit's command line."""
    return f"{_argument(paths.binary)} --config {_argument(paths.config_file)} --log-to-stdout"


def unit_text(paths: NydusPaths, runtime_unit: str) -> str:
    """Return the unit: started before the runtime's and wanted by it, so that containerd finds its plugin."""
    return f"""\
# Made by kata-bundle; replaced at every install.
[Unit]
Description=Nydus snapshotter for Kata Containers guests ({paths.name})
After=network.target local-fs.target
Before={runtime_unit}

[Service]
ExecStart={exec_start(paths)}
Restart=always
RestartSec=5

[Install]
WantedBy={runtime_unit}
"""


def config_values(paths: NydusPaths) -> dict[str, TomlValue]:
    """Return the snapshotter's own configuration."""
    return {
        "version": 1,
        "root": paths.data_dir,
        "address": paths.socket,
        "daemon": {"fs_driver": "proxy"},
        "snapshot": {"enable_kata_volume": True, "nydus_overlayfs_path": paths.overlayfs},
    }


def fill_template(template: str, paths: NydusPaths, runtime_unit: str) -> str:
    """Return ``template``, which came with the binaries, with the placeholders replaced that the templates of a release use."""
    values: Mapping[str, str] = {
        "@SNAPSHOTTER_ROOT_DIR@": paths.data_dir,
        "@SNAPSHOTTER_GRPC_SOCKET_ADDRESS@": paths.socket,
        "@NYDUS_OVERLAYFS_PATH@": paths.overlayfs,
        "@CONTAINERD_NYDUS_GRPC_BINARY@": paths.binary,
        "@CONFIG_GUEST_PULLING@": paths.config_file,
        "@CRI_SERVICE@": runtime_unit,
    }
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template


def host_edits(
    paths: NydusPaths, runtime_unit: str, *, config_template: str | None = None, unit_template: str | None = None
) -> tuple[HostEdit, ...]:
    """Return the instance's configuration and unit: from the templates that came with the binaries, or our own text.

    The binaries themselves are payload.
    """
    config = render_document(config_values(paths), comment="Made by kata-bundle; replaced at every install.")
    if config_template is not None:
        config = fill_template(config_template, paths, runtime_unit)
    unit = unit_text(paths, runtime_unit)
    if unit_template is not None:
        unit = fill_template(unit_template, paths, runtime_unit)
    return (
        HostEdit(path=paths.config_file, after=config.encode(), reason="configuration of the nydus snapshotter for Kata guests"),
        HostEdit(path=paths.unit_file, after=unit.encode(), reason=f"runs the nydus snapshotter before {runtime_unit}"),
    )


def containerd_keys(paths: NydusPaths, annotations: KeyPath) -> dict[KeyPath, TomlValue]:
    """Return what containerd has to be told; ``annotations`` is the table of ``disable_snapshot_annotations`` of its schema."""
    return {
        (*annotations, "disable_snapshot_annotations"): False,
        ("proxy_plugins", paths.name, "type"): "snapshot",
        ("proxy_plugins", paths.name, "address"): paths.socket,
        ("proxy_plugins", paths.name, "exports", "root"): paths.data_dir,
    }


def before_files(paths: NydusPaths) -> tuple[UnitCall, ...]:
    """Return the calls before files are written; disabling removes a stale link from another runtime's unit."""
    return (
        UnitCall(verb="stop", unit=paths.unit, may_fail=True),
        UnitCall(verb="disable", unit=paths.unit, may_fail=True),
    )


def after_files(paths: NydusPaths) -> tuple[UnitCall, ...]:
    """Return the calls after the files are written."""
    return (UnitCall(verb="daemon-reload"), UnitCall(verb="enable", unit=paths.unit))


def after_containerd(paths: NydusPaths) -> tuple[UnitCall, ...]:
    """Return the calls after containerd's configuration is written and before containerd restarts."""
    return (UnitCall(verb="restart", unit=paths.unit),)


def uninstall_calls(paths: NydusPaths, *, has_unit: bool) -> tuple[tuple[UnitCall, ...], tuple[UnitCall, ...]]:
    """Return the calls before and after the unit file goes. A unit that cannot be stopped does not keep the rest back (D36)."""
    before = (
        UnitCall(verb="stop", unit=paths.unit, may_fail=True),
        UnitCall(verb="disable", unit=paths.unit, may_fail=True),
    )
    return (before if has_unit else ()), (UnitCall(verb="daemon-reload"),)
