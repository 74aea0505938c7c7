"""What is read from an upstream tree: frozen values, each with the place it was read from.

Knows: the nouns of the tree (shim, component, listing, matrix, template). Must not know: files, formats, rules. ``None`` and
empty tuples mean that the tree does not have the thing; what it has in a shape that was not understood is a finding of the
reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.catalog import RuntimeFamily
    from kata_bundle.manifest.upstream.schema import Schema

__all__ = [
    "Allowlist",
    "Artefact",
    "Cell",
    "Chart",
    "ChartShim",
    "Class",
    "Configuration",
    "Expression",
    "Installer",
    "Item",
    "Listing",
    "LocalBuild",
    "Matrix",
    "Overhead",
    "Role",
    "RuntimeBuild",
    "Script",
    "Setting",
    "Template",
    "UpstreamTree",
    "Verity",
    "VersionRead",
    "Versions",
]


class Item(NamedTuple):
    """A name and where it stands."""

    name: str
    span: Span


class Role(StrEnum):
    """What a list of shims is for."""

    REGISTRY = "registry"
    """Meant to hold every shim: what is not in it does not exist for its reader."""
    SELECTION = "selection"
    """Meant to hold what is used when nobody chooses; several of them ought to agree."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A list of names. ``what`` names it in sentences: "the installer's list of shims"."""

    what: str
    span: Span
    items: tuple[Item, ...]
    role: Role = Role.REGISTRY

    def names(self) -> tuple[str, ...]:
        """Return the names in order, repeated ones as often as they stand there."""
        return tuple(item.name for item in self.items)

    def find(self, name: str) -> Item | None:
        """Return the first item called ``name``."""
        return next((item for item in self.items if item.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A row of the component map."""

    shim: str
    arch: str
    span: Span
    components: tuple[Item, ...]

    def names(self) -> tuple[str, ...]:
        """Return the components in order."""
        return tuple(item.name for item in self.components)


@dataclass(frozen=True, kw_only=True, slots=True)
class Installer:
    """What the installer has built in. ``known`` is absent in the shell installer, which accepted any name."""

    path: str
    rust: Listing | None
    """Shims that it treats as runtime-rs."""
    defaults: Mapping[Arch, Listing]
    default: Mapping[Arch, Item]
    hypervisor: Mapping[str, Item] | None
    """Shim to configuration table; QEMU shims are not in it. ``None`` when it has no such function."""
    qemu_artifact: Mapping[str, Item] | None
    """Shim to QEMU component, for those that it speaks of."""
    qemu_default: str | None
    """QEMU component of the others, ``None`` when it leaves their QEMU as it is."""
    binary: Mapping[str, Item] | None
    """Shim to the hypervisor's program."""
    flagged: tuple[Item, ...]
    """Components that a flag adds to what the cells list."""
    uses_component_map: bool
    merges_layers: bool = False
    """Whether it has the erofs snapshotter merge the layers of an image unless it is told not to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartShim:
    """A shim in a values file. ``enabled`` is ``None`` when it follows ``disableAll``."""

    name: str
    span: Span
    enabled: bool | None
    arches: tuple[Item, ...] | None
    """As written, in Go's vocabulary; ``None`` when the file does not say."""
    settings: Mapping[str, Setting]
    """Everything else, by dotted key."""


class Setting(NamedTuple):
    """A value and where it stands."""

    value: object
    span: Span


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """The chart's values, or a profile laid over them."""

    path: str
    span: Span
    shims: Mapping[str, ChartShim]
    disable_all: bool
    default_shim: Mapping[str, Item]
    """By architecture, as written."""
    snapshotters: tuple[str, ...] = ()
    """Snapshotters that this file has set up."""
    merge_mode: str | None = None
    """What it tells the installer about merging layers for erofs."""

    def enabled(self, shim: ChartShim) -> bool:
        """Return whether ``shim`` is enabled in this file."""
        return not self.disable_all if shim.enabled is None else shim.enabled


@dataclass(frozen=True, kw_only=True, slots=True)
class Overhead:
    """A RuntimeClass overhead as declared for a shim."""

    shim: str
    span: Span
    memory: Item | None
    cpu: Item | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Class:
    """A RuntimeClass object in a file of its own, or in the file of all."""

    path: str
    name: Item
    handler: Item | None
    memory: Item | None
    cpu: Item | None
    combined: bool
    text: str
    """Its data in one canonical spelling, for comparing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowlist:
    """Components of a release bundle on an architecture."""

    bundle: str
    arch: Arch
    listing: Listing


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """Values of one key of a job's matrix. ``arch`` is set for jobs that build for one architecture."""

    path: str
    job: str
    key: str
    arch: Arch | None
    items: tuple[Item, ...]
    builds: bool
    """Whether the job makes what the items name (and not only deletes or downloads it)."""
    not_released: frozenset[str] = frozenset()
    """Items that are left out when a release is made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefact:
    """An architecture in the name of an artefact, in a workflow that builds for ``arch`` by its file name."""

    arch: str
    named: Item


@dataclass(frozen=True, kw_only=True, slots=True)
class Expression:
    """A name in an expression of a job, and the names of its kind that the job has."""

    path: str
    job: str
    kind: str
    """``matrix``, ``inputs``, ``needs``, or what is none of these."""
    used: Item
    known: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalBuild:
    """How components are built by hand: make targets and the script behind them."""

    targets: Mapping[str, Item]
    """Component to its ``<component>-tarball`` target, where that calls the script."""
    other_targets: frozenset[str]
    """Every other target, pattern rules included."""
    references: tuple[Item, ...]
    """Every target named as a prerequisite or in a list."""
    made_of: Mapping[str, frozenset[str]]
    """Component to the components that its target needs."""
    lists: Mapping[Arch, Listing]
    """Components that "all" makes."""
    handlers: Listing | None
    """Components that the script can build."""
    mentioned: tuple[Listing, ...]
    """Other lists of components in the script: its help, its defaults."""
    cached: Mapping[str, Item]
    """Component to the name under which its result is looked for in the cache, where the script writes that name out."""
    undefined: tuple[Item, ...] = ()
    """Functions that install something and are called in the script, but nowhere defined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A configuration template of one runtime."""

    family: RuntimeFamily
    name: str
    """File name without ``.in``."""
    path: str
    lines: tuple[str, ...]
    variables: Mapping[str, tuple[int, ...]]
    """``@VARIABLE@`` to the lines that hold it, comments left out."""
    commented: Mapping[str, tuple[int, ...]]
    """The same for comments."""

    @property
    def shim(self) -> str:
        """The shim whose configuration this is, by name."""
        return self.name.removeprefix("configuration-").removesuffix(".toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """A template with its variables replaced for one architecture, as it is installed."""

    template: Template
    arch: Arch
    data: Mapping[str, object] | None
    """``None`` when it is not TOML."""
    problem: tuple[int, str] | None
    """Why it is not TOML, with its line."""
    unset: Mapping[str, tuple[int, ...]]
    """Variables that the makefile replaces by nothing because it never sets them."""
    unknown: Mapping[str, tuple[str, ...]]
    """Variables whose value is not known, with the reasons."""
    offered: frozenset[str] = frozenset()
    """Values that comments offer for settings, with their variables replaced."""

    def get(self, *keys: str) -> object:
        """Return a value of the configuration, ``None`` when it is not set."""
        value: object = self.data
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    @property
    def hypervisors(self) -> tuple[str, ...]:
        """Tables below ``hypervisor``."""
        table = self.get("hypervisor")
        return tuple(table) if isinstance(table, dict) else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeBuild:
    """What a runtime's makefile makes of the templates."""

    family: RuntimeFamily
    makefile: str
    templates: Mapping[str, Template]
    """By file name."""
    generated: Mapping[Arch, Mapping[str, Item]]
    """Per architecture the configurations that are installed, with the line that adds each."""
    replaced: frozenset[str]
    """Variables that are replaced in templates."""
    configurations: Mapping[tuple[str, Arch], Configuration]
    defined: Mapping[str, Span]
    """Variable to the last line that sets it, on any architecture."""
    stopped: Mapping[Arch, Item]
    """Architectures on which make stops with an error before it generates anything, with that error."""
    schema: Schema | None = None
    """The settings that the runtime knows, ``None`` when its sources do not tell."""

    def iter_configurations(self, name: str) -> Iterator[Configuration]:
        """Yield the configurations of template ``name`` over all architectures that install it."""
        for (other, _), configuration in self.configurations.items():
            if other == name:
                yield configuration


@dataclass(frozen=True, kw_only=True, slots=True)
class Verity:
    """Root hashes of measured images: make variable to the variant whose hash it gets, by runtime."""

    variables: Mapping[RuntimeFamily, Mapping[str, Item]]
    variants: Listing | None
    """Variants whose hashes are kept when the shim is built, ``None`` when the list was not found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A packaging script: the names in it."""

    path: str
    reads: Mapping[str, Item]
    """Variables that are read, each with its first place."""
    used: frozenset[str]
    """The same, and those that are read without a dollar sign."""
    sets: Mapping[str, Item]
    """Variables that are assigned, each with its first place."""
    shared: frozenset[str]
    """Assigned variables that other programs may read."""
    taken: frozenset[str]
    """Variables that loops, declarations and commands set."""
    bare: tuple[Item, ...]
    """Words in braces without a dollar sign."""
    images: tuple[tuple[Item, str], ...]
    """Component whose variable names the image to build in, and the one whose image is taken otherwise."""
    paths: tuple[Item, ...]
    """Paths of the tree, from its top."""
    calls: tuple[Item, ...]
    """Words of several parts that stand where a command does, each with its first place."""
    refused: tuple[Item, ...] = ()
    """Pieces of lines that no shell takes."""


class VersionRead(NamedTuple):
    """A key of the version file that a script reads. Parts that only the script knows are ``*``."""

    key: tuple[str, ...]
    span: Span
    required: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Versions:
    """The version file: its mappings and values by key path, and who reads them."""

    path: str
    values: Mapping[tuple[str, ...], Span]
    groups: Mapping[tuple[str, ...], Span]
    reads: tuple[VersionRead, ...]
    has_tests: bool
    """Whether the tests are in the tree. Until the summer of 2023 they were elsewhere, and read the file too."""
    words: frozenset[str] = frozenset()
    """Names of groups that are words of scripts by themselves."""
    texts: Mapping[tuple[str, ...], Item] = field(default_factory=dict)
    """Values that are texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamTree:
    """All facts of one tree."""

    cells: Mapping[tuple[str, str], Cell] | None
    """The component map; ``None`` before it existed."""
    shim_lists: tuple[Listing, ...]
    installer: Installer | None
    chart: Chart | None
    profiles: tuple[Chart, ...]
    overheads: Mapping[str, Overhead]
    repeated_overheads: tuple[Item, ...]
    classes: tuple[Class, ...]
    class_names: tuple[Item, ...]
    """RuntimeClasses that examples use."""
    allowlists: tuple[Allowlist, ...]
    matrices: tuple[Matrix, ...]
    local_build: LocalBuild | None
    runtimes: Mapping[RuntimeFamily, RuntimeBuild]
    versions: Versions | None
    verity: Verity | None
    artefacts: tuple[Artefact, ...] = ()
    expressions: tuple[Expression, ...] = ()
    lone_values: tuple[Item, ...] = ()
    """Keys of build matrices that have a single value and no list."""
    scripts: tuple[Script, ...] = ()
    given_names: frozenset[str] = frozenset()
    """Words in capitals of files that start scripts."""
    functions: frozenset[str] = frozenset()
    """Functions that scripts define."""
    names: frozenset[str] = frozenset()
    """Every file of the tree."""

    def registries(self) -> tuple[Listing, ...]:
        """Return the lists that are meant to hold every shim."""
        return tuple(listing for listing in self.shim_lists if listing.role is Role.REGISTRY)

    def shims(self) -> frozenset[str]:
        """Return every name that some list of shims has."""
        return frozenset(item.name for listing in self.shim_lists for item in listing.items)

    def family(self, shim: str) -> RuntimeFamily | None:
        """Return the runtime that the installer starts for ``shim``; without a list of its own, the one that has its template."""
        from kata_bundle.manifest.catalog import RuntimeFamily

        if self.installer is not None and self.installer.rust is not None:
            return RuntimeFamily.RUST if self.installer.rust.find(shim) else RuntimeFamily.GO
        name = f"configuration-{shim}.toml"
        having = [family for family, build in self.runtimes.items() if name in build.templates]
        return having[0] if len(having) == 1 else (RuntimeFamily.GO if RuntimeFamily.GO in having else None)

    def built_on(self, arch: Arch) -> frozenset[str]:
        """Return the components that the pipeline builds on ``arch``; empty when it has no matrix for it."""
        return frozenset(item.name for matrix in self.matrices if matrix.builds and matrix.arch is arch for item in matrix.items)
