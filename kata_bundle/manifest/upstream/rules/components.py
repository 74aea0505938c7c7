"""Rules about components: what cells and release lists name is built, and what is built can be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.catalog import RuntimeFamily
from kata_bundle.manifest.upstream.cells import arch_of
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule
from kata_bundle.manifest.upstream.rules.words import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.upstream.facts import Allowlist, Item, UpstreamTree

__all__ = [
    "cached_names",
    "cells_not_built",
    "deleted_artefacts",
    "differing_pipelines",
    "flagged_components",
    "local_builds",
    "make_targets",
    "mentioned_components",
    "missing_functions",
    "release_lists",
    "released_for_nothing",
    "unknown_assets",
    "unknown_components",
    "unreleased_components",
]

_SIDECARS: Final = ("-modules", "-headers")
"""Suffixes of artefacts that a component's build leaves beside its tarball."""


def _buildable(tree: UpstreamTree) -> frozenset[str]:
    build = tree.local_build
    if build is None or build.handlers is None:
        return frozenset()
    return frozenset(build.handlers.names())


def _family(allowlist: Allowlist) -> RuntimeFamily:
    return RuntimeFamily.GO if "go" in allowlist.bundle.split("-") else RuntimeFamily.RUST


def _needed(tree: UpstreamTree, family: RuntimeFamily, arch: Arch) -> dict[str, dict[str, Span]]:
    """Return what the cells of a runtime's shims need on ``arch``, with the shims that need it and the places."""
    needed: dict[str, dict[str, Span]] = {}
    for cell in (tree.cells or {}).values():
        if arch_of(cell.arch) is arch and tree.family(cell.shim) is family:
            for item in cell.components:
                needed.setdefault(item.name, {}).setdefault(cell.shim, item.span)
    return needed


@tree_rule("KB641", "an unknown component in a cell")
def unknown_components(tree: UpstreamTree) -> Iterator[Problem]:
    """A cell or a flag of the installer names a component that the build script does not know. Its tarball never exists.

    Repair: correct the name, or teach the script to build it.

    False alarm: none.
    """
    known = _buildable(tree)
    if not known:
        return
    for cell in (tree.cells or {}).values():
        for item in cell.components:
            if item.name not in known:
                message = f'"{cell.shim}" on {cell.arch} needs "{item.name}", which the build script does not know'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))
    for item in tree.installer.flagged if tree.installer is not None else ():
        if item.name not in known:
            message = f'the installer adds "{item.name}", which the build script does not know'
            yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))


@tree_rule("KB642", "a component that the pipeline does not build for a cell")
def cells_not_built(tree: UpstreamTree) -> Iterator[Problem]:
    """A cell names a component that no job builds on the cell's architecture, so its tarball is in no release.

    Repair: add the component to the architecture's matrix, or remove it from the cell.

    False alarm: none.
    """
    known = _buildable(tree)
    for cell in (tree.cells or {}).values():
        arch = arch_of(cell.arch)
        built = frozenset[str]() if arch is None else tree.built_on(arch)
        for item in cell.components if built else ():
            if item.name not in built and (not known or item.name in known):
                message = f'"{cell.shim}" needs "{item.name}" on {cell.arch}, where no job builds it'
                yield Problem(span=item.span, message=message)


@tree_rule("KB643", "a component that a release list lacks")
def unreleased_components(tree: UpstreamTree) -> Iterator[Problem]:
    """The release list of a runtime lacks a component that a cell of one of its shims needs on that architecture, or is missing.

    Who installs from the release gets a shim that cannot run. The finding stands at the list.

    Repair: add the component to the list.

    False alarm: none.
    """
    for allowlist in tree.allowlists:
        listed = set(allowlist.listing.names())
        for component, shims in sorted(_needed(tree, _family(allowlist), allowlist.arch).items()):
            if component not in listed:
                message = f'"{component}" is missing from {allowlist.listing.what}; {_shims(shims)} it'
                yield Problem(span=allowlist.listing.span, message=message, related=tuple(shims.values()))
    bundles = {allowlist.bundle: allowlist for allowlist in reversed(tree.allowlists)}
    for bundle, arch in ((bundle, arch) for bundle in bundles for arch in Arch):
        if any(allowlist.bundle == bundle and allowlist.arch is arch for allowlist in tree.allowlists):
            continue
        lacking = sorted({shim for needing in _needed(tree, _family(bundles[bundle]), arch).values() for shim in needing})
        if lacking:
            message = f'there is no release list "{bundle}" on {arch}; {_shims(lacking)} one'
            yield Problem(span=bundles[bundle].listing.span, message=message)


def _shims(names: Collection[str]) -> str:
    return f"{quoted(names)} {'needs' if len(names) == 1 else 'need'}"


