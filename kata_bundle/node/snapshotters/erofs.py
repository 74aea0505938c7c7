"""The erofs snapshotter: node-wide, one configuration for all handlers (installer specification §19.3, D23).

Nothing is installed for it; it is part of containerd from 2.2 on. Must not know where its keys are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.node.config.model import ErofsSize, MergeMode
from kata_bundle.node.cri.tables import IMAGES_PLUGIN
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.snapshotters import EROFS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.node.cri.model import ErofsSettings, RuntimeHandler
    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = ["check_go_shims", "containerd_keys", "default_size", "is_merged", "stale_keys"]

_SNAPSHOTTER = ("plugins", "io.containerd.snapshotter.v1.erofs")
_DIFFER = ("plugins", "io.containerd.differ.v1.erofs")
_MAX_UNMERGED: KeyPath = (*_SNAPSHOTTER, "max_unmerged_layers")


def is_merged(mode: MergeMode | str | None) -> bool:
    """Return whether layers are merged into one image for the guest: the default."""
    return mode is None or mode == MergeMode.MERGED


def default_size(size: str | None) -> str:
    """Return the size of the writable layer as containerd wants it, as text. Raises :class:`RefusedError` for an unknown mode."""
    if size is None or size == ErofsSize.DISK:
        return "10G"
    if size == ErofsSize.MEMORY:
        return "0"
    msg = f'EROFS_SNAPSHOTTER_MODE is "{size}"'
    raise RefusedError(Refusal.UNSUPPORTED_MODE, msg, hint=f"it takes {', '.join(ErofsSize)}")


def containerd_keys(settings: ErofsSettings) -> dict[KeyPath, TomlValue]:
    """Return what containerd has to be told. In unmerged mode ``max_unmerged_layers`` must be absent: :func:`stale_keys`."""
    keys: dict[KeyPath, TomlValue] = {
        ("plugins", IMAGES_PLUGIN, "discard_unpacked_layers"): False,
        ("plugins", "io.containerd.service.v1.diff-service", "default"): ["erofs", "walking"],
        (*_SNAPSHOTTER, "enable_fsverity"): True,
        (*_SNAPSHOTTER, "set_immutable"): True,
        (*_SNAPSHOTTER, "dmverity_mode"): "on" if settings.has_dm_verity else "off",
        (*_SNAPSHOTTER, "default_size"): default_size(settings.size),
        (*_DIFFER, "enable_dmverity"): settings.has_dm_verity,
        (*_DIFFER, "mkfs_options"): ["-T0", "--mkfs-time", "--sort=none"],
        (*_DIFFER, "enable_tar_index"): False,
    }
    if is_merged(settings.merge_mode):
        keys[_MAX_UNMERGED] = settings.max_unmerged_layers
    return keys


def stale_keys(settings: ErofsSettings) -> tuple[KeyPath, ...]:
    """Return the keys that must not be there."""
    return () if is_merged(settings.merge_mode) else (_MAX_UNMERGED,)


def check_go_shims(handlers: Iterable[RuntimeHandler], mode: MergeMode | str | None) -> None:
    """Raise :class:`RefusedError` when a handler with the Go shim is to use merged erofs, which only the Rust shim understands.

    Standard handlers, custom runtimes and variants alike.
    """
    if not is_merged(mode):
        return
    wrong = [handler for handler in handlers if handler.snapshotter == EROFS and not handler.is_rust]
    if not wrong:
        return
    listed = ", ".join(f"{handler.shim} (handler {handler.name})" for handler in wrong)
    msg = f"these use the Go shim, which cannot read merged erofs layers: {listed}"
    hint = "map a -runtime-rs shim to erofs instead, set EROFS_MERGE_MODE=unmerged, or take these out of the mapping"
    raise RefusedError(Refusal.GO_SHIM_ON_MERGED_EROFS, msg, hint=hint)
