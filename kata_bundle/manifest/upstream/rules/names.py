"""Rules about names of shims: one registry, held by several lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.upstream.facts import Listing, Role
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule
from kata_bundle.manifest.upstream.rules.words import joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.upstream.facts import Item, UpstreamTree

__all__ = [
    "configurations_without_shims",
    "differing_selections",
    "missing_shims",
    "repeated_entries",
    "stray_shims",
    "unknown_shims_used",
]


def _holders(tree: UpstreamTree) -> dict[str, list[Listing]]:
    """Return the lists that hold each shim."""
    holders: dict[str, list[Listing]] = {}
    for listing in tree.shim_lists:
        for name in dict.fromkeys(listing.names()):
            holders.setdefault(name, []).append(listing)
    return holders


def _places(holders: list[Listing], name: str) -> tuple[Span, ...]:
    return tuple(item.span for holder in holders if (item := holder.find(name)) is not None)


@tree_rule("KB601", "a shim that a list lacks")
def missing_shims(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim is in two or more lists, and missing from one that has to hold every shim.

    A shim exists only when all of them name it: the component map (else nothing is installed), the installer's list (else it
    refuses the name), the chart's values (else it cannot be enabled), the RuntimeClasses (else no pod can ask for it). The
    finding stands at the list that lacks the name.

    Repair: add the shim to the list that lacks it, or remove it from the others.

    False alarm: a shim that is being added step by step; a name that is only an alias.
    """
    for name, holders in sorted(_holders(tree).items()):
        if len(holders) < 2:
            continue
        for listing in tree.registries():
            if listing.find(name) is None:
                known = joined([holder.what for holder in holders])
                item = holders[0].find(name)
                span = listing.span if listing.span.line or item is None else item.span
                message = f'shim "{name}" is missing from {listing.what}; it is in {known}'
                yield Problem(span=span, message=message, related=_places(holders, name))


@tree_rule("KB602", "a shim that only one list has", severity=Severity.WARNING)
def stray_shims(tree: UpstreamTree) -> Iterator[Problem]:
    """One list has a name that no other list of shims has.

    It is misspelt, was left behind when the shim was removed, or the shim was never registered elsewhere.

    Repair: correct the name, remove it, or register the shim in the other lists.

    False alarm: a shim that is meant to be installed by hand only.
    """
    if len(tree.shim_lists) < 2:
        return
    holders = _holders(tree)
    # The only registry holds shims that no default selection needs to have.
    alone = tree.registries()[0] if len(tree.registries()) == 1 else None
    installed = {name for build in tree.runtimes.values() for names in build.generated.values() for name in names}
    for name, lists in holders.items():
        item = lists[0].find(name)
        if len(lists) == 1 and item is not None:
            if lists[0] is alone and f"configuration-{name}.toml" in installed:
                continue
            others = [other for other, where in holders.items() if len(where) > 1]
            message = f'shim "{name}" is in {lists[0].what} and in no other list of shims'
            yield Problem(span=item.span, message=message, hint=did_you_mean(name, others))


@tree_rule("KB603", "the same entry twice in a list")
def repeated_entries(tree: UpstreamTree) -> Iterator[Problem]:
    """A list of shims or components names the same thing twice. The second is a left-over, or stands for another.

    Repair: remove the second entry, or write what was meant.

    False alarm: none.
    """
    lists: list[tuple[str, tuple[Item, ...]]] = [(listing.what, listing.items) for listing in tree.shim_lists]
    if tree.installer is not None:
        lists += [(listing.what, listing.items) for listing in tree.installer.defaults.values()]
        if tree.installer.rust is not None:
            lists.append((tree.installer.rust.what, tree.installer.rust.items))
    for cell in (tree.cells or {}).values():
        lists.append((f'the components of "{cell.shim}" on {cell.arch}', cell.components))
    lists += [(allowlist.listing.what, allowlist.listing.items) for allowlist in tree.allowlists]
    for matrix in tree.matrices:
        if matrix.builds and matrix.job:
            lists.append((f'the matrix of the job "{matrix.job}"', matrix.items))
    for chart in (*([tree.chart] if tree.chart is not None else []), *tree.profiles):
        for shim in chart.shims.values():
            lists.append((f'the architectures of "{shim.name}"', shim.arches or ()))
    if tree.local_build is not None and tree.local_build.handlers is not None:
        lists.append((tree.local_build.handlers.what, tree.local_build.handlers.items))
    for what, items in lists:
        seen: dict[str, Item] = {}
        for item in items:
            first = seen.setdefault(item.name, item)
            if first is not item:
                message = f'"{item.name}" stands twice in {what}'
                yield Problem(span=item.span, message=message, related=(first.span,))
    for item in tree.repeated_overheads:
        yield Problem(span=item.span, message=f'"{item.name}" stands twice in the RuntimeClass overheads')


