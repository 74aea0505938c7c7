"""Everything that decides what a component will be, before anything is made: rules, pins, toolchains, the catalog's facts.

A rule key covers the recipe, the pinned sources, the toolchain, the rule keys of the components it needs, the facts of the
catalog that the recipe sees, and the version of the code that carries it out. It never covers notes, hosts, dates or where things
lie. Keys are computed without network and before anything is fetched. Must not know: stores, how recipes are carried out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.actionrules import ActionRecipe, SourceKind
from kata_bundle.build.deblock import load_deb_lock
from kata_bundle.build.debsource import SourceLock, load_source_lock
from kata_bundle.build.facts import facts_of
from kata_bundle.build.fetchlock import load_fetch_lock
from kata_bundle.build.fixture import FIXTURE_VERSION
from kata_bundle.build.kinds import ACTION_VERSION
from kata_bundle.build.resolve import Lack, Resolver
from kata_bundle.build.rulefile import load_rules, rules_folder
from kata_bundle.build.rules import DebRecipe, FixtureRecipe, Kind
from kata_bundle.build.toolchain import (
    FILE_NAME as TOOLCHAINS_FILE,
)
from kata_bundle.build.toolchain import (
    load_toolchain_lock,
    load_toolchains,
    require_toolchain,
    toolchain_ingredients,
    toolchain_key,
)
from kata_bundle.build.verity import measured_images
from kata_bundle.core import canonical
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.digest import digest_bytes, digest_stream
from kata_bundle.core.errors import BuildError, LockError, UsageError
from kata_bundle.core.profile import Profile
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kata_bundle.build.actionrules import Source
    from kata_bundle.build.deblock import DebLock, DebPin
    from kata_bundle.build.debsource import SourcePin
    from kata_bundle.build.rules import Recipe, Rule
    from kata_bundle.build.toolchain import PinnedToolchain, Toolchain
    from kata_bundle.build.verity import MeasuredImage
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.tree import Entry
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["Rulebook", "Target", "key_of", "local_tree"]

_FORMAT: Final = "kata-bundle rule key 1"
_REPACK_VERSION: Final = "repack-1"
"""Version of the code behind kind ``deb``: raised by whoever changes what it makes of equal inputs."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Target:
    """A component on an architecture."""

    arch: Arch
    component: str

    @property
    def text(self) -> str:
        """The target for people."""
        return f"{self.component} ({self.arch.value})"


