"""What each manifest document may hold: pydantic models, from which the JSON Schemas are made.

Knows: names, types and spellings of keys and values, one document at a time. Must not know: other documents (that is
``manifest.rules``), how layers combine (``manifest.resolve``), positions.
"""

from __future__ import annotations

import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from kata_bundle.core.arch import Arch

__all__ = [
    "PATTERNS",
    "ArchDocument",
    "ArchName",
    "ChartLayer",
    "ComponentLayer",
    "ComponentMapDocument",
    "ComponentsDocument",
    "ConfigLayer",
    "ConfigValues",
    "IgnoresDocument",
    "RuntimeClassesDocument",
    "ShimEntry",
    "ShimsDocument",
    "UpstreamDocument",
]

PATTERNS: dict[str, str] = {}
"""Pattern to what it stands for in words, for findings."""


def _text(pattern: str, words: str) -> Any:
    """Return a field whose texts match ``pattern``, which ``words`` describe."""
    PATTERNS[pattern] = words
    return Field(pattern=pattern, description=words[:1].upper() + words[1:])


Name: TypeAlias = Annotated[str, _text(r"^[a-z0-9][a-z0-9._-]{0,99}$", 'a name of lower-case letters, digits, ".", "_" and "-"')]
"""A shim, component or group: becomes part of file names, Kubernetes names and TOML keys."""
Text: TypeAlias = Annotated[str, _text(r"^\S(.*\S)?$", "a text without blanks around it")]
_SEGMENT = r"[A-Za-z0-9_+{][A-Za-z0-9_.+{}-]*"
FilePath: TypeAlias = Annotated[
    str,
    _text(
        rf"^(@[A-Z0-9_]+@|/?({_SEGMENT}/)*({_SEGMENT}|\*|{_SEGMENT}/))$",
        'a path below the prefix, or with a leading slash on the host, without ".." and doubled slashes',
    ),
]
Memory: TypeAlias = Annotated[str, _text(r"^[1-9][0-9]{0,9}(Ki|Mi|Gi)$", "a quantity such as 320Mi")]
Cpu: TypeAlias = Annotated[str, _text(r"^([1-9][0-9]{0,5}m|[0-9]{1,3}(\.[0-9]{1,3})?)$", "a quantity such as 250m or 1.0")]
LabelName: TypeAlias = Annotated[
    str, _text(r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "a Kubernetes label or resource name")
]
ValuesFile: TypeAlias = Annotated[str, _text(r"^[a-z0-9-]+\.values\.yaml$", "the name of a values file")]
Reason: TypeAlias = Annotated[str, Field(min_length=10)]
Code: TypeAlias = Annotated[str, _text(r"^KB[0-9]{3}$", "a finding's code such as KB204")]

ArchName = Literal["x86_64", "aarch64", "s390x", "ppc64le"]
FamilyName = Literal["go", "rust"]
_SAME_ARCHES: tuple[ArchName, ...] = ("x86_64", "aarch64", "s390x", "ppc64le")
if tuple(Arch) != _SAME_ARCHES:  # pragma: no cover - a type checker wants the names spelt out
    msg = "the manifests' architectures are not those of core.arch"
    raise ImportError(msg)

