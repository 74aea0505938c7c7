"""From a recipe as it is written to one whose sources are content: folders that were given, entries of versions, pins.

What is lacking is collected and not raised, so that one look says all of it. Must not know: networks, stores, how recipes are
carried out.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kata_bundle.build.actionrules import SourceKind
from kata_bundle.build.checkouts import checkout_tree
from kata_bundle.build.fetchlock import COMMAND
from kata_bundle.build.versionsfile import load_versions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kata_bundle.build.actionrules import ActionRecipe, Source
    from kata_bundle.build.fetchlock import FetchPin
    from kata_bundle.build.versionsfile import Versions
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.tree import Tree

__all__ = ["UNKNOWN_VERSION", "Lack", "Resolver", "file_name"]

UNKNOWN_VERSION: Final = "-"
"""The version of a recipe whose version nobody can tell yet."""
PREFIX: Final = "versions:"
"""What stands before an entry's key in a recipe's version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lack:
    """Something that a recipe needs and this run was not given: what it is, and what brings it."""

    what: str
    remedy: str

    @property
    def text(self) -> str:
        """Both on one line."""
        return f"{self.what}: {self.remedy}"


class Resolver:
    """Resolves recipes with the folders that were given and the pins that there are."""

    def __init__(self, given: Mapping[str, Path], pins: Mapping[tuple[str, str], FetchPin]) -> None:
        self._given = given
        self._pins = pins
        self._trees: dict[str, Tree] = {}
        self._versions: dict[str, Versions] = {}

    def folder(self, name: str) -> Path | None:
        """Return the folder given for a checkout, ``None`` without one."""
        return self._given.get(name)

    def tree(self, name: str) -> Tree:
        """Return the content of the folder given for ``name``; raises like :func:`checkout_tree`, and KeyError without one."""
        if name not in self._trees:
            self._trees[name] = checkout_tree(self._given[name], name=name)
        return self._trees[name]

    def resolve(self, recipe: ActionRecipe, arch: Arch) -> tuple[ActionRecipe, tuple[Lack, ...]]:
        """Return the recipe with addresses, digests and version filled in as far as they are known, and what lacks."""
        lacks: dict[Lack, None] = {}
        names = [source.checkout for source in recipe.sources if source.kind is SourceKind.CHECKOUT]
        for name in dict.fromkeys([*names, *([recipe.versions] if recipe.versions else [])]):
            if name not in self._given:
                lacks[Lack(what=f'source "{name}"', remedy=f"--source {name}=DIR")] = None
        versions = self._versions_of(recipe.versions)
        version = recipe.version
        if version.startswith(PREFIX):
            version = UNKNOWN_VERSION if versions is None else _plain(versions.text(version.removeprefix(PREFIX)))
        sources = tuple(self._source(source, versions, arch, lacks) for source in recipe.sources)
        return replace(recipe, sources=sources, version=version), tuple(lacks)

    def _versions_of(self, name: str) -> Versions | None:
        if name not in self._given:
            return None
        if name not in self._versions:
            self._versions[name] = load_versions(self._given[name])
        return self._versions[name]

    def _source(self, source: Source, versions: Versions | None, arch: Arch, lacks: dict[Lack, None]) -> Source:
        if source.kind is not SourceKind.FETCH or source.digest is not None:
            return source
        if source.entry:
            if versions is None:
                lacks[Lack(what=f"a pin of {source.entry}", remedy=f"{COMMAND}, with the sources given")] = None
                return source
            url, version = versions.entry(source.entry)
            places = {
                "url": url.rstrip("/").removesuffix(".git"),
                "version": version,
                "number": _plain(version),
                "arch": arch.value,
            }
            source = replace(source, urls=tuple(_filled(one, places) for one in source.urls))
        name = file_name(source)
        pin = self._pins.get((source.entry or source.name, name))
        if pin is None:
            lacks[Lack(what=f"a pin of {name} ({source.entry or source.name})", remedy=COMMAND)] = None
            return source
        return replace(source, digest=pin.digest, size_bytes=pin.size_bytes)


def file_name(source: Source) -> str:
    """Return the name of the file that a source fetches, as its first address has it."""
    return posixpath.basename(urlsplit(source.urls[0]).path) or "file"


def _plain(version: str) -> str:
    """Return a version without the letter that tags begin with."""
    return version[1:] if version[:1] == "v" and version[1:2].isdigit() else version


def _filled(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text
