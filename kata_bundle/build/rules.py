"""Build rules as values: what a component is made from on each architecture.

A rule has one recipe per architecture, and further ones marked with a profile. Paths are relative to the root of a package
(``source``) or to ``opt/kata`` (``target``).
Knows: the vocabulary of rules. Must not know: files, packages, the catalog.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kata_bundle.build.actionrules import ActionRecipe
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import BuildError
from kata_bundle.core.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.core.relpath import RelPath

__all__ = ["DebRecipe", "FileMapping", "FixtureRecipe", "Kind", "Link", "Package", "Recipe", "Rule", "Transform"]


class Kind(StrEnum):
    """How a component is made; also the origin that its record states."""

    DEB = "deb"
    """Repacked from pinned distribution packages."""
    FIXTURE = "fixture"
    """A stand-in of the right shape that does not run."""
    MAKE = "make"
    """Built with make from sources."""
    CARGO = "cargo"
    """Built with cargo from sources, its crates among them."""
    GO = "go"
    """Built with go from sources, their modules among them."""
    SCRIPT = "script"
    """Made by steps of the rule's own."""
    IMAGE = "image"
    """A file system image or archive of a tree."""

    @property
    def is_real(self) -> bool:
        """Whether the result does what its name says."""
        return self is not Kind.FIXTURE


class Transform(StrEnum):
    """What is done to a file's content on its way into the component."""

    VMLINUX_FROM_BZIMAGE = "vmlinux-from-bzimage"
    """Take the uncompressed kernel out of an x86 bzImage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A distribution package by the name that rules use; of a metapackage, the package it depends on is what is meant."""

    name: str
    is_meta: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FileMapping:
    """Which members of a package become which paths of the component.

    ``source`` is a path, a path with one ``*`` for a part of a name (``target`` then has one ``*`` that takes what it stood
    for), or a directory with a trailing ``/`` (``target`` too), which takes everything below it.
    """

    package: str
    source: str
    target: str
    transform: Transform | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A relative symbolic link. A ``target`` with one ``*`` in its last part stands for the only path that it matches."""

    at: RelPath
    target: str
    is_elsewhere: bool = False
    """Whether another component provides what the link points to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DebRecipe:
    """Repack files of pinned packages of one suite. The component's version is that of package ``version_of``."""

    suite: str
    packages: tuple[Package, ...]
    version_of: str
    files: tuple[FileMapping, ...]
    links: tuple[Link, ...]
    notes: str

    @property
    def kind(self) -> Kind:
        """Always :attr:`Kind.DEB`."""
        return Kind.DEB

    def to_key(self) -> dict[str, Any]:
        """Return everything that can change the result, as JSON data; ``notes`` cannot."""
        return {
            "kind": self.kind,
            "version_of": self.version_of,
            "files": [[f.package, f.source, f.target, f.transform] for f in self.files],
            "links": _links(self.links),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class FixtureRecipe:
    """Make a stand-in for every declared output; the outputs in ``links`` become links to a stand-in."""

    links: tuple[Link, ...]
    notes: str

    @property
    def kind(self) -> Kind:
        """Always :attr:`Kind.FIXTURE`."""
        return Kind.FIXTURE

    def to_key(self) -> dict[str, Any]:
        """Return everything that can change the result, as JSON data; ``notes`` cannot."""
        return {"kind": self.kind, "links": _links(self.links)}


Recipe = DebRecipe | FixtureRecipe | ActionRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How one component is made, per architecture and profile."""

    component: str
    recipes: Mapping[Arch, Recipe]
    """Without a mark: what every profile uses that has no recipe of its own."""
    marked: Mapping[tuple[Arch, Profile], Recipe] = field(default_factory=dict)

    def find(self, arch: Arch, profile: Profile) -> Recipe | None:
        """Return the recipe that ``profile`` uses for ``arch``: its own, else the unmarked one; ``None`` without either."""
        return self.marked.get((arch, profile)) or self.recipes.get(arch)

    def recipe(self, arch: Arch, profile: Profile) -> Recipe:
        """Return what :meth:`find` does; raise :class:`BuildError` when the rule has no such recipe."""
        found = self.find(arch, profile)
        if found is None:
            profiles = [p for a, p in self.marked if a is arch]
            elsewhere = [one.value for one in Arch if self.find(one, profile) is not None]
            msg = f'the rule of "{self.component}" has no recipe for {arch} in profile {profile}'
            hint = f"--profile {' or '.join(profiles)} has one" if profiles else None
            raise BuildError(msg, hint=hint or f"it has recipes for {', '.join(elsewhere) or 'no architecture'}")
        return found

    def recipes_of(self, profile: Profile) -> Mapping[Arch, Recipe]:
        """Return the recipe that ``profile`` uses for each architecture that has one."""
        found = {arch: self.find(arch, profile) for arch in Arch}
        return {arch: recipe for arch, recipe in found.items() if recipe is not None}

    def every_recipe(self) -> Iterator[tuple[Arch, Profile | None, Recipe]]:
        """Yield all recipes, by architecture, the unmarked one (``None``) first."""
        for arch in Arch:
            if arch in self.recipes:
                yield arch, None, self.recipes[arch]
            yield from ((arch, profile, self.marked[arch, profile]) for profile in Profile if (arch, profile) in self.marked)


def _links(links: tuple[Link, ...]) -> list[list[str | bool]]:
    return [[link.at, link.target, link.is_elsewhere] for link in links]