@tree_rule("KB604", "default selections that disagree", severity=Severity.WARNING)
def differing_selections(tree: UpstreamTree) -> Iterator[Problem]:
    """Two lists of what is installed when nobody chooses do not name the same shims.

    The chart, the plain manifests and the installer's own default are three ways to the same installation. The finding stands at
    the list that lacks the name.

    Repair: make the lists equal.

    False alarm: a default that is meant to differ.
    """
    selections = [listing for listing in tree.shim_lists if listing.role is Role.SELECTION]
    if not selections:
        return
    if tree.chart is not None and tree.chart.shims:
        enabled = {shim.name for shim in tree.chart.shims.values() if tree.chart.enabled(shim)}
        values = next((listing for listing in tree.registries() if listing.what == "the chart's values"), None)
        if values is not None:
            items = tuple(item for item in values.items if item.name in enabled)
            selections.append(Listing(what=values.what, span=values.span, items=items, role=Role.SELECTION))
    for name in sorted({name for listing in selections for name in listing.names()}):
        having = [listing for listing in selections if listing.find(name) is not None]
        for listing in selections:
            if listing.find(name) is None and listing.items:
                message = f'shim "{name}" is not in {listing.what}, but in {joined([other.what for other in having])}'
                yield Problem(span=listing.span, message=message, related=_places(having, name))


@tree_rule("KB605", "a configuration that no shim uses", severity=Severity.WARNING)
def configurations_without_shims(tree: UpstreamTree) -> Iterator[Problem]:
    """A runtime installs a configuration for a shim that no list names.

    Nobody can select it. Either the shim was never registered, or the configuration was left behind. It is reported for a runtime
    only when the installer starts a shim of that name with that runtime, or knows no such shim.

    Repair: register the shim, or stop installing its configuration.

    False alarm: a configuration for people who install the runtime without the installer.
    """
    shims = tree.shims()
    for build in tree.runtimes.values():
        for template in build.templates.values():
            if template.shim in shims:
                continue  # where both runtimes have one, the other may be in use
            lines = next((names[template.name] for names in build.generated.values() if template.name in names), None)
            if lines is not None:
                message = f'"{template.name}" is installed, but no list of shims has "{template.shim}"'
                yield Problem(span=lines.span, message=message, hint=did_you_mean(template.shim, shims))


@tree_rule("KB606", "a test or an example that names no shim")
def unknown_shims_used(tree: UpstreamTree) -> Iterator[Problem]:
    """A test matrix names a shim, or an example a RuntimeClass, that no list of shims has.

    The test installs nothing of that name, the example's pod is never scheduled. Shims that have only a configuration are taken
    as known to tests, since these can run without the installer.

    Repair: correct the name.

    False alarm: a test that installs the shim in its own way.
    """
    shims = tree.shims()
    tested = shims | {template.shim for build in tree.runtimes.values() for template in build.templates.values()}
    for matrix in tree.matrices:
        if matrix.key == "vmm":
            for item in matrix.items:
                if item.name and item.name not in tested:
                    message = f'the job "{matrix.job}" tests "{item.name}", which is not a shim'
                    yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, tested))
    classes = {f"kata-{name}" for name in shims} | {"kata"}
    for item in tree.class_names:
        if item.name.startswith("kata") and item.name not in classes:
            message = f'RuntimeClass "{item.name}" belongs to no shim'
            yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, classes))