class Rulebook:
    """Rules with all that they refer to. Values that were computed are kept: use one for one command."""

    def __init__(
        self,
        catalog: Catalog,
        rules: Mapping[str, Rule],
        lock: DebLock,
        *,
        toolchains: Mapping[str, Toolchain] | None = None,
        pinned: Mapping[tuple[str, Arch], PinnedToolchain] | None = None,
        source_lock: SourceLock | None = None,
        folder: Path | None = None,
        profile: Profile = Profile.PACKAGES,
        imported: Collection[Target] = (),
        resolver: Resolver | None = None,
    ) -> None:
        self.catalog = catalog
        self.rules = rules
        self.lock = lock
        self.source_lock = source_lock or SourceLock()
        self.folder = folder
        """Where files beside rules lie."""
        self.profile = profile
        """Which recipe is used where a component has several."""
        self.imported = frozenset(imported)
        """What is taken from elsewhere instead of being made."""
        self.resolver = resolver or Resolver({}, {})
        self._resolved: dict[Target, tuple[Recipe, tuple[Lack, ...]]] = {}
        self._toolchains = toolchains or {}
        self._pinned = pinned or {}
        self._ingredients: dict[Target, Mapping[str, str]] = {}
        self._keys: dict[Target, Digest] = {}
        self._toolchain_keys: dict[tuple[str, Arch], Digest] = {}
        self._on_the_way: list[Target] = []

    @classmethod
    def load(
        cls,
        catalog: Catalog,
        folder: Path | None = None,
        *,
        profile: Profile = Profile.PACKAGES,
        imported: Collection[Target] = (),
        given: Mapping[str, Path] | None = None,
    ) -> Rulebook:
        """Return the rulebook of ``folder`` (default: the shipped rules) with the recipes of ``profile``.

        ``given`` are the folders of sources of kind ``checkout``.

        Raises :class:`FindingsError` for rules, :class:`LockError` for locks that have errors.
        """
        return cls(
            catalog,
            load_rules(folder),
            load_deb_lock(folder),
            toolchains=load_toolchains(folder),
            pinned=load_toolchain_lock(folder),
            source_lock=load_source_lock(folder),
            folder=rules_folder(folder),
            profile=profile,
            imported=imported,
            resolver=Resolver(given or {}, load_fetch_lock(rules_folder(folder))),
        )

    def rule(self, component: str) -> Rule:
        """Return the component's rule; raise :class:`BuildError` when there is none."""
        rule = self.rules.get(component)
        if rule is None:
            msg = f'component "{component}" has no build rule'
            hint = f"write buildrules/{component}.toml, or import a prebuilt tarball: kata-bundle import DIR"
            raise BuildError(msg, hint=did_you_mean(component, self.rules) or hint)
        return rule

    def recipe(self, target: Target) -> Recipe:
        """Return the recipe; raise :class:`BuildError` when there is none for the component or its architecture."""
        return self._resolve(target)[0]

    def lacks(self, target: Target) -> tuple[Lack, ...]:
        """Return everything that the recipe needs and that is neither given nor pinned, parents aside."""
        recipe, lacks = self._resolve(target)
        if not isinstance(recipe, ActionRecipe):
            return lacks
        found = list(lacks)
        for name, arch in ((recipe.toolchain, recipe.machine), *((one.tree, target.arch) for one in recipe.sources if one.tree)):
            try:
                self.package_tree(name, arch)
            except LockError as error:
                found.append(Lack(what=f'pins of toolchain "{name}" for {arch} machines', remedy=error.hint or str(error)))
            except BuildError:
                remedy = f"state it in {TOOLCHAINS_FILE}, then kata-bundle lock toolchains {name}"
                found.append(Lack(what=f'toolchain "{name}" for {arch} machines', remedy=remedy))
        for source in recipe.sources:
            for name in source.packages:
                if self.lock.find(source.suite, name, target.arch) is None:
                    remedy = "kata-bundle lock debian --refresh-missing"
                    found.append(Lack(what=f"a pin of package {name} ({target.arch.debian_name})", remedy=remedy))
        return tuple(dict.fromkeys(found))

    def lacking(self, targets: Iterable[Target]) -> Mapping[Lack, tuple[Target, ...]]:
        """Return all that ``targets``, and what they need, lack, each with the components that lack it."""
        found: dict[Lack, list[Target]] = {}
        seen: set[Target] = set()
        ways = list(targets)
        for target in ways:  # which grows on the way
            if target in seen or target in self.imported:
                continue
            seen.add(target)
            for lack in self.lacks(target):
                found.setdefault(lack, []).append(target)
            ways += self.parents(target)
        return {lack: tuple(names) for lack, names in found.items()}

    def require_all(self, targets: Iterable[Target]) -> None:
        """Raise :class:`LockError` that names all that ``targets``, and what they need, lack."""
        lacking = self.lacking(targets)
        if lacking:
            said = "\n  ".join(f"{lack.text}   (for {', '.join(t.text for t in names)})" for lack, names in lacking.items())
            msg = f"not all that is needed is here:\n  {said}"
            raise LockError(msg, hint="kata-bundle build --list shows what each component needs")

    def _resolve(self, target: Target) -> tuple[Recipe, tuple[Lack, ...]]:
        known = self._resolved.get(target)
        if known is None:
            recipe = self.rule(target.component).recipe(target.arch, self.profile)
            known = self.resolver.resolve(recipe, target.arch) if isinstance(recipe, ActionRecipe) else (recipe, ())
            self._resolved[target] = known
        return known

    def pins(self, target: Target) -> tuple[DebPin, ...]:
        """Return the pins that the recipe needs, toolchain aside, in its order; raise :class:`LockError` when one is missing."""
        recipe = self.recipe(target)
        if isinstance(recipe, DebRecipe):
            return tuple(self.lock.require(recipe.suite, package.name, target.arch) for package in recipe.packages)
        if isinstance(recipe, ActionRecipe):
            return tuple(pin for source in recipe.sources for pin in self.source_pins(source, target.arch))
        return ()

    def source_pins(self, source: Source, arch: Arch) -> tuple[DebPin, ...]:
        """Return the pins of a source; raise :class:`LockError` when one is missing."""
        return tuple(self.lock.require(source.suite, name, arch) for name in source.packages)

    def source_packages(self, target: Target) -> tuple[SourcePin, ...]:
        """Return the pins of the recipe's source packages, in its order; raise :class:`LockError` when one is missing."""
        recipe = self.recipe(target)
        sources = recipe.sources if isinstance(recipe, ActionRecipe) else ()
        return tuple(self.source_lock.require(one.suite, one.source_package) for one in sources if one.source_package)

    def parents(self, target: Target) -> tuple[Target, ...]:
        """Return the components that the recipe needs, on the same architecture: for configurations, the images they name."""
        recipe = self.recipe(target)
        if isinstance(recipe, ActionRecipe):
            needs = recipe.needs
        else:
            needs = tuple(sorted({image.component for image in self.images(target).values()}))
        return tuple(Target(arch=target.arch, component=name) for name in needs)

    def images(self, target: Target) -> Mapping[str, MeasuredImage]:
        """Return the images, by path, whose hashes a stand-in's configurations state: the measured ones that a rule really makes.

        A stand-in of an image cannot be checked by any kernel, and of an imported one only its tarball knows the hash.
        """
        if not isinstance(self.recipe(target), FixtureRecipe):
            return {}
        found = measured_images(self.catalog, facts_of(self.catalog, target.component, target.arch))
        return {
            path: image for path, image in found.items() if self._is_made(Target(arch=target.arch, component=image.component))
        }

    def _is_made(self, target: Target) -> bool:
        rule = self.rules.get(target.component)
        recipe = None if rule is None else rule.find(target.arch, self.profile)
        return recipe is not None and recipe.kind.is_real and target not in self.imported

    def toolchain(self, recipe: ActionRecipe) -> tuple[Toolchain, PinnedToolchain]:
        """Return what the recipe is carried out in; raises like :func:`require_toolchain`."""
        return self.package_tree(recipe.toolchain, recipe.machine)

    def package_tree(self, name: str, arch: Arch) -> tuple[Toolchain, PinnedToolchain]:
        """Return a pinned tree of packages; raises like :func:`require_toolchain`."""
        return require_toolchain(self._toolchains, self._pinned, name, arch)

    def version(self, target: Target) -> str:
        """Return the version of what the recipe makes."""
        recipe = self.recipe(target)
        if isinstance(recipe, FixtureRecipe):
            return FIXTURE_VERSION
        wanted = recipe.version_of if isinstance(recipe, DebRecipe) else recipe.version
        name = wanted.removeprefix("package:")
        if isinstance(recipe, ActionRecipe) and name == wanted:
            return wanted
        trees = [source.tree for source in recipe.sources if source.tree] if isinstance(recipe, ActionRecipe) else []
        pins: list[DebPin | SourcePin] = [
            *self.pins(target),
            *self.source_packages(target),
            *(pin for tree in trees for pin in self.package_tree(tree, target.arch)[1].pins),
        ]
        found = next((pin.version for pin in pins if pin.name == name), None)
        if found is None:
            msg = f'component "{target.component}": version_of names "{name}", which is no package of its sources'
            raise BuildError(msg)
        return found

    def files(self, component: str, source: Source) -> Path:
        """Return where a source of kind ``files`` lies; raise :class:`BuildError` when it is not there."""
        folder = self.folder
        path = None if folder is None else folder / component / source.path
        if path is None or not path.exists():
            msg = f'component "{component}": its rule uses "{source.path}", which does not lie in buildrules/{component}'
            raise BuildError(msg)
        return path

    def ingredients(self, target: Target) -> Mapping[str, str]:
        """Return the parts of the rule key by name, each as canonical JSON text, so that two keys can be explained by comparison.

        Raises :class:`UsageError` for a component that the architecture does not have, :class:`BuildError` without a recipe or
        when rules need each other, :class:`LockError` without a pin.
        """
        known = self._ingredients.get(target)
        if known is not None:
            return known
        if target in self._on_the_way:
            circle = [*self._on_the_way[self._on_the_way.index(target) :], target]
            msg = f"rules need each other: {' → '.join(one.component for one in circle)}"
            raise BuildError(msg, hint='take one out of the "needs" of these rules')
        self._on_the_way.append(target)
        try:
            parts = self._parts(target)
        finally:
            self._on_the_way.pop()
        texts = {name: canonical.dumps(value).decode("ascii").rstrip("\n") for name, value in parts.items()}
        self._ingredients[target] = texts
        return texts

    def key(self, target: Target) -> Digest:
        """Return the rule key; raises as :meth:`ingredients` does."""
        known = self._keys.get(target)
        if known is None:
            known = self._keys[target] = key_of(self.ingredients(target))
        return known

    def known_ingredients(self, key: Digest) -> Mapping[str, str] | None:
        """Return what ``key`` was computed from, when it is the key of a target or toolchain that was asked for here."""
        for parts in self._ingredients.values():
            if key_of(parts) == key:
                return parts
        for name, toolchain in self._toolchains.items():
            for arch in toolchain.arches:
                pinned = self._pinned.get((name, arch))
                if pinned is not None and toolchain_key(toolchain, pinned) == key:
                    return toolchain_ingredients(toolchain, pinned)
        return None

    def targets_of(self, component: str, arches: Iterable[Arch]) -> tuple[Target, ...]:
        """Return the component on those of ``arches`` that it has a recipe for; raise :class:`UsageError` when there is none."""
        recipes = self.rule(component).recipes_of(self.profile)
        wanted = tuple(arches)
        targets = tuple(Target(arch=arch, component=component) for arch in wanted if arch in recipes)
        if not targets:
            msg = f'component "{component}" has no rule for {", ".join(wanted)}'
            raise UsageError(msg, hint=f"it has one for {', '.join(recipes)}")
        return targets

    def order(self, targets: Iterable[Target]) -> tuple[Target, ...]:
        """Return ``targets`` and everything that they need, what is needed first; otherwise in the given order."""
        result: dict[Target, None] = {}

        def add(target: Target) -> None:
            if target in result:
                return
            self.ingredients(target)  # finds circles
            for parent in self.parents(target):
                add(parent)
            result[target] = None

        wanted = tuple(targets)
        self.require_all(wanted)
        for target in wanted:
            add(target)
        return tuple(result)

    def _toolchain_key(self, name: str, arch: Arch) -> Digest:
        known = self._toolchain_keys.get((name, arch))
        if known is None:
            known = self._toolchain_keys[name, arch] = toolchain_key(*self.package_tree(name, arch))
        return known

    def _parts(self, target: Target) -> dict[str, Any]:
        recipe, lacks = self._resolve(target)
        if lacks:
            self.require_all([target])
        parts: dict[str, Any] = {
            "facts": facts_of(self.catalog, target.component, target.arch).to_dict(),
            "recipe": recipe.to_key(),
            "pins": [pin.to_key() for pin in self.pins(target)],
        }
        parents = {parent.component: self.key(parent) for parent in self.parents(target)}
        if parents:
            parts["parents"] = parents
        if isinstance(recipe, ActionRecipe):
            parts["toolchain"] = self._toolchain_key(recipe.toolchain, recipe.machine)
            parts["version"] = self.version(target)
            parts["program"] = ACTION_VERSION
            if pins := self.source_packages(target):
                parts["source_packages"] = [pin.to_key() for pin in pins]
            trees = {s.name: self._toolchain_key(s.tree, target.arch) for s in recipe.sources if s.tree}
            if trees:
                parts["trees"] = trees
            if given := {s.name: self.resolver.tree(s.checkout).digest for s in recipe.sources if s.checkout}:
                parts["checkouts"] = given
            files = [source for source in recipe.sources if source.kind is SourceKind.FILES]
            if files:
                parts["files"] = {
                    source.name: {
                        path: _entry_key(entry)
                        for path, entry in local_tree(self.files(target.component, source)).entries.items()
                    }
                    for source in files
                }
        else:
            parts["program"] = FIXTURE_VERSION if recipe.kind is Kind.FIXTURE else _REPACK_VERSION
        return parts


