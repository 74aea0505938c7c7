"""Rules about what an architecture installs when nobody chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests

__all__ = ["default_shim_is_a_default", "defaults_have_rows", "every_architecture_has_defaults", "incomplete_defaults"]


@rule("KB209", "an architecture without defaults")
def every_architecture_has_defaults(manifests: Manifests) -> Iterator[Problem]:
    """The component map has rows for an architecture for which there is no document in "arches".

    Without defaults, an installation that names no shims would have to guess.
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
    """
    for entry in manifests.arches.values():
        if entry.model.default_shim not in entry.model.default_shims:
            message = f'the default shim "{entry.model.default_shim}" is not among the default shims'
            yield Problem(document=entry.document, key=("default_shim",), message=message)


@rule("KB211", "a default shim without components on its architecture", acceptable=True)
def defaults_have_rows(manifests: Manifests) -> Iterator[Problem]:
    """A default shim has no row for that architecture in the component map.

    A default installation would have to leave it out, or fail.
    """
    rows = manifests.component_map.model.shims
    for arch, entry in manifests.arches.items():
        for i, name in enumerate(entry.model.default_shims):
            if name in rows and arch.value not in rows[name]:
                message = f'the default shim "{name}" has no components on {arch}'
                yield Problem(document=entry.document, key=("default_shims", i), message=message)


@rule("KB213", "an incomplete shim among the defaults")
def incomplete_defaults(manifests: Manifests) -> Iterator[Problem]:
    """A default list names an alias or an unfinished shim. Defaults name complete shims only."""
    shims = manifests.shims.model.shims
    for entry in manifests.arches.values():
        for i, name in enumerate(entry.model.default_shims):
            shim = shims.get(name)
            if shim is not None and shim.status != "active":
                message = f'the default shim "{name}" has the status "{shim.status}"'
                yield Problem(document=entry.document, key=("default_shims", i), message=message)
