"""What somebody asked for, before it is checked: one optional member per setting, with where it came from.

The environment, a settings file and a command line all end here, so that one set of rules (``resolve``) applies to them. A member
that is ``None`` was not given. Must not know defaults, nor how a source spells a setting.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.config.model import AnnotationRule, CustomRuntime, ProxySetting, ShimMapping, UserDropIn

__all__ = ["BUILT_IN", "Given", "Origin", "OriginKind", "Settings"]

T = TypeVar("T")


class OriginKind(StrEnum):
    """What kind of place a value came from."""

    VARIABLE = "variable"
    FILE = "file"
    OPTION = "option"
    BUILT_IN = "built-in"
    DERIVED = "derived"


@record
class Origin:
    """Where a value came from. ``name`` is the variable, the key in the file or the option."""

    kind: OriginKind
    name: str

    def __str__(self) -> str:
        return self.name


BUILT_IN = Origin(kind=OriginKind.BUILT_IN, name="built-in default")


@record(kw_only=False)
class Given(Generic[T]):
    """A value and where it came from."""

    value: T
    origin: Origin


@record
class Settings:
    """Everything that can be asked for (installer specification §2), not checked against anything yet."""

    requires_node_name: bool = False
    node_name: Given[str] | None = None
    daemonset_name: Given[str] | None = None
    debug: Given[bool] | None = None
    devkit: Given[bool] | None = None
    shims: Given[tuple[str, ...]] | None = None
    default_shim: Given[str] | None = None
    annotation_rules: Given[tuple[AnnotationRule, ...]] | None = None
    snapshotters: Given[ShimMapping] | None = None
    pull_types: Given[ShimMapping] | None = None
    forced_guest_pull: Given[tuple[str, ...]] | None = None
    https_proxy: Given[ProxySetting] | None = None
    no_proxy: Given[ProxySetting] | None = None
    for_every_arch: frozenset[str] = frozenset()
    """Members whose value is meant for every architecture: what they say of shims without components here is ignored (D14)."""
    installation_prefix: Given[str] | None = None
    suffix: Given[str] | None = None
    install_directory: Given[str] | None = None
    snapshotter_setup: Given[tuple[str, ...]] | None = None
    erofs_merge_mode: Given[str] | None = None
    erofs_size: Given[str] | None = None
    erofs_dmverity: Given[bool] | None = None
    containerd_config_name: Given[str] | None = None
    containerd_user_drop_in: Given[UserDropIn] | None = None
    custom_runtimes: Given[tuple[CustomRuntime, ...]] | None = None
    shim_drop_ins: Given[Mapping[str, bytes]] | None = None
    startup_taints: Given[tuple[str, ...]] | None = None
    runtime_version: Given[str] | None = None
    distribution: Given[str] | None = None
    health_port: Given[int] | None = None
    machine_id: Given[str] | None = None
    post_delete_hook: Given[bool] | None = None
