"""Rules about how components are made and where they go: build rules, parts, release bundles, cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.profile import DEFAULT_PROFILE
from kata_bundle.manifest.rules.compare import deviants
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath

__all__ = [
    "asset_limits",
    "components_have_build_rules",
    "flags_reach_components",
    "kinds_are_released",
    "listed_components_are_released",
    "loose_intermediates",
    "made_parents",
    "released_components_are_listed",
    "root_hashes",
    "rules_fit_architectures",
    "rules_have_components",
    "shipped_components_are_listed",
]

_PACKED = ("shipped", "flag")
_ASSET_LIMIT = 2 << 30


@rule("KB240", "a component without a build rule", acceptable=True)
def components_have_build_rules(manifests: Manifests) -> Iterator[Problem]:
    """A component that reaches nodes has no file in "buildrules".

    It can be imported as a prebuilt tarball, but not made. Intermediate results, tools and unused components need no rule.

    Repair: write buildrules/<component>.toml, or correct the component's name.

    False alarm: a component that is only ever imported: accept it in ignores.toml.
    """
    rules = manifests.build_rules
    for name in manifests.components.model.components:
        if manifests.facts(name).values.get("kind") in _PACKED and name not in rules:
            hint = did_you_mean(name, rules)
            message = f'component "{name}" has no build rule'
            document = manifests.components.document
            yield Problem(document=document, key=("components", name), message=message, hint=hint, of_key=True)


@rule("KB241", "a build rule without a component", acceptable=True)
def rules_have_components(manifests: Manifests) -> Iterator[Problem]:
    """A file in "buildrules" is named after no component of components.toml that can be packed.

    The name of the file is the name of the component, of its tarball and of its entry in caches.

    Repair: rename the file, or add the component.

    False alarm: a rule that is written ahead of its component: accept it in ignores.toml.
    """
    components = manifests.components.model.components
    for name, document in manifests.build_rules.items():
        if name not in components:
            message = f'"{name}" is not a component of components.toml'
            yield Problem(document=document, key=(), message=message, hint=did_you_mean(name, components))


def _recipe_arches(document: Document) -> Iterator[tuple[KeyPath, str, bool]]:
    """Yield the place of each architecture of each recipe, its name, and whether the recipe is used without ``--profile``."""
    recipes: Any = document.data.get("recipes") if isinstance(document.data, dict) else None
    for i, recipe in enumerate(recipes if isinstance(recipes, list) else ()):
        arches = recipe.get("arches") if isinstance(recipe, dict) else None
        for j, arch in enumerate(arches if isinstance(arches, list) else ()):
            yield ("recipes", i, "arches", j), str(arch), str(recipe.get("profile", DEFAULT_PROFILE)) == DEFAULT_PROFILE


@rule("KB242", "a build rule for other architectures than its component", acceptable=True)
def rules_fit_architectures(manifests: Manifests) -> Iterator[Problem]:
    """A component's "arches" and the architectures of its build rule's recipes differ.

    Repair: add the recipe or the architecture that is missing, or remove the one too many.

    False alarm: an architecture on which the component is only ever imported: accept it in ignores.toml.
    """
    for name, document in manifests.build_rules.items():
        if name not in manifests.components.model.components:
            continue
        facts = manifests.facts(name)
        arches = facts.values.get("arches")
        if arches is None or facts.values.get("kind") not in _PACKED:
            continue
        made = {arch: key for key, arch, _ in _recipe_arches(document)}
        usual = {arch for _, arch, is_usual in _recipe_arches(document) if is_usual}
        for i, arch in enumerate(arches):
            if arch not in usual:
                message = f'component "{name}" has no recipe for {arch}'
                rule_place: KeyPath = ("recipes",)
                related = ((document, rule_place),)
                key: KeyPath = (*facts.origin["arches"], i)
                yield Problem(document=manifests.components.document, key=key, message=message, related=related)
        for arch, key in made.items():
            if arch not in arches:
                message = f'the rule of "{name}" has a recipe for {arch}, where the component is not built'
                related = ((manifests.components.document, facts.origin["arches"]),)
                yield Problem(document=document, key=key, message=message, related=related)


def _users(manifests: Manifests) -> dict[tuple[str, str], dict[str, str]]:
    """Return, by component and architecture, the runtime families of the cells that list it, each with one such shim."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    shims = manifests.shims.model.shims
    for cell in manifests.cells():
        for name in cell.components:
            found.setdefault((name, cell.arch.value), {}).setdefault(shims[cell.shim].family, cell.shim)
    return found


