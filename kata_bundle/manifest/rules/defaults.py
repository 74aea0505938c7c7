"""Rules about what an architecture installs when nobody chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.positions import KeyPath

__all__ = [
    "chart_architectures",
    "declared_defaults",
    "default_shim_is_a_default",
    "defaults_have_rows",
    "every_architecture_has_defaults",
    "incomplete_defaults",
    "offered_defaults",
]


@rule("KB209", "an architecture without defaults")
def every_architecture_has_defaults(manifests: Manifests) -> Iterator[Problem]:
    """The component map has rows for an architecture for which there is no document in "arches".

    Without defaults, an installation that names no shims would have to guess.

    Repair: add arches/<architecture>.toml.

    False alarm: none.
    """
    used = {arch for row in manifests.component_map.model.shims.values() for arch in row}
    for arch in Arch:
        if arch in used and f"{arch}.toml" not in manifests.arch_files:
            message = f"there are no defaults for {arch}, which the component map has rows for"
            yield Problem(document=manifests.missing(f"arches/{arch}.toml"), key=(), message=message)


@rule("KB210", "a default shim that is not among the default shims")
def default_shim_is_a_default(manifests: Manifests) -> Iterator[Problem]:
    """The default shim of an architecture is not in its list of default shims.

    The default RuntimeClass stands for the default shim, so that shim has to be installed by default.

    Repair: add the shim to the list, or choose another default shim.

    False alarm: none.
    """
    for entry in manifests.arches.values():
        if entry.model.default_shim not in entry.model.default_shims:
            message = f'the default shim "{entry.model.default_shim}" is not among the default shims'
            yield Problem(document=entry.document, key=("default_shim",), message=message)


@rule("KB211", "a default shim without components on its architecture", acceptable=True)
def defaults_have_rows(manifests: Manifests) -> Iterator[Problem]:
    """A default shim has no row for that architecture in the component map.

    A default installation would have to leave it out, or fail.

    Repair: add the row, or remove the shim from the defaults.

    False alarm: a list that another program shares, and that names shims ahead of their components: accept it in ignores.toml.
    """
    rows = manifests.component_map.model.shims
    for arch, entry in manifests.arches.items():
        for i, name in enumerate(entry.model.default_shims):
            if name in rows and arch.value not in rows[name]:
                message = f'the default shim "{name}" has no components on {arch}'
                row: KeyPath = ("shims", name)
                related = ((manifests.component_map.document, row),)
                yield Problem(document=entry.document, key=("default_shims", i), message=message, related=related)


@rule("KB213", "an incomplete shim among the defaults")
def incomplete_defaults(manifests: Manifests) -> Iterator[Problem]:
    """A default list names an alias or an unfinished shim. Defaults name complete shims only.

    Repair: remove the shim from the defaults, or complete it.

    False alarm: none.
    """
    shims = manifests.shims.model.shims
    for entry in manifests.arches.values():
        for i, name in enumerate(entry.model.default_shims):
            shim = shims.get(name)
            if shim is not None and shim.status != "active":
                message = f'the default shim "{name}" has the status "{shim.status}"'
                yield Problem(document=entry.document, key=("default_shims", i), message=message)


@rule("KB257", "a default shim that the chart does not offer", acceptable=True)
def offered_defaults(manifests: Manifests) -> Iterator[Problem]:
    """A default shim is never enabled by the chart, or the chart does not support it on that architecture.

    An installation through the chart and one through the command line would differ in what they install.

    Repair: remove the shim from the defaults (say why in "left_out"), or correct its chart table.

    False alarm: a default of the installer that the chart leaves out on purpose: accept it in ignores.toml.
    """
    shims = manifests.shims.model.shims
    for arch, entry in manifests.arches.items():
        for i, name in enumerate(entry.model.default_shims):
            if name not in shims or shims[name].status != "active":
                continue
            chart = manifests.chart(name)
            key = None
            if chart.values.get("enabled") == "never":
                key, message = "enabled", f'the chart never enables the default shim "{name}"'
            elif "arches" in chart.values and arch.value not in chart.values["arches"]:
                key, message = "arches", f'the chart does not support the default shim "{name}" on {arch}'
            if key is not None:
                related = ((manifests.shims.document, chart.origin[key]),)
                yield Problem(document=entry.document, key=("default_shims", i), message=message, related=related)


@rule("KB258", "a chart that supports other architectures than there are components for", acceptable=True)
def chart_architectures(manifests: Manifests) -> Iterator[Problem]:
    """The chart's architectures of a shim and its rows in the component map differ.

    Where the chart supports more, a node asks for components that do not exist; where it supports less, nobody can select them.
    Without "arches", the chart follows the component map.

    Repair: correct the chart's "arches", or the component map.

    False alarm: an architecture whose components are built but not offered yet: accept it in ignores.toml.
    """
    document, rows = manifests.shims.document, manifests.component_map.model.shims
    for name, shim in manifests.shims.model.shims.items():
        chart = manifests.chart(name)
        if shim.status != "active" or name not in rows or "arches" not in chart.values:
            continue
        for i, arch in enumerate(chart.values["arches"]):
            if arch not in rows[name]:
                message = f'the chart supports "{name}" on "{arch}", where it has no components'
                row: KeyPath = ("shims", name)
                related = ((manifests.component_map.document, row),)
                yield Problem(document=document, key=(*chart.origin["arches"], i), message=message, related=related)
        for arch in rows[name]:
            if arch not in chart.values["arches"]:
                message = f'the chart does not support "{name}" on "{arch}", where it has components'
                related = ((manifests.component_map.document, ("shims", name, arch)),)
                yield Problem(document=document, key=chart.origin["arches"], message=message, related=related)


@rule("KB259", "a default list that is neither complete nor a declared part", acceptable=True)
def declared_defaults(manifests: Manifests) -> Iterator[Problem]:
    """A shim has components on an architecture, and is neither among its default shims nor left out with a reason.

    The default list is all that can be installed there, but for what "left_out" names. A shim that is in both, or that is left
    out where it has no components, is found too.

    Repair: add the shim to "default_shims", or to the table "left_out" with the reason.

    False alarm: none; "left_out" is the place for exceptions.
    """
    shims, rows = manifests.shims.model.shims, manifests.component_map.model.shims
    for arch, entry in manifests.arches.items():
        installed, left_out = set(entry.model.default_shims), entry.model.left_out
        for name, row in rows.items():
            if arch.value not in row or name not in shims or shims[name].status != "active":
                continue
            if name not in installed and name not in left_out:
                message = f'"{name}" has components on {arch}, and is neither a default shim nor left out'
                related = ((manifests.component_map.document, ("shims", name, arch.value)),)
                yield Problem(document=entry.document, key=("default_shims",), message=message, of_key=True, related=related)
        for name in left_out:
            if name in installed:
                message = f'"{name}" is left out and a default shim'
                yield Problem(document=entry.document, key=("left_out", name), message=message, of_key=True)
            elif name in rows and arch.value not in rows[name]:
                message = f'"{name}" is left out on {arch}, where it has no components'
                yield Problem(document=entry.document, key=("left_out", name), message=message, of_key=True)
