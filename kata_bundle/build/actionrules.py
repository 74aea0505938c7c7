"""Rules whose work is an action: sources and parents in, steps in a builder tree, files below ``opt/kata`` out.

Every kind of them becomes the same value, :class:`ActionRecipe`; the kinds differ in the steps that they bring along
(``build.kinds``). Must not know: files of the rules' folder, stores, sandboxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kata_bundle.build.rules import Kind, Link
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest

__all__ = ["ActionRecipe", "ImageFormat", "ImagePlan", "Source", "SourceKind", "WorkFolder"]


class SourceKind(StrEnum):
    """Where a source's bytes come from."""

    FETCH = "fetch"
    """Files of the network, by digest."""
    PACKAGE = "package"
    """Files of a pinned distribution package."""
    DEBIAN = "debian-source"
    """A pinned source package of the distribution, the distribution's patches with it."""
    TREE = "tree"
    """A pinned tree of distribution packages, as toolchains are."""
    OCI = "oci"
    """An image of a registry, by digest, its layers laid over each other."""
    CHECKOUT = "checkout"
    """A folder of this machine that the run is given, by content."""
    FILES = "files"
    """Files that lie beside the rule."""


class WorkFolder(StrEnum):
    """Where the steps begin."""

    COPY = "copy"
    """A writable copy of the first source."""
    EMPTY = "empty"
    """A new folder."""


class ImageFormat(StrEnum):
    """File systems and archives that kind ``image`` makes."""

    EXT4 = "ext4"
    EROFS = "erofs"
    SQUASHFS = "squashfs"
    CPIO = "cpio"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One input of an action that is no component; it is seen at ``src/<name>``."""

    name: str
    kind: SourceKind
    urls: tuple[str, ...] = ()
    digest: Digest | None = None
    """Of the file that the URLs serve."""
    size_bytes: int | None = None
    suite: str = ""
    packages: tuple[str, ...] = ()
    """Packages of ``suite``, unpacked over each other."""
    source_package: str = ""
    """Source package of ``suite``."""
    is_patched: bool = True
    """Whether the source package's patches are applied to the copy that the steps work in."""
    entry: str = ""
    """Of ``fetch`` without a digest: the entry of the recipe's ``versions`` that addresses are made from."""
    image: str = ""
    """Of ``oci``: registry/repository@digest."""
    checkout: str = ""
    """Of ``checkout``: the name under which the folder is given."""
    tree: str = ""
    """Name of the package tree, of the component's own architecture."""
    path: str = ""
    """Of ``files``: file or folder beside the rule. Of the others: the archive or folder inside that is meant."""
    is_unpacked: bool = True
    """Whether an archive's content is seen instead of the archive."""
    strip: int = 1
    """Leading names taken off an archive's paths."""

    def to_key(self) -> dict[str, Any]:
        """Return what can change the result, as JSON data: where bytes come from cannot."""
        source: dict[str, Any] = (
            {"source_package": self.source_package, "patches": self.is_patched} if self.source_package else {}
        )
        if self.kind is SourceKind.OCI:
            source["image"] = self.image.rpartition("@")[2]
        return source | {
            "name": self.name,
            "kind": self.kind.value,
            "digest": self.digest,
            "packages": list(self.packages),
            "tree": self.tree,
            "path": self.path,
            "unpack": self.is_unpacked,
            "strip": self.strip,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlan:
    """A file system image or archive made of one tree."""

    format: ImageFormat
    content: str
    """Name of the source or component whose tree it holds, as a path below the work folder: ``src/<name>``, ``deps/<name>``."""
    target: str
    """Path below ``opt/kata``."""
    size_mib: int | None = None
    """Of ``ext4``: its size; the others are as large as they need to be."""
    label: str = ""
    verity: str = ""
    """Where below ``opt/kata`` the root hash goes of the dm-verity tree that is appended; nothing is appended when empty."""

    def to_key(self) -> dict[str, Any]:
        """Return everything that can change the result, as JSON data."""
        return {
            "format": self.format.value,
            "content": self.content,
            "target": self.target,
            "size_mib": self.size_mib,
            "label": self.label,
            "verity": self.verity,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionRecipe:
    """How a component is made by running programs."""

    kind: Kind
    toolchain: str
    machine: Arch
    """What the programs run on; the component is for another architecture when the toolchain can make that."""
    version: str
    """The component's version; ``package:<name>`` takes that of a package source."""
    sources: tuple[Source, ...]
    needs: tuple[str, ...]
    """Components that are seen at ``deps/<name>``."""
    steps: tuple[tuple[str, ...], ...]
    """Argument vectors, run in order; ``{version} {arch} {out} {dest} {src} {deps} {jobs} {tmp}`` are expanded."""
    env: tuple[tuple[str, str], ...]
    work: WorkFolder
    image: ImagePlan | None
    links: tuple[Link, ...]
    notes: str
    versions: str = ""
    """Name of the checkout whose ``versions.yaml`` entries are looked up in."""
    timeout_s: int = 3600
    memory_mib: int | None = None

    def to_key(self) -> dict[str, Any]:
        """Return everything that can change the result, as JSON data; ``notes`` and limits cannot."""
        return {
            "kind": self.kind.value,
            "machine": self.machine.value,
            "version": self.version,
            "sources": [source.to_key() for source in self.sources],
            "needs": list(self.needs),
            "steps": [list(step) for step in self.steps],
            "env": [list(pair) for pair in self.env],
            "work": self.work.value,
            "image": None if self.image is None else self.image.to_key(),
            "links": [[link.at, link.target, link.is_elsewhere] for link in self.links],
        }