def _facts_with_place(manifests: Manifests, name: str, key: str) -> KeyPath:
    return manifests.facts(name).origin.get(key, ("components", name))


@rule("KB243", "a shipped component that is neither listed nor released", acceptable=True)
def shipped_components_are_listed(manifests: Manifests) -> Iterator[Problem]:
    """A component is built on an architecture on which no cell lists it and no release bundle carries it.

    It is built for nobody, or a cell forgot it.

    Repair: list it in a cell, remove the architecture, or give the component another kind.

    False alarm: a component that is built there for a shim to come: accept it in ignores.toml.
    """
    users = _users(manifests)
    for name in manifests.components.model.components:
        values = manifests.facts(name).values
        if values.get("kind") != "shipped":
            continue
        released = {arch for on in (values.get("release") or {}).values() for arch in on}
        for i, arch in enumerate(values.get("arches") or ()):
            if (name, arch) not in users and arch not in released:
                message = f'component "{name}" is built on {arch}, where no cell lists it and no release carries it'
                key = (*_facts_with_place(manifests, name, "arches"), i)
                yield Problem(document=manifests.components.document, key=key, message=message)


@rule("KB244", "a component of a cell that its family's release lacks", acceptable=True)
def listed_components_are_released(manifests: Manifests) -> Iterator[Problem]:
    """A cell lists a component that is not in the release bundle of the shim's runtime family on that architecture.

    Who installs from the release bundle cannot use the shim.

    Repair: add the architecture to the component's "release" for the family.

    False alarm: a component that is delivered in another way only: accept it in ignores.toml.
    """
    for (name, arch), families in _users(manifests).items():
        values = manifests.facts(name).values
        if values.get("kind") not in _PACKED:
            continue
        release = values.get("release") or {}
        for family, shim in families.items():
            if arch not in release.get(family, ()):
                origin = _facts_with_place(manifests, name, "release")
                key = (*origin, family) if family in release else origin
                message = f'"{name}" is not in the {family} release on {arch}, where "{shim}" needs it'
                related = ((manifests.component_map.document, ("shims", shim, arch)),)
                yield Problem(document=manifests.components.document, key=key, message=message, related=related)


@rule("KB245", "a released component that no cell of the family lists", acceptable=True)
def released_components_are_listed(manifests: Manifests) -> Iterator[Problem]:
    """A release bundle carries a component on an architecture on which no shim of that runtime family lists it.

    The bundle is larger than it has to be, and comes nearer to the limit for assets. Components for a flag are exempt.

    Repair: remove the architecture from the component's "release" for the family, or list the component in a cell.

    False alarm: a component that users take from the bundle without a shim: accept it in ignores.toml.
    """
    users = _users(manifests)
    for name in manifests.components.model.components:
        values = manifests.facts(name).values
        if values.get("kind") != "shipped":
            continue
        for family, on in (values.get("release") or {}).items():
            for i, arch in enumerate(on):
                if family not in users.get((name, arch), ()):
                    message = f'the {family} release has "{name}" on {arch}, where no {family} shim lists it'
                    key = (*_facts_with_place(manifests, name, "release"), family, i)
                    yield Problem(document=manifests.components.document, key=key, message=message)


@rule("KB246", "a release of what is not shipped", acceptable=True)
def kinds_are_released(manifests: Manifests) -> Iterator[Problem]:
    """A component of the kind "intermediate", "tool" or "unused" is in a release bundle, or one for a flag is in none.

    Release bundles carry what may reach a node, and nothing else.

    Repair: correct the kind, or the "release".

    False alarm: none known.
    """
    for name in manifests.components.model.components:
        values = manifests.facts(name).values
        kind, release = values.get("kind"), values.get("release") or {}
        document = manifests.components.document
        if kind not in {None, *_PACKED} and release:
            key = _facts_with_place(manifests, name, "release")
            yield Problem(document=document, key=key, message=f'"{name}" is of the kind "{kind}" and released all the same')
        if kind == "flag":
            released = {arch for on in release.values() for arch in on}
            for i, arch in enumerate(values.get("arches") or ()):
                if arch not in released:
                    key = (*_facts_with_place(manifests, name, "arches"), i)
                    yield Problem(document=document, key=key, message=f'"{name}" is built on {arch} and in no release there')


