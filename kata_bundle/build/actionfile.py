"""Reads recipes whose work is an action: the part of ``buildrules/*.toml`` beside ``deb`` and ``fixture``.

Must not know: how a recipe is carried out.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from kata_bundle.build.actionrules import ActionRecipe, ImageFormat, ImagePlan, Source, SourceKind, WorkFolder
from kata_bundle.build.kinds import PLACES
from kata_bundle.build.rules import Kind
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import parse_digest
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.relpath import parse_relpath

if TYPE_CHECKING:
    from kata_bundle.build.rules import Link

__all__ = ["ActionDocument", "LinkDocument", "ProfileName", "action_recipe"]

_PLACE: Final = re.compile(r"\{([a-z]+)\}")
_KINDS: Final = {
    "fetch": SourceKind.FETCH,
    "packages": SourceKind.PACKAGE,
    "debian_source": SourceKind.DEBIAN,
    "tree": SourceKind.TREE,
    "image": SourceKind.OCI,
    "checkout": SourceKind.CHECKOUT,
}
PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+$", max_length=200)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.+-]*$", max_length=100)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4095)]
ProfileName = Literal["source", "upstream"]
"""What recipes are marked with; profile ``packages`` is what has no mark."""
Url = Annotated[str, StringConstraints(pattern=r"^(https?://|\{url\}/)[^\s]+$", max_length=4095)]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}$", max_length=500)]
EntryKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=200)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourceDocument(_Document):
    """An input that is no component: files of the network, of distribution packages, or beside the rule."""

    name: Name
    fetch: list[Url] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")] | None = None
    packages: list[PackageName] | None = None
    debian_source: PackageName | None = None
    patches: bool = True
    entry: EntryKey | None = None
    image: Image | None = None
    checkout: Name | None = None
    tree: Name | None = None
    files: Text | None = None
    path: Text | None = None
    unpack: bool = True
    strip: Annotated[int, Field(ge=0, le=8)] = 1


class ImageDocument(_Document):
    """The image that the steps end with."""

    format: Literal["ext4", "erofs", "squashfs", "cpio"]
    content: Annotated[str, StringConstraints(pattern=r"^(src|deps|tmp)/[a-z0-9][a-z0-9_.+/-]*$", max_length=200)]
    target: Text = Field(alias="to")
    size_mib: Annotated[int, Field(ge=1, le=65536)] | None = None
    label: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]*$", max_length=16)] = ""
    verity: Text | None = None


class ActionDocument(_Document):
    """Made by running programs of a toolchain."""

    kind: Literal["make", "cargo", "go", "script", "image"]
    arches: list[Literal["x86_64", "aarch64", "s390x", "ppc64le"]] = Field(min_length=1)
    notes: Text
    profile: ProfileName | None = None
    links: list[LinkDocument] = []
    toolchain: Name
    machine: Literal["x86_64", "aarch64", "s390x", "ppc64le"] = "x86_64"
    version: Text | None = None
    version_of: PackageName | None = None
    version_from: EntryKey | None = None
    versions: Name | None = None
    sources: list[SourceDocument] = []
    needs: list[Name] = []
    steps: list[Annotated[list[Text], Field(min_length=1)]] = []
    env: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    work: Literal["copy", "empty"] | None = None
    image: ImageDocument | None = None
    timeout_s: Annotated[int, Field(ge=1, le=86400)] = 3600
    memory_mib: Annotated[int, Field(ge=1)] | None = None


class LinkDocument(_Document):
    """A symbolic link that the component has beside its files."""

    at: Text
    target: Text = Field(alias="to")
    elsewhere: bool = False


ActionDocument.model_rebuild()


def action_recipe(document: ActionDocument, links: tuple[Link, ...], where: str, found: list[str]) -> ActionRecipe:
    """Return the recipe of a document, what is wrong with it added to ``found``."""
    sources = tuple(_source(one, f"{where}.sources.{i}", found) for i, one in enumerate(document.sources))
    names = [source.name for source in sources]
    found += [f'{where}.sources: "{name}" is there twice' for name, n in Counter(names).items() if n > 1]
    found += [f'{where}.needs: "{name}" is there twice' for name, n in Counter(document.needs).items() if n > 1]
    packages = {package for source in sources for package in (*source.packages, source.source_package) if package}
    if [document.version, document.version_of, document.version_from].count(None) != 2:
        found.append(f"{where}: state one of version, version_of and version_from")
    elif document.version_of not in {None, *packages} and not any(source.tree for source in sources):
        found.append(f'{where}.version_of: "{document.version_of}" is not a package of the sources')
    if document.versions is None and (document.version_from or any(source.entry for source in sources)):
        found.append(f"{where}.versions: name the checkout whose versions.yaml is meant")
    kind = Kind(document.kind)
    image = None if document.image is None else _image(document.image, f"{where}.image", found)
    if (kind is Kind.IMAGE) != (image is not None):
        found.append(f"{where}: kind image and the table image belong together")
    if kind is Kind.SCRIPT and not document.steps:
        found.append(f"{where}.steps: a rule of kind script has steps")
    for number, step in enumerate(document.steps):
        for word in step:
            found += [
                f'{where}.steps.{number}: unknown place "{{{place}}}", known are {", ".join(PLACES)}'
                for place in _PLACE.findall(word)
                if place not in PLACES
            ]
    work = document.work or ("copy" if kind in {Kind.MAKE, Kind.CARGO, Kind.GO} else "empty")
    if work == "copy" and not sources:
        found.append(f"{where}.work: there is no source to copy")
    for number, source in enumerate(sources):
        if source.source_package and source.is_patched and (number > 0 or work != "copy"):
            found.append(
                f"{where}.sources.{number}: patches are applied where the steps begin in a copy of the first source; elsewhere "
                "state patches = false"
            )
    return ActionRecipe(
        kind=kind,
        toolchain=document.toolchain,
        machine=Arch(document.machine),
        version=f"versions:{document.version_from}"
        if document.version_from
        else document.version or f"package:{document.version_of}",
        sources=sources,
        needs=tuple(sorted(document.needs)),
        steps=tuple(tuple(step) for step in document.steps),
        env=tuple(sorted(document.env.items())),
        work=WorkFolder(work),
        image=image,
        links=links,
        notes=document.notes,
        versions=document.versions or "",
        timeout_s=document.timeout_s,
        memory_mib=document.memory_mib,
    )


def _source(document: SourceDocument, where: str, found: list[str]) -> Source:
    kinds = ("fetch", "packages", "debian_source", "tree", "image", "checkout", "files")
    given = [name for name in kinds if getattr(document, name) is not None]
    if len(given) != 1:
        found.append(f"{where}: state one of {', '.join(kinds[:-1])} and files, found {', '.join(given) or 'none'}")
    kind = _KINDS.get(given[0] if given else "", SourceKind.FILES)
    of_fetch = ("sha256", "size") if document.sha256 or document.size else ()  # else pinned in the lock
    wanted = {SourceKind.FETCH: of_fetch, SourceKind.PACKAGE: ("suite",), SourceKind.DEBIAN: ("suite",)}.get(kind, ())
    found += [
        f"{where}.{name}: {'is missing' if name in wanted else f'does not belong to {kind}'}"
        for name in ("sha256", "size", "suite")
        if (getattr(document, name) is not None) != (name in wanted)
    ]
    if document.entry is not None and (kind is not SourceKind.FETCH or document.sha256):
        found.append(f"{where}.entry: belongs to fetch without sha256")
    for url in document.fetch or ():
        if document.entry is None and not url.startswith("http"):
            found.append(f"{where}.fetch: {{url}} is that of an entry, and there is none")
    for text in (document.files, document.path):
        if text is not None:
            try:
                parse_relpath(text)
            except ArchiveError as error:
                found.append(f"{where}: {error}")
    return Source(
        name=document.name,
        kind=kind,
        urls=tuple(document.fetch or ()),
        digest=None if document.sha256 is None else parse_digest(f"sha256:{document.sha256}"),
        size_bytes=document.size,
        suite=document.suite or "",
        packages=tuple(sorted(document.packages or ())),
        source_package=document.debian_source or "",
        is_patched=document.patches,
        entry=document.entry or "",
        image=document.image or "",
        checkout=document.checkout or "",
        tree=document.tree or "",
        path=document.files or document.path or "",
        is_unpacked=document.unpack,
        strip=document.strip,
    )


def _image(document: ImageDocument, where: str, found: list[str]) -> ImagePlan:
    for key, text in (("to", document.target), ("verity", document.verity)):
        if text is not None:
            try:
                parse_relpath(text)
            except ArchiveError as error:
                found.append(f"{where}.{key}: {error}")
    if (document.format == "ext4") != (document.size_mib is not None):
        found.append(f"{where}.size_mib: belongs to ext4, and to that alone")
    if document.label and document.format in {"squashfs", "cpio"}:
        found.append(f"{where}.label: {document.format} has none")
    return ImagePlan(
        format=ImageFormat(document.format),
        content=document.content,
        target=document.target,
        size_mib=document.size_mib,
        label=document.label,
        verity=document.verity or "",
    )
