"""The catalog: every manifest loaded, checked and resolved, as frozen values.

Knows: what a shim, a component, a RuntimeClass is. Must not know: files, documents, positions. Only right values exist here;
what is wrong with a document is found before (``manifest.load``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kata_bundle.core.componentmap import tarball_name
from kata_bundle.manifest.layers import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.componentmap import ComponentMap

__all__ = [
    "PREFIX",
    "ArchDefaults",
    "Catalog",
    "ChartEnabled",
    "Component",
    "ComponentKind",
    "DefaultClass",
    "Family",
    "OverheadSource",
    "Release",
    "RuntimeClass",
    "RuntimeFamily",
    "Shim",
    "ShimConfig",
    "ShimStatus",
    "Tee",
]


class RuntimeFamily(StrEnum):
    """Which of the two runtimes a shim is."""

    GO = "go"
    RUST = "rust"


class ShimStatus(StrEnum):
    """How complete a shim is."""

    ACTIVE = "active"
    """Has component rows, a configuration, chart values and a RuntimeClass."""
    ALIAS = "alias"
    """A second name that the installer accepts; nothing else exists for it."""
    UNFINISHED = "unfinished"
    """Configuration files and a RuntimeClass overhead exist; no component row, no chart value, unknown to the installer."""


class ComponentKind(StrEnum):
    """What becomes of a component."""

    SHIPPED = "shipped"
    """May reach a node because a cell lists it."""
    FLAG = "flag"
    """Reaches a node when a flag is set."""
    INTERMEDIATE = "intermediate"
    """Part of other components."""
    TOOL = "tool"
    """Goes into the separate bundle of tools."""
    UNUSED = "unused"
    """Has a build target; nothing ships it."""


class Tee(StrEnum):
    """Confidential-computing technology of a guest."""

    SNP = "snp"
    TDX = "tdx"
    SE = "se"


class ChartEnabled(StrEnum):
    """Whether the chart enables a shim by default."""

    FOLLOW_DISABLE_ALL = "follow-disableAll"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What all shims of a runtime family share; paths are below the prefix, ``template_directory`` in upstream's sources."""

    name: RuntimeFamily
    component: str
    shim_binary: str
    config_directory: str
    template_directory: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShimConfig:
    """Values of a shim's configuration file on one architecture, as upstream's build writes them.

    Paths are absolute (:data:`PREFIX` or the host). ``None`` means that the file has no such line. ``installed_initrd`` is
    what takes the image's place when the shim is packed, where it does.
    """

    hypervisor_table: str
    hypervisor_path: str | None
    kernel: str | None
    image: str | None
    initrd: str | None
    installed_initrd: str | None
    firmware: str | None
    firmware_volume: str | None
    shared_fs: str | None
    virtio_fs_daemon: str | None
    default_memory_mib: int | None
    overhead_memory_mib: int | None
    confidential_guest: bool
    guest_extension_images: tuple[str, ...]
    sandbox_cgroup_only: bool
    static_sandbox_resource_mgmt: bool
    emptydir_mode: str
    enable_annotations: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shim:
    """A Kata runtime flavour. Tuples of architectures are in the documents' order."""

    name: str
    family: RuntimeFamily
    hypervisor: str
    """Table of the configuration file: ``[hypervisor.<this>]``."""
    hypervisor_binary: str | None
    """Program in ``bin/``; ``None`` for QEMU (named by architecture and artifact) and where there is none."""
    qemu_artifact: str | None
    """Component that provides the emulator; ``None`` without QEMU."""
    status: ShimStatus
    alias_of: str | None
    tee: Tee | None
    gpu: bool
    coco_dev: bool
    shim_component: str
    shim_binary: str
    config_file: str | None
    config_directory: str
    config_template: str | None
    arches: tuple[Arch, ...]
    """Where the component map has a row."""
    configs: Mapping[Arch, ShimConfig]
    profiles: tuple[str, ...]
    snapshotter: str | None
    """Chart value; empty: the CRI's own; ``None``: the chart does not know the shim, as for the four that follow."""
    force_guest_pull: bool | None
    crio_guest_pull: bool | None
    chart_enabled: ChartEnabled | None
    chart_arches: tuple[Arch, ...]
    allowed_hypervisor_annotations: tuple[str, ...]

    @property
    def is_active(self) -> bool:
        """Whether the shim is complete, so that a user can select it."""
        return self.status is ShimStatus.ACTIVE

    @property
    def qemu_artifact_suffix(self) -> str | None:
        """The artifact without its ``qemu-``; ``None`` for the plain emulator and without QEMU."""
        return None if self.qemu_artifact is None else self.qemu_artifact.removeprefix("qemu").removeprefix("-") or None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One thing built and packed."""

    name: str
    kind: ComponentKind
    flag: str | None
    optional: str | None
    """Why a cell may list it although the shim's configuration names none of its files; ``None``: it may not."""
    licence: str
    """SPDX expression; ``NOASSERTION`` for collections of differently licensed packages."""
    method: str
    method_on: Mapping[Arch, str]
    features_on: Mapping[Arch, tuple[str, ...]]
    is_guest_part: bool
    """Paths are relative to the guest's root instead of the prefix."""
    arches: tuple[Arch, ...]
    job: str | None
    removal_jobs: Mapping[Arch, str]
    """Pipeline job that deletes the result (of a component with sidecars: the sidecars) after images were made from it."""
    untrusted_variant: bool
    """A ``fake-`` variant is built for pull requests that may not see secrets."""
    outputs: Mapping[Arch, tuple[str, ...]]
    """Paths below the prefix that configuration files may name, per architecture; a folder ends in a slash."""
    output_patterns: tuple[str, ...]
    variant: str | None
    measured_on: tuple[Arch, ...]
    """Where a dm-verity root hash of ``variant`` is kept."""
    releases: Mapping[RuntimeFamily, tuple[Arch, ...]]
    build_depends_on: tuple[str, ...]
    scripts: tuple[str, ...]
    version_keys: tuple[str, ...]
    version_keys_absent: tuple[str, ...]
    cache_key: tuple[str, ...]
    builder_key: tuple[str, ...]
    sidecars: tuple[str, ...]
    extra_cache_tag: str | None
    input_integrity: str | None
    build_flags: str | None
    notes: str | None

    @property
    def tarball(self) -> str:
        """File name as a tarball."""
        return tarball_name(self.name)

    def provides(self, path: str, arch: Arch) -> bool:
        """Return whether ``path`` (below the prefix, no leading slash) is an output on ``arch`` or lies in an output folder."""
        return any(
            path == output.rstrip("/") or (output.endswith("/") and path.startswith(output))
            for output in self.outputs.get(arch, ())
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True, slots=True)
class OverheadSource:
    """Where an overhead comes from: a document, its date, and ``declared`` or ``measured``."""

    source: str
    date: date
    method: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeClass:
    """The Kubernetes object of a shim."""

    shim: str
    name: str
    """Also the handler."""
    memory: str
    """Overhead as a Kubernetes quantity, as ``cpu``."""
    cpu: str
    source: OverheadSource
    node_selector: Mapping[str, str]
    """Always rendered."""
    node_selector_with_discovery: Mapping[str, str]
    """Rendered in addition when the chart uses node feature discovery."""
    resources_with_discovery: Mapping[str, str]
    """Extended resources added to the overhead when the chart's discovery rules publish them."""
    arches: tuple[Arch, ...]
    rendered_by_default: bool
    variants: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True, slots=True)
