"""Rules about profiles: values files that are laid over the chart's values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.catalog import RuntimeFamily
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.upstream.facts import Chart, ChartShim, UpstreamTree

__all__ = ["differing_profiles", "merged_layers", "misspelt_values", "unknown_profile_shims"]


@tree_rule("KB661", "a profile with an unknown shim")
def unknown_profile_shims(tree: UpstreamTree) -> Iterator[Problem]:
    """A profile has a table for a shim that the chart's values do not have. The chart ignores it, or fails on what it lacks.

    Repair: correct the name, or remove the table.

    False alarm: none.
    """
    if tree.chart is None or not tree.chart.shims:
        return
    for profile in tree.profiles:
        for shim in profile.shims.values():
            if shim.name not in tree.chart.shims:
                message = f'the values have no shim "{shim.name}"'
                yield Problem(span=shim.span, message=message, hint=did_you_mean(shim.name, tree.chart.shims))


@tree_rule("KB662", "a profile that differs from the values", severity=Severity.WARNING)
def differing_profiles(tree: UpstreamTree) -> Iterator[Problem]:
    """A profile sets something of a shim to another value than the chart's values do.

    Profiles repeat the values of the shims that they enable. A difference that is meant is a snapshotter that the profile sets up
    itself; any other one is most often a change that was made in one file only.

    Repair: repeat the change in the other file.

    False alarm: a profile that tries something out: the reason belongs into the profile.
    """
    if tree.chart is None:
        return
    for profile in tree.profiles:
        for shim in profile.shims.values():
            base = tree.chart.shims.get(shim.name)
            if base is not None:
                yield from _differences(profile, shim, base)


def _differences(profile: Chart, shim: ChartShim, base: ChartShim) -> Iterator[Problem]:
    mine = None if shim.arches is None else sorted({item.name for item in shim.arches})
    theirs = None if base.arches is None else sorted({item.name for item in base.arches})
    if shim.arches and mine != theirs and theirs is not None:
        message = f'"{shim.name}" is supported on {", ".join(mine or [])} here, on {", ".join(theirs)} in the values'
        yield Problem(span=shim.arches[0].span, message=message, related=(base.span,))
    for key, setting in shim.settings.items():
        other = base.settings.get(key)
        if other is None:
            if setting.value not in ("", [], {}, None, False) and any(
                k.split(".")[0] == key.split(".")[0] for k in base.settings
            ):
                message = f'"{key}" of "{shim.name}" is {_shown(setting.value)} here, and not set in the values'
                yield Problem(span=setting.span, message=message)
        elif setting.value != other.value and not _declared(profile, key, setting.value):
            message = f'"{key}" of "{shim.name}" is {_shown(setting.value)} here, {_shown(other.value)} in the values'
            yield Problem(span=setting.span, message=message, related=(other.span,))


def _declared(profile: Chart, key: str, value: object) -> bool:
    return key == "containerd.snapshotter" and isinstance(value, str) and value in profile.snapshotters


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


@tree_rule("KB664", "a value that is spelt as no other", severity=Severity.WARNING)
def misspelt_values(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim's table in the values or a profile has a key that no other shim has, and lacks one that looks like it.

    The chart's templates read keys by name and take a missing one for empty, so a misspelt key does nothing.

    Repair: spell the key as the other shims do.

    False alarm: a key that is new, and much like an old one that the shim does not have.
    """
    if tree.chart is None:
        return
    having: dict[str, set[str]] = {}
    for shim in tree.chart.shims.values():
        for key in _keys(shim):
            having.setdefault(key, set()).add(shim.name)
    common = {"enabled"} | {key for key, shims in having.items() if len(shims) > 1}
    for chart in (tree.chart, *tree.profiles):
        for shim in chart.shims.values():
            mine = _keys(shim)
            for key, span in mine.items():
                if having.get(key, set()) - {shim.name}:
                    continue
                hint = did_you_mean(key, sorted(common - mine.keys()))
                if hint is not None:
                    message = f'no other shim has "{key}", as "{shim.name}" has here'
                    yield Problem(span=span, message=message, hint=hint)


def _keys(shim: ChartShim) -> dict[str, Span]:
    """Return every key of a shim's table, those of tables in it dotted, and a place of each."""
    found: dict[str, Span] = {}
    if shim.arches is not None:
        found["supportedArches"] = shim.span
    if shim.enabled is not None:
        found["enabled"] = shim.span
    for key, setting in shim.settings.items():
        parts = key.split(".")
        for size in range(1, len(parts) + 1):
            found.setdefault(".".join(parts[:size]), setting.span)
    return found


@tree_rule("KB663", "merged layers for a runtime that cannot read them")
def merged_layers(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim of the Go runtime takes its images from erofs, with their layers merged, which only runtime-rs can read.

    The installer merges layers unless "snapshotter.erofsMergeMode" is "unmerged", and refuses such a selection.

    Repair: take the shim of runtime-rs, or set the mode.

    False alarm: none.
    """
    if tree.installer is None or not tree.installer.merges_layers or tree.chart is None:
        return
    for chart in (tree.chart, *tree.profiles):
        if (chart.merge_mode or tree.chart.merge_mode) == "unmerged":
            continue
        for shim in chart.shims.values():
            snapshotter = shim.settings.get("containerd.snapshotter")
            if snapshotter is not None and snapshotter.value == "erofs" and tree.family(shim.name) is RuntimeFamily.GO:
                message = f'"{shim.name}" is a shim of the go runtime, which cannot read the merged layers of erofs'
                yield Problem(span=snapshotter.span, message=message)