@rule("KB248", "a component whose parts are not made on its architecture", acceptable=True)
def made_parents(manifests: Manifests) -> Iterator[Problem]:
    """A component is built on an architecture on which something that it is made from is not.

    Shim components are exempt: they take root hashes of the images that exist.

    Repair: add the architecture to the part, or remove it from the component.

    False alarm: a part that is only needed on other architectures: accept it in ignores.toml.
    """
    components = manifests.components.model.components
    for name in components:
        values = manifests.facts(name).values
        if values.get("configurations"):
            continue
        for i, arch in enumerate(values.get("arches") or ()):
            for j, parent in enumerate(values.get("build_depends_on") or ()):
                if parent in components and arch not in (manifests.facts(parent).values.get("arches") or ()):
                    message = f'"{name}" is made from "{parent}", which is not built on {arch}'
                    document = manifests.components.document
                    key = (*_facts_with_place(manifests, name, "build_depends_on"), j)
                    related = (
                        (document, (*_facts_with_place(manifests, name, "arches"), i)),
                        (document, _facts_with_place(manifests, parent, "arches")),
                    )
                    yield Problem(document=document, key=key, message=message, related=related)


@rule("KB249", "a flag without its component", acceptable=True)
def flags_reach_components(manifests: Manifests) -> Iterator[Problem]:
    """A flag may be set on an architecture on which the component that it brings in is not built, or it brings in nothing.

    With the flag set, an installation there asks for a tarball that nobody makes.

    Repair: build the component there, or take the architecture from the flag in upstream.toml.

    False alarm: an installer that ignores the flag there: take the architecture from the flag.
    """
    flags = manifests.upstream.model.flags
    brought: dict[str, list[str]] = {}
    for name in manifests.components.model.components:
        flag = manifests.facts(name).values.get("flag")
        if flag is None:
            continue
        brought.setdefault(flag, []).append(name)
        if flag not in flags:
            message = f'"{flag}", which brings in "{name}", is not a flag of upstream.toml'
            key = _facts_with_place(manifests, name, "flag")
            document = manifests.components.document
            yield Problem(document=document, key=key, message=message, hint=did_you_mean(flag, flags))
    for flag, entry in flags.items():
        document = manifests.upstream.document
        if flag not in brought:
            yield Problem(document=document, key=("flags", flag), message=f'flag "{flag}" brings in nothing', of_key=True)
        for name in brought.get(flag, ()):
            arches = manifests.facts(name).values.get("arches") or ()
            for i, arch in enumerate(entry.arches):
                if arch not in arches:
                    message = f'flag "{flag}" may be set on {arch}, where "{name}" is not built'
                    related = ((manifests.components.document, _facts_with_place(manifests, name, "arches")),)
                    yield Problem(document=document, key=("flags", flag, "arches", i), message=message, related=related)
            for arch in arches:
                if arch not in entry.arches:
                    message = f'flag "{flag}" may not be set on {arch}, where "{name}" is built'
                    yield Problem(document=document, key=("flags", flag, "arches"), message=message)


@rule("KB276", "an intermediate result that nothing is made from", acceptable=True)
def loose_intermediates(manifests: Manifests) -> Iterator[Problem]:
    """A component of the kind "intermediate" is built on an architecture on which nothing is made from it.

    Repair: name it in the "build_depends_on" of what contains it, or remove the architecture.

    False alarm: a part that a component takes there without saying so: say so.
    """
    components = manifests.components.model.components
    needed: set[tuple[str, str]] = set()
    for name in components:
        values = manifests.facts(name).values
        needed |= {(parent, arch) for parent in values.get("build_depends_on") or () for arch in values.get("arches") or ()}
    for name in components:
        values = manifests.facts(name).values
        if values.get("kind") != "intermediate":
            continue
        for i, arch in enumerate(values.get("arches") or ()):
            if (name, arch) not in needed:
                message = f'nothing is made from "{name}" on {arch}'
                key = (*_facts_with_place(manifests, name, "arches"), i)
                related = ((manifests.components.document, ("components", name)),)
                yield Problem(document=manifests.components.document, key=key, message=message, related=related)