class DefaultClass:
    """The optional class that stands for the default shim."""

    name: str
    created_by_default: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchDefaults:
    """What an architecture installs when nobody chooses. A default shim may lack a component row (an accepted finding)."""

    arch: Arch
    default_shims: tuple[str, ...]
    default_shim: str
    left_out: Mapping[str, str]
    """Shim → why it is not installed by default though it has components there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """Release bundles: name per family, what is added to each, and the size that an asset must stay below."""

    bundles: Mapping[RuntimeFamily, str]
    adds: tuple[str, ...]
    size_limit_bytes: int
    version: str | None = None
    """The release of Kata that the catalog is of, where it says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """All manifests, resolved."""

    component_map: ComponentMap
    shims: Mapping[str, Shim]
    families: Mapping[RuntimeFamily, Family]
    components: Mapping[str, Component]
    runtime_classes: Mapping[str, RuntimeClass]
    """By shim."""
    arches: Mapping[Arch, ArchDefaults]
    default_class: DefaultClass
    release: Release

    def active_shims(self) -> tuple[Shim, ...]:
        """Return the complete shims in the documents' order."""
        return tuple(shim for shim in self.shims.values() if shim.is_active)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, OverheadSource):
        return {"source": value.source, "date": value.date.isoformat(), "method": value.method}
    return value