@tree_rule("KB644", "a component that is released for nothing", severity=Severity.WARNING)
def released_for_nothing(tree: UpstreamTree) -> Iterator[Problem]:
    """A release list has a component that no cell of its runtime needs there, and that no flag of the installer adds.

    It makes the release larger for nobody; or a cell that needs it is missing.

    Repair: remove it from the list, or add it to the cell that needs it.

    False alarm: a component that is released for people who use it without a shim.
    """
    if tree.cells is None:
        return
    flagged = {item.name for item in tree.installer.flagged} if tree.installer is not None else set()
    for allowlist in tree.allowlists:
        needed = _needed(tree, _family(allowlist), allowlist.arch)
        made_of = {} if tree.local_build is None else tree.local_build.made_of
        sealed = {part for name in needed if name.startswith("boot-image-") for part in made_of.get(name, frozenset())}
        for item in allowlist.listing.items:
            if item.name not in needed and item.name not in flagged and item.name not in sealed:
                message = f'{allowlist.listing.what} has "{item.name}", which no shim of the {_family(allowlist)} runtime needs'
                yield Problem(span=item.span, message=message)


@tree_rule("KB645", "a release list that names what is not built")
def release_lists(tree: UpstreamTree) -> Iterator[Problem]:
    """A release list names a component that no job builds on its architecture, or that nothing can build. Merging it fails.

    Repair: build the component there, or remove it from the list.

    False alarm: none.
    """
    known = _buildable(tree)
    for allowlist in tree.allowlists:
        built = tree.built_on(allowlist.arch)
        for item in allowlist.listing.items:
            if known and item.name not in known:
                message = f'{allowlist.listing.what} has "{item.name}", which the build script does not know'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))
            elif built and item.name not in built:
                message = f'{allowlist.listing.what} has "{item.name}", which no job builds there'
                yield Problem(span=item.span, message=message)


@tree_rule("KB646", "a job that builds what cannot be built")
def unknown_assets(tree: UpstreamTree) -> Iterator[Problem]:
    """A build matrix names a component without a make target, or without a case in the build script. The job fails.

    Repair: add a target and a case, or correct the name.

    False alarm: none.
    """
    build = tree.local_build
    if build is None:
        return
    known = _buildable(tree)
    everything = set(build.targets) | {name.removesuffix("-tarball") for name in build.other_targets}
    for matrix in tree.matrices:
        for item in matrix.items if matrix.builds else ():
            if item.name not in everything:
                message = f'"{item.name}" is built on {matrix.arch}, but there is no make target "{item.name}-tarball"'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, everything))
            elif known and item.name in build.targets and item.name not in known:
                message = f'"{item.name}" is built on {matrix.arch}, but the build script does not know it'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))


@tree_rule("KB647", "a make target that leads nowhere")
def make_targets(tree: UpstreamTree) -> Iterator[Problem]:
    """A make target builds a component that the build script does not know, or needs a target that is not there.

    Make, or the script, stops with an error.

    Repair: add the case or the target, or correct the name.

    False alarm: none.
    """
    build = tree.local_build
    if build is None:
        return
    known = _buildable(tree)
    for component, item in build.targets.items():
        if known and component not in known:
            message = f'the target "{component}-tarball" builds "{component}", which the build script does not know'
            yield Problem(span=item.span, message=message, hint=did_you_mean(component, known))
    targets = {f"{name}-tarball" for name in build.targets} | build.other_targets
    patterns = [name for name in targets if "%" in name]
    for item in build.references:
        if item.name in targets or item.name.startswith(("/", "$")) or "%" in item.name or "." in item.name:
            continue
        if not any(_matches(pattern, item.name) for pattern in patterns):
            message = f'"{item.name}" is needed, but there is no such target'
            yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, targets))


@tree_rule("KB665", "a function of the build script that is not there")
def missing_functions(tree: UpstreamTree) -> Iterator[Problem]:
    """The build script calls a function install_… that neither it nor a script that it takes in defines. The build stops there.

    Repair: define the function, or correct its name.

    False alarm: a function defined in a script that is not in tools/packaging/scripts.
    """
    if tree.local_build is None:
        return
    for item in tree.local_build.undefined:
        yield Problem(span=item.span, message=f'the build script calls "{item.name}", which is nowhere defined')


def _matches(pattern: str, name: str) -> bool:
    before, _, after = pattern.partition("%")
    return len(name) > len(before) + len(after) and name.startswith(before) and name.endswith(after)


