"""Rules about architectures and defaults: who supports what, in both vocabularies, and what is chosen when nobody chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.catalog import PREFIX
from kata_bundle.manifest.upstream.cells import arch_of, configuration_of
from kata_bundle.manifest.upstream.outputs import providers
from kata_bundle.manifest.upstream.rules.paths import named_paths
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.upstream.facts import Chart, Item, UpstreamTree

__all__ = [
    "built_in_defaults",
    "cell_without_chart",
    "chart_without_cell",
    "default_shims",
    "differing_defaults",
    "empty_selections",
    "unknown_architectures",
]


def _charts(tree: UpstreamTree) -> tuple[Chart, ...]:
    return (*([tree.chart] if tree.chart is not None else []), *tree.profiles)


def _supported(tree: UpstreamTree, chart: Chart, shim: str) -> frozenset[str]:
    """Return the architectures of a shim in ``chart``, else in the values that it is laid over."""
    for source in (chart, tree.chart):
        found = None if source is None else source.shims.get(shim)
        if found is not None and found.arches is not None:
            return frozenset(item.name for item in found.arches)
    return frozenset()


@tree_rule("KB611", "an architecture of the chart without components")
def chart_without_cell(tree: UpstreamTree) -> Iterator[Problem]:
    """The chart's values let a shim run on an architecture for which the component map has no row.

    The installer warns and installs nothing for it; pods of its RuntimeClass cannot start. Names are compared across both
    vocabularies: amd64 is x86_64, arm64 is aarch64.

    Repair: add the row, or take the architecture out of the values.

    False alarm: none.
    """
    if tree.cells is None or tree.chart is None:
        return
    rows = {cell.shim: cell.span for cell in reversed(tuple(tree.cells.values()))}
    for shim in tree.chart.shims.values():
        for item in shim.arches or ():
            arch = arch_of(item.name)
            if shim.name in rows and arch is not None and (shim.name, arch.value) not in tree.cells:
                message = f'the values let "{shim.name}" run on {item.name}, for which the component map has no row'
                yield Problem(span=item.span, message=message, related=(rows[shim.name],))


@tree_rule("KB612", "a cell that the chart does not offer", severity=Severity.WARNING)
def cell_without_chart(tree: UpstreamTree) -> Iterator[Problem]:
    """The component map has a row for an architecture that the chart's values do not list for the shim.

    Nobody can enable it there with the chart. Either the values lack an architecture, or the row is one too many.

    Repair: add the architecture to the values, or remove the row.

    False alarm: a shim that the chart is not ready to offer there, though its components are released.
    """
    if tree.cells is None or tree.chart is None:
        return
    usual = any(shim.arches for shim in tree.chart.shims.values())
    for cell in tree.cells.values():
        shim = tree.chart.shims.get(cell.shim)
        if shim is None or not usual:
            continue
        offered = {arch_of(item.name) for item in shim.arches or ()}
        arch = arch_of(cell.arch)
        if arch is not None and arch not in offered:
            message = f'the component map has "{cell.shim}" on {cell.arch}, which the chart\'s values do not offer'
            yield Problem(span=cell.span, message=message, related=(shim.span,))


@tree_rule("KB613", "a default shim that cannot be the default")
def default_shims(tree: UpstreamTree) -> Iterator[Problem]:
    """The default shim of an architecture does not exist, is not enabled, or is not supported there.

    The default RuntimeClass stands for it, so it has to be installed by the same values. A profile is judged as it is meant to be
    used: laid over the values, with what it disables disabled.

    Repair: name a shim that is enabled and supported.

    False alarm: none.
    """
    for chart in _charts(tree):
        known = set(chart.shims) | (set(tree.chart.shims) if tree.chart is not None else set())
        if not known:
            continue
        for arch, item in chart.default_shim.items():
            if item.name not in known:
                message = f'the default shim "{item.name}" of {arch} is not a shim'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))
                continue
            shim = chart.shims.get(item.name)
            if shim is None and chart.disable_all:
                yield Problem(span=item.span, message=f'the default shim "{item.name}" of {arch} is not enabled here')
            elif shim is not None and not chart.enabled(shim):
                yield Problem(span=item.span, message=f'the default shim "{item.name}" of {arch} is disabled')
            arches = _supported(tree, chart, item.name)
            if arches and arch not in arches:
                message = f'the default shim "{item.name}" of {arch} is supported on {", ".join(sorted(arches))} only'
                yield Problem(span=item.span, message=message)


@tree_rule("KB614", "a built-in default without components")
def built_in_defaults(tree: UpstreamTree) -> Iterator[Problem]:
    """The installer's default shims of an architecture name one that has no row there in the component map.

    In trees without the map: one that the chart does not offer there, and that has no configuration, or names files that no job
    builds.

    Without a selection the installer takes this list, and would install a shim that cannot run.

    Repair: take the shim out of the list, or add its row.

    False alarm: none.
    """
    if tree.installer is None:
        return
    known = tree.shims()
    with_rows = {cell.arch for cell in (tree.cells or {}).values()}
    for arch, listing in tree.installer.defaults.items():
        if with_rows and arch.value not in with_rows:
            continue  # not an architecture that it is built for
        for item in listing.items:
            if item.name not in known:
                message = f'the default shim "{item.name}" on {arch} is not a shim'
                yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))
            elif tree.cells is not None:
                if (item.name, arch.value) not in tree.cells:
                    message = f'the default shim "{item.name}" has no row on {arch} in the component map'
                    yield Problem(span=item.span, message=message)
            else:
                yield from _unsupported(tree, arch, item)
    for arch, item in tree.installer.default.items():
        listing_or_none = tree.installer.defaults.get(arch)
        offered = not with_rows or arch.value in with_rows
        if offered and listing_or_none is not None and listing_or_none.find(item.name) is None:
            message = f'the default shim "{item.name}" of {arch} is not among the default shims there'
            yield Problem(span=item.span, message=message)


def _unsupported(tree: UpstreamTree, arch: Arch, item: Item) -> Iterator[Problem]:
    """Without a component map: a shim that the chart does not offer on ``arch``, and of which something is missing there."""
    shim = None if tree.chart is None else tree.chart.shims.get(item.name)
    if shim is None or shim.arches is None or arch in {arch_of(other.name) for other in shim.arches}:
        return
    configuration = configuration_of(tree, item.name, arch)
    reason = "no configuration there"
    if configuration is not None:
        built = tree.built_on(arch)
        having = {named.path: providers(named.path, built, arch) for named in named_paths(configuration)} if built else {}
        missing = [path for path, found in having.items() if not any(found)]
        if not missing:
            return
        reason = f"no {PREFIX}/{missing[0]}, which its configuration names"
    yield Problem(span=item.span, message=f'the default shim "{item.name}" on {arch} has {reason}', related=(shim.span,))


@tree_rule("KB615", "a profile that selects nothing on an architecture", severity=Severity.WARNING)
def empty_selections(tree: UpstreamTree) -> Iterator[Problem]:
    """A profile enables shims on some architectures, and none on another that the values offer.

    There the list of shims that the chart hands to the installer is empty, and the installer then takes its built-in list: an
    empty selection becomes everything.

    Repair: enable a shim there, or take the default of that architecture out of the profile.

    False alarm: a profile that is never used there.
    """
    if tree.chart is None or tree.installer is None or not tree.installer.defaults:
        return
    for profile in tree.profiles:
        enabled = [shim for shim in profile.shims.values() if profile.enabled(shim)]
        if not enabled or not profile.disable_all:
            continue
        on = {arch for shim in enabled for arch in _supported(tree, profile, shim.name)}
        # Only architectures that the profile itself speaks of: a profile for one kind of hardware is never laid over another's.
        for arch in profile.default_shim:
            if arch not in on:
                message = f"this profile enables no shim on {arch}, so the installer takes its built-in list there"
                yield Problem(span=profile.default_shim[arch].span, message=message)


@tree_rule("KB616", "two different default shims", severity=Severity.WARNING)
def differing_defaults(tree: UpstreamTree) -> Iterator[Problem]:
    """The installer's own default shim of an architecture is not the one of the chart's values.

    Which one an installation gets depends on whether the chart handed one over.

    Repair: make them equal.

    False alarm: none.
    """
    if tree.installer is None or tree.chart is None:
        return
    for arch, item in tree.installer.default.items():
        chosen = tree.chart.default_shim.get(arch.go_name)
        if chosen is not None and chosen.name != item.name:
            message = f'the installer\'s default shim of {arch} is "{item.name}", the chart\'s is "{chosen.name}"'
            yield Problem(span=item.span, message=message, related=(chosen.span,))


@tree_rule("KB617", "an architecture in the wrong vocabulary")
def unknown_architectures(tree: UpstreamTree) -> Iterator[Problem]:
    """An architecture is not spelt as its document spells them, so nothing ever matches it.

    The component map uses the names of uname (x86_64, aarch64), values files those of Go (amd64, arm64); s390x and ppc64le are
    the same in both. The version file is read with either.

    Repair: spell it as the document does.

    False alarm: none; architectures that are new to upstream are not reported.
    """
    for cell in (tree.cells or {}).values():
        hint = None if cell.arch in set(Arch) else _hint(cell.arch, uname=True)
        if hint is not None:  # an architecture that is new upstream is like none of ours
            yield Problem(span=cell.span, message=f'"{cell.arch}" is not an architecture of the component map', hint=hint)
    known = {arch.go_name for arch in Arch}
    for chart in _charts(tree):
        for shim in chart.shims.values():
            for item in shim.arches or ():
                hint = None if item.name in known else _hint(item.name, uname=False)
                if hint is not None:
                    yield Problem(span=item.span, message=f'"{item.name}" is not an architecture of the chart', hint=hint)
        for name, item in chart.default_shim.items():
            hint = None if name in known else _hint(name, uname=False)
            if hint is not None:
                yield Problem(span=item.span, message=f'"{name}" is not an architecture of the chart', hint=hint)

    for group, span in (tree.versions.groups if tree.versions is not None else {}).items():
        # The scripts that read these ask for uname's name or for Go's.
        if len(group) > 1 and group[-2] == "architecture" and arch_of(group[-1]) is None:
            hint = did_you_mean(group[-1], [*(arch.value for arch in Arch), *known])
            if hint is not None:
                yield Problem(span=span, message=f'"{group[-1]}" is not an architecture of the version file', hint=hint)


def _hint(name: str, *, uname: bool) -> str | None:
    arch = arch_of(name)
    if arch is not None:
        return f'here it is called "{arch.value if uname else arch.go_name}"'
    return did_you_mean(name, [a.value if uname else a.go_name for a in Arch])