def key_of(parts: Mapping[str, str]) -> Digest:
    """Return the key of what :meth:`Rulebook.ingredients` returned."""
    return digest_bytes(canonical.dumps({"format": _FORMAT, **parts}))


def local_tree(path: Path) -> Tree:
    """Return a file or folder beside a rule as a tree: content, links and the executable bit; a file has its own name in it."""
    entries: dict[RelPath, Entry] = {}
    found: Sequence[tuple[str, Path]]
    if path.is_dir() and not path.is_symlink():
        found = [
            (os.path.relpath(os.path.join(folder, name), path), Path(folder, name))
            for folder, folders, names in os.walk(path)
            for name in (*names, *(one for one in folders if os.path.islink(os.path.join(folder, one))))
        ]
    else:
        found = [(path.name, path)]
    for name, item in found:
        if item.is_symlink():
            entries[RelPath(name)] = Symlink(target=os.readlink(item))
            continue
        with item.open("rb") as stream:
            digest, size = digest_stream(iter(partial(stream.read, 1 << 20), b""))
        entries[RelPath(name)] = File(mode=0o755 if os.access(item, os.X_OK) else 0o644, size_bytes=size, digest=digest)
    return Tree.of(entries)


def _entry_key(entry: Entry) -> str:
    match entry:
        case File(mode=mode, digest=digest):
            return f"{mode:04o} {digest}"
        case Symlink(target=target):
            return f"link {target}"
        case _:
            return "folder"