@tree_rule("KB648", "a local build that lacks what it packs", severity=Severity.WARNING)
def local_builds(tree: UpstreamTree) -> Iterator[Problem]:
    """ "make kata-tarball" packs the release list of the architecture, but does not build one of the components in it.

    The pipeline, which builds from its own matrices, does not notice; whoever builds by hand gets an error at the end.

    Repair: add the component to what the architecture builds.

    False alarm: none.
    """
    build = tree.local_build
    if build is None:
        return
    for allowlist in tree.allowlists:
        listing = build.lists.get(allowlist.arch)
        if listing is None or not listing.items:
            continue
        built = set(listing.names())
        for item in allowlist.listing.items:
            if item.name not in built and item.name in build.targets:
                message = f'"{item.name}" is not in {listing.what}, but in {allowlist.listing.what}'
                yield Problem(span=build.targets[item.name].span, message=message, related=(item.span,))


@tree_rule("KB649", "a list of the build script that names no component", severity=Severity.WARNING)
def mentioned_components(tree: UpstreamTree) -> Iterator[Problem]:
    """The help or the defaults of the build script name a component that it has no case for: it was removed, or is misspelt.

    Repair: correct the name, or remove it.

    False alarm: none.
    """
    build = tree.local_build
    if build is None or build.handlers is None:
        return
    known = build.handlers.names()
    for listing in build.mentioned:
        for item in listing.items:
            if item.name not in known:
                message = f'"{item.name}" is in {listing.what}, but the script has no case for it'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))


@tree_rule("KB639", "a component cached under another name")
def cached_names(tree: UpstreamTree) -> Iterator[Problem]:
    """The function behind a component looks for a cached result under the name of another component.

    It then takes the other component's files, or never finds its own. Name, target, tarball and cache entry have to be one.

    Repair: use the component's own name.

    False alarm: two components that share a result on purpose.
    """
    build = tree.local_build
    for component, item in ({} if build is None else build.cached).items():
        if item.name != component:
            message = f'the build of "{component}" looks in the cache for "{item.name}"'
            yield Problem(span=item.span, message=message)


@tree_rule("KB655", "a flag whose component is not built everywhere", severity=Severity.WARNING)
def flagged_components(tree: UpstreamTree) -> Iterator[Problem]:
    """The installer adds a component when a flag is set, on every architecture, but on one with shims no job builds it.

    With the flag set, the installation fails there for want of a tarball.

    Repair: build the component there, or add it only where it is built.

    False alarm: a flag that is documented for one architecture.
    """
    if tree.installer is None:
        return
    with_cells = {arch_of(cell.arch) for cell in (tree.cells or {}).values()}
    for item in tree.installer.flagged:
        lacking = [arch for arch in Arch if arch in with_cells and tree.built_on(arch) and item.name not in tree.built_on(arch)]
        if lacking and any(item.name in tree.built_on(arch) for arch in Arch):
            message = f'the installer adds "{item.name}" on every architecture, but no job builds it on {", ".join(lacking)}'
            yield Problem(span=item.span, message=message)


@tree_rule("KB650", "two workflows that build differently", severity=Severity.WARNING)
def differing_pipelines(tree: UpstreamTree) -> Iterator[Problem]:
    """Two workflows build the components of one architecture, and one of them lacks a component.

    What they publish differs. The finding stands at the workflow that lacks it. It is looked for only where workflows build for
    themselves, as they did until the spring of 2023.

    Repair: add the component to the other workflow.

    False alarm: a workflow that is meant to publish less.
    """
    for arch in Arch:
        by_path: dict[str, dict[str, Item]] = {}
        for matrix in tree.matrices:
            if matrix.builds and matrix.arch is arch:
                by_path.setdefault(matrix.path, {}).update({item.name: item for item in matrix.items})
        everything = {name for names in by_path.values() for name in names}
        for names in by_path.values():
            for name in sorted(everything - names.keys()):
                other, place = next((p, having[name].span) for p, having in by_path.items() if name in having)
                message = f'"{name}" is not built on {arch} here, but in {other.rsplit("/", 1)[-1]}'
                yield Problem(span=min(item.span for item in names.values()), message=message, related=(place,))


@tree_rule("KB640", "a job that deletes what nobody made", severity=Severity.WARNING)
def deleted_artefacts(tree: UpstreamTree) -> Iterator[Problem]:
    """A job of a build workflow downloads or deletes the artefact of a component that no job of the architecture builds.

    The name is misspelt, or the component was removed from the jobs that build.

    Repair: correct the name, or remove the entry.

    False alarm: an artefact that another workflow made.
    """
    for matrix in tree.matrices:
        if matrix.builds or matrix.arch is None or matrix.key != "asset":
            continue
        built = tree.built_on(matrix.arch)
        for item in matrix.items if built else ():
            names = {item.name, *(item.name.removesuffix(suffix) for suffix in _SIDECARS)}
            if not names & built:
                message = f'the job "{matrix.job}" handles "{item.name}", which no job builds on {matrix.arch}'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, built))