ConfigKey = Literal[
    "kernel",
    "image",
    "initrd",
    "firmware",
    "firmware_volume",
    "shared_fs",
    "virtio_fs_daemon",
    "default_memory_mib",
    "overhead_memory_mib",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class _Versioned(_Strict):
    version: Literal[1]


# ---- shim-components.json ----------------------------------------------------------------------------------------------------


class ComponentMapDocument(_Strict):
    """shim-components.json, upstream's own format: shim, architecture, components."""

    comment: list[str] = Field(default=[], alias="_comment")
    shims: dict[Name, dict[ArchName, list[Name]]]


# ---- shims.toml --------------------------------------------------------------------------------------------------------------


class ConfigValues(_Strict):
    """Values of a shim's configuration file; a key that is absent here says nothing about the file."""

    hypervisor_path: FilePath | None = None
    kernel: FilePath | None = None
    image: FilePath | None = None
    initrd: FilePath | None = None
    installed_initrd: FilePath | None = None
    firmware: FilePath | None = None
    firmware_volume: FilePath | None = None
    shared_fs: Literal["virtio-fs", "virtio-fs-nydus", "inline-virtio-fs", "virtio-9p", "none"] | None = None
    virtio_fs_daemon: FilePath | None = None
    default_memory_mib: Annotated[int, Field(ge=1, le=1 << 24)] | None = None
    overhead_memory_mib: Annotated[int, Field(ge=1, le=1 << 24)] | None = None
    confidential_guest: bool | None = None
    guest_extension_images: list[FilePath] | None = None
    sandbox_cgroup_only: bool | None = None
    static_sandbox_resource_mgmt: bool | None = None
    emptydir_mode: Literal["shared-fs", "block-plain", "block-encrypted"] | None = None
    enable_annotations: list[Annotated[str, _text(r"^[a-z0-9_.*\[\]()|]+$", "an annotation's name or pattern")]] | None = None
    unset: list[ConfigKey] = []


class ConfigLayer(ConfigValues):
    """Values for every architecture, then those of one."""

    on: dict[ArchName, ConfigValues] = {}


class ChartLayer(_Strict):
    """What the chart's values say about a shim."""

    enabled: Literal["follow-disableAll", "always", "never"] | None = None
    snapshotter: Literal["", "nydus", "erofs", "devmapper", "overlayfs", "blockfile", "btrfs", "zfs", "native"] | None = None
    force_guest_pull: bool | None = None
    crio_guest_pull: bool | None = None
    allowed_hypervisor_annotations: list[Text] | None = None
    arches: list[ArchName] | None = None


class FamilyEntry(_Strict):
    """A runtime family."""

    component: Name
    shim_binary: FilePath
    config_directory: FilePath
    template_directory: FilePath
    config: ConfigLayer = Field(default_factory=ConfigLayer)


class HypervisorEntry(_Strict):
    """A hypervisor, named as in ``[hypervisor.<name>]``."""

    binary: Annotated[str, _text(r"^(\{emulator\}|[a-z0-9-]+)$", "a program's name, or {emulator}")] | None = None
    built_in: bool = False


class GroupEntry(_Strict):
    """Settings that several shims share."""

    config: ConfigLayer = Field(default_factory=ConfigLayer)
    chart: ChartLayer = Field(default_factory=ChartLayer)


class ShimEntry(_Strict):
    """One shim."""

    family: FamilyName
    hypervisor: Name
    qemu_artifact: Name | None = None
    status: Literal["active", "alias", "unfinished"] = "active"
    alias_of: Name | None = None
    tee: Literal["snp", "tdx", "se"] | None = None
    gpu: bool = False
    coco_dev: bool = False
    configured_on: list[ArchName] = []
    profiles: list[ValuesFile] = []
    groups: list[Name] = []
    config: ConfigLayer = Field(default_factory=ConfigLayer)
    chart: ChartLayer = Field(default_factory=ChartLayer)


class ShimsDocument(_Versioned):
    """shims.toml: hypervisor, runtime family, configuration and chart values of every shim."""

    profiles: list[ValuesFile] = []
    config: ConfigLayer
    chart: ChartLayer
    families: dict[FamilyName, FamilyEntry]
    hypervisors: dict[Name, HypervisorEntry]
    groups: dict[Name, GroupEntry] = {}
    shims: dict[Name, ShimEntry]


# ---- components.toml ---------------------------------------------------------------------------------------------------------


KindName = Literal["shipped", "flag", "intermediate", "tool", "unused"]
Method = Literal[
    "source",
    "source (release zip of sources)",
    "release binary",
    "oci-pull",
    "osbuilder",
    "genprotimg",
    "copied script",
]


class ComponentLayer(_Strict):
    """Facts of a component, or of a group of them."""

    kind: KindName | None = None
    flag: Name | None = None
    optional: Reason | None = None
    licence: Text | None = None
    method: Method | None = None
    method_on: dict[ArchName, Method] | None = None
    features_on: dict[ArchName, list[Name]] | None = None
    guest: bool | None = None
    arches: list[ArchName] | None = None
    job: Name | None = None
    removal_job: Name | None = None
    removal_job_on: dict[ArchName, Name] | None = None
    untrusted_variant: bool | None = None
    suffix: Annotated[str, _text(r"^-[a-z0-9]([a-z0-9 -]*[a-z0-9])?$", "a hyphen and a name")] | None = None
    variant: Name | None = None
    measured: bool | None = None
    not_measured_on: list[ArchName] | None = None
    configurations: FamilyName | None = None
    outputs: list[Text] | None = None
    paths: list[FilePath] | None = None
    paths_on: dict[ArchName, list[FilePath]] | None = None
    release: dict[FamilyName, list[ArchName]] | None = None
    build_depends_on: list[Name] | None = None
    scripts: list[Text] | None = None
    version_keys: list[Text] | None = None
    version_keys_absent: list[Text] | None = None
    cache_key: list[Text] | None = None
    builder_key: list[Text] | None = None
    sidecars: list[Text] | None = None
    extra_cache_tag: Text | None = None
    input_integrity: Text | None = None
    build_flags: Text | None = None
    size_budget_bytes: Annotated[int, Field(ge=1)] | None = None
    notes: Text | None = None


class ComponentEntry(ComponentLayer):
    """One component."""

    groups: list[Name] = []


class ReleaseEntry(_Strict):
    """Release bundles."""

    version: Annotated[str, _text(r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$", "a version such as 4.1.0")] | None = None
    bundles: dict[FamilyName, Name]
    adds: list[FilePath]
    size_limit_bytes: Annotated[int, Field(ge=1)]
    size_budget_bytes: Annotated[int, Field(ge=1)] | None = None


class CacheEntry(_Strict):
    """What ends every cache key."""

    always: list[Text]


class ComponentsDocument(_Versioned):
    """components.toml: kind, outputs, licence and upstream's build facts of every component."""

    release: ReleaseEntry
    cache: CacheEntry
    lists: dict[Name, list[Text]] = {}
    parts: dict[Name, Name] = {}
    groups: dict[Name, ComponentLayer] = {}
    components: dict[Name, ComponentEntry]


# ---- runtimeclasses.toml -----------------------------------------------------------------------------------------------------


class OverheadEntry(_Strict):
    """What a pod costs beside its containers."""

    memory: Memory
    cpu: Cpu
    source: Name


class SourceEntry(_Strict):
    """Where overheads come from."""

    source: Text
    date: datetime.date
    method: Literal["declared", "measured"]


class TeeEntry(_Strict):
    """How capable nodes are recognised, and the extended resource that a guest takes one of."""

    label: LabelName
    resource: LabelName | None = None


class ClassEntry(_Strict):
    """The RuntimeClass of one shim."""

    overhead: OverheadEntry
    node_selector: dict[LabelName, str] = {}
    tee_label: Literal["with-discovery", "always"] = "with-discovery"


class DefaultClassEntry(_Strict):
    """The class that stands for the default shim."""

    name: Name
    created_by_default: bool


class RuntimeClassesDocument(_Versioned):
    """runtimeclasses.toml: overhead and scheduling of every RuntimeClass."""

    name_prefix: Annotated[str, _text(r"^[a-z0-9][a-z0-9-]*-$", "a name that ends in a hyphen")]
    variants: list[Name]
    node_selector: dict[LabelName, str]
    default_class: DefaultClassEntry
    sources: dict[Name, SourceEntry]
    tees: dict[Literal["snp", "tdx", "se"], TeeEntry]
    classes: dict[Name, ClassEntry]


# ---- upstream.toml -----------------------------------------------------------------------------------------------------------


class FlagEntry(_Strict):
    """A flag of the installer that brings components in."""

    arches: list[ArchName]


class UpstreamDocument(_Versioned):
    """upstream.toml: names that exist in upstream's tree."""

    commit: Annotated[str, _text(r"^[0-9a-f]{40}$", "a commit's forty hexadecimal digits")]
    date: datetime.date
    folders: list[FilePath]
    key_parts: list[Text]
    jobs: dict[Name, list[KindName]]
    flags: dict[Name, FlagEntry]
    versions: dict[Annotated[str, _text(r"^[a-z][a-z0-9_.-]*$", "a key of versions.yaml")], list[Name]]


# ---- arches/<arch>.toml and ignores.toml -------------------------------------------------------------------------------------


class ArchDocument(_Versioned):
    """arches/<arch>.toml: what is installed on an architecture when nobody chooses."""

    default_shim: Name
    default_shims: Annotated[list[Name], Field(min_length=1)]
    left_out: dict[Name, Reason] = {}


class IgnoreEntry(_Strict):
    """One accepted finding: its code, the document, one or two names that its message has in quotes, and why it is accepted."""

    code: Code
    path: Text
    about: Text
    also_about: Text | None = None
    reason: Reason


class IgnoresDocument(_Versioned):
    """ignores.toml: findings that are known and accepted, each with the reason."""

    ignore: list[IgnoreEntry] = []