@rule("KB280", "root hashes that do not fit the images", acceptable=True)
def root_hashes(manifests: Manifests) -> Iterator[Problem]:
    """A shim component is made from another component than the measured images that its configurations start, or keeps no root
    hashes beside its result, or images disagree on the architectures without measurement.

    The root hash of a measured image is compiled into the configurations that start it; a wrong one keeps every guest from
    starting.

    Repair: name in "build_depends_on" the measured images and extensions of the family's configurations, and in "sidecars" the
    hashes; give all measured components the same "not_measured_on" where they are built on the architecture.

    False alarm: a runtime that starts an image without checking its hash: accept it in ignores.toml.
    """
    document = manifests.components.document
    components, families = manifests.components.model.components, manifests.shims.model.families
    measured = [name for name in components if manifests.facts(name).values.get("measured")]
    used = _users(manifests)
    for family, entry in families.items():
        if entry.component not in components:
            continue
        facts = manifests.facts(entry.component)
        parents = facts.values.get("build_depends_on") or ()
        origin = _facts_with_place(manifests, entry.component, "build_depends_on")
        here = [name for name in measured if any(family in used.get((name, arch.value), ()) for arch in Arch)]
        for i, name in enumerate(parents):
            if name in components and name not in here:
                message = f'"{name}" is no measured image that a {family} shim starts, so "{entry.component}" has no use for it'
                yield Problem(document=document, key=(*origin, i), message=message)
        for name in here:
            if name not in parents:
                message = f'"{entry.component}" is not made from "{name}", a measured image that its configurations start'
                related = ((document, ("components", entry.component)),)
                yield Problem(document=document, key=origin, message=message, of_key=True, related=related)
        if here and not any("root_hash" in text for text in facts.values.get("sidecars") or ()):
            message = f'"{entry.component}" keeps no root hashes beside its result'
            key = _facts_with_place(manifests, entry.component, "sidecars")
            yield Problem(document=document, key=key, message=message, of_key=len(key) == 2)
    for arch in Arch:
        built = [name for name in measured if arch.value in (manifests.facts(name).values.get("arches") or ())]
        states = [(name, arch.value in (manifests.facts(name).values.get("not_measured_on") or ())) for name in built]
        right, wrong = deviants(states)
        for name in wrong:
            key = _facts_with_place(manifests, name, "not_measured_on")
            message = f'"{name}" is {"not " if dict(states)[name] else ""}measured on {arch}, other than "{right}"'
            yield Problem(document=document, key=key, message=message, of_key=len(key) == 2)


@rule("KB279", "a release that cannot be published", acceptable=True)
def asset_limits(manifests: Manifests) -> Iterator[Problem]:
    """The size limit of release bundles is above the 2 GiB that a release page takes, or the bundles are not told apart.

    Repair: lower "size_limit_bytes", give each family a bundle of its own name, and name additional files below opt/kata.

    False alarm: a release page with another limit does not exist so far.
    """
    release, document = manifests.components.model.release, manifests.components.document
    if not _ASSET_LIMIT // 4 <= release.size_limit_bytes <= _ASSET_LIMIT:
        message = f"expected a limit between {_ASSET_LIMIT // 4} and {_ASSET_LIMIT} bytes, found {release.size_limit_bytes}"
        yield Problem(document=document, key=("release", "size_limit_bytes"), message=message)
    names: dict[str, str] = {}
    for family in manifests.shims.model.families:
        name = release.bundles.get(family)
        if name is None:
            yield Problem(document=document, key=("release", "bundles"), message=f'family "{family}" has no release bundle')
        elif name in names:
            message = f'"{name}" is the bundle of "{names[name]}" already'
            yield Problem(document=document, key=("release", "bundles", family), message=message)
        elif not name.startswith("kata-") or not name.endswith("static"):
            message = f'expected a name such as kata-static, found "{name}"'
            yield Problem(document=document, key=("release", "bundles", family), message=message)
        elif ("go" in name.split("-")) != (family == "go"):
            message = f'"{name}" is the bundle of the {family} family, but its name says otherwise'
            yield Problem(document=document, key=("release", "bundles", family), message=message)
        names.setdefault(name or "", family)
    missing = [path for path in ("opt/kata/VERSION", "opt/kata/versions.yaml") if path not in release.adds]
    if missing:
        message = f'"{missing[0]}" is not added to the bundles; who installs from them needs it'
        yield Problem(document=document, key=("release", "adds"), message=message, of_key=True)
    for i, path in enumerate(release.adds):
        if not path.startswith("opt/kata/") or path.removeprefix("opt/kata/") not in {"VERSION", "versions.yaml"}:
            message = f'a bundle adds "{path}", expected opt/kata/VERSION or opt/kata/versions.yaml'
            yield Problem(document=document, key=("release", "adds", i), message=message)
