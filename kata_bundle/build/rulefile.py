"""Reads ``buildrules/*.toml`` into rules; the file name is the component's name.

Every file is read before anything is reported, so that one run shows all that is wrong. Must not know: how a recipe is carried
out.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from kata_bundle.build.actionfile import ActionDocument, LinkDocument, ProfileName, action_recipe
from kata_bundle.build.ruleplaces import UNKNOWN_KEY, placed, refused
from kata_bundle.build.rules import DebRecipe, FileMapping, FixtureRecipe, Kind, Link, Package, Recipe, Rule, Transform
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import ArchiveError, FindingsError
from kata_bundle.core.profile import Profile
from kata_bundle.core.relpath import RelPath, parse_relpath, resolve_link
from kata_bundle.core.resources import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FOLDER", "LOCK_SUFFIX", "RuleDocument", "load_rules", "rules_folder"]

FOLDER = "buildrules"
LOCK_SUFFIX = ".lock.toml"

PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+$", max_length=200)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4095)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FilesDocument(_Document):
    """What is taken from a package: one file, the files of one pattern, or everything below a directory."""

    package: PackageName
    source: Text = Field(alias="from")
    target: Text = Field(alias="to")
    transform: Literal["vmlinux-from-bzimage"] | None = None


class RecipeDocument(_Document):
    """How the component is made on some architectures."""

    arches: list[Literal["x86_64", "aarch64", "s390x", "ppc64le"]] = Field(min_length=1)
    notes: Text
    profile: ProfileName | None = None
    links: list[LinkDocument] = []


class DebDocument(RecipeDocument):
    """Repacked from pinned distribution packages."""

    kind: Literal["deb"]
    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
    packages: list[PackageName] = []
    metapackages: list[PackageName] = []
    version_of: PackageName
    files: list[FilesDocument] = Field(min_length=1)


class FixtureDocument(RecipeDocument):
    """A stand-in of the right shape that does not run."""

    kind: Literal["fixture"]


class RuleDocument(_Document):
    """How one component is made; the file's name is the component's."""

    version: int = Field(ge=1, le=1)  # not Literal[1], which takes true for 1
    recipes: list[Annotated[DebDocument | FixtureDocument | ActionDocument, Field(discriminator="kind")]] = Field(min_length=1)


def rules_folder(folder: Path | None = None) -> Path:
    """Return ``folder``, or the folder of the shipped rules."""
    return shipped(FOLDER) if folder is None else folder


def load_rules(folder: Path | None = None) -> Mapping[str, Rule]:
    """Return the rules of ``folder`` (default: the shipped ones) by component, sorted.

    Raises :class:`FindingsError` whose message lists every problem of every file with its key path.
    """
    problems: list[str] = []
    rules: dict[str, Rule] = {}
    for path in sorted(rules_folder(folder).glob("*.toml"), key=lambda path: path.stem):
        if path.name.endswith(LOCK_SUFFIX):
            continue
        found = _read(path, problems)
        if found is not None:
            rules[path.stem] = found
    if problems:
        msg = "the build rules have errors:\n  " + "\n  ".join(problems)
        raise FindingsError(msg)
    return rules


def _read(path: Path, problems: list[str]) -> Rule | None:
    text = ""
    try:
        text = path.read_text("utf-8")
        document = RuleDocument.model_validate(tomllib.loads(text))
    except UnicodeDecodeError as error:
        problems.append(f"{path}: not valid TOML: {error}")
        return None
    except tomllib.TOMLDecodeError as error:
        problems.append(refused(path, text, error))
        return None
    except ValidationError as error:
        problems += placed(path, text, [f"{_key(e['loc'])}: {_sentence(e)}" for e in error.errors(include_url=False)])
        return None
    found: list[str] = []
    recipes: dict[Arch, Recipe] = {}
    marked: dict[tuple[Arch, Profile], Recipe] = {}
    for number, recipe in enumerate(document.recipes):
        where = f"recipes.{number}"
        for name in recipe.arches:
            arch = Arch(name)
            profile = None if recipe.profile is None else Profile(recipe.profile)
            value = _recipe(recipe, arch, where, found)
            if profile is None:
                if arch in recipes:
                    found.append(f"{where}.arches: {arch} has a recipe already")
                recipes[arch] = value
            else:
                if (arch, profile) in marked:
                    found.append(f"{where}.arches: {arch} has a recipe of profile {profile} already")
                marked[arch, profile] = value
    # Recipes for several architectures repeat their problems; say each once.
    if found:
        problems += placed(path, text, dict.fromkeys(found))
        return None
    return Rule(component=path.stem, recipes={arch: recipes[arch] for arch in Arch if arch in recipes}, marked=marked)


def _recipe(document: DebDocument | FixtureDocument | ActionDocument, arch: Arch, where: str, found: list[str]) -> Recipe:
    links = tuple(_link(link, arch, f"{where}.links.{i}", found) for i, link in enumerate(document.links))
    found += [f"{where}.links: {at} is a link twice" for at, n in Counter(link.at for link in links).items() if n > 1]
    if isinstance(document, FixtureDocument):
        return FixtureRecipe(links=links, notes=document.notes)
    if isinstance(document, ActionDocument):
        return action_recipe(document, links, where, found)
    packages = sorted(
        [*(Package(name=n) for n in document.packages), *(Package(name=n, is_meta=True) for n in document.metapackages)],
        key=lambda package: package.name,
    )
    names = [package.name for package in packages]
    found += [f'{where}: package "{name}" is listed twice' for name, n in Counter(names).items() if n > 1]
    if document.version_of not in names:
        found.append(f'{where}.version_of: "{document.version_of}" is not one of the packages')
    files = tuple(_mapping(entry, arch, names, f"{where}.files.{i}", found) for i, entry in enumerate(document.files))
    unused = sorted(set(names) - {entry.package for entry in files})
    found += [f'{where}: nothing is taken from package "{name}"' for name in unused]
    return DebRecipe(
        suite=document.suite,
        packages=tuple(packages),
        version_of=document.version_of,
        files=files,
        links=links,
        notes=document.notes,
    )


def _mapping(entry: FilesDocument, arch: Arch, names: list[str], where: str, found: list[str]) -> FileMapping:
    if entry.package not in names:
        found.append(f'{where}.package: "{entry.package}" is not one of the packages')
    source, target = _expand(entry.source, arch, f"{where}.from", found), _expand(entry.target, arch, f"{where}.to", found)
    if source.endswith("/") != target.endswith("/"):
        found.append(f"{where}: either both or none of from and to end with a slash")
    if source.count("*") != target.count("*"):
        found.append(f'{where}: either both or none of from and to have a "*"')
    for text, key in ((source, "from"), (target, "to")):
        _check_path(text, f"{where}.{key}", found)
        if text.count("*") > (0 if text.endswith("/") else 1):
            found.append(f'{where}.{key}: one "*" is allowed, and none in a directory, found "{text}"')
    return FileMapping(
        package=entry.package,
        source=source,
        target=target,
        transform=None if entry.transform is None else Transform(entry.transform),
    )


def _link(entry: LinkDocument, arch: Arch, where: str, found: list[str]) -> Link:
    at, target = _expand(entry.at, arch, f"{where}.at", found), _expand(entry.target, arch, f"{where}.to", found)
    _check_path(at, f"{where}.at", found)
    if "*" in at or "*" in target.rpartition("/")[0] or target.count("*") > 1:
        found.append(f'{where}: one "*" in the last part of to is allowed')
    try:
        resolve_link(RelPath(at), target)
    except ArchiveError as error:
        found.append(f"{where}.to: {error}")
    return Link(at=RelPath(at), target=target, is_elsewhere=entry.elsewhere)


def _check_path(text: str, where: str, found: list[str]) -> None:
    try:
        if parse_relpath(text) != text.removesuffix("/"):
            found.append(f'{where}: "{text}" is not in its shortest form')
    except ArchiveError as error:
        found.append(f"{where}: {error}")


def _expand(text: str, arch: Arch, where: str, found: list[str]) -> str:
    """Put the architecture's name in; it is the only placeholder that paths of these kinds may have."""
    expanded = text.replace("{arch}", arch.value)
    if "{" in expanded or "}" in expanded:
        found.append(f'{where}: unknown placeholder in "{text}", only {{arch}} is known here')
    return expanded


def _key(location: tuple[str | int, ...]) -> str:
    # pydantic puts the tag of a discriminated union between the index and the key; the file has no such level.
    return ".".join(str(part) for i, part in enumerate(location) if not (i == 2 and part in set(Kind))) or "document"


def _sentence(error: object) -> str:
    kind, message = error["type"], error["msg"]  # type: ignore[index]
    if kind == "extra_forbidden":
        return UNKNOWN_KEY
    if kind == "missing":
        return "key is missing"
    return f"{message[:1].lower()}{message[1:]}"
