"""Rules about cells, the (shim, architecture) pairs of the component map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests

__all__ = ["built_on_other_architectures", "empty_cells", "not_shipped", "rows_of_incomplete_shims", "shims_without_rows"]


@rule("KB207", "a cell without components")
def empty_cells(manifests: Manifests) -> Iterator[Problem]:
    """A shim has an architecture with no components, or no architecture at all.

    Every shim needs at least its shim component. An empty list does not mean "everything": it would install nothing.

    Repair: list the components, or remove the architecture or the shim.

    False alarm: none.
    """
    document, model = manifests.component_map.document, manifests.component_map.model
    for shim, row in model.shims.items():
        if not row:
            message = f'shim "{shim}" has no architecture'
            yield Problem(document=document, key=("shims", shim), message=message)
        for arch, components in row.items():
            if not components:
                message = f'shim "{shim}" has no components on {arch}'
                yield Problem(document=document, key=("shims", shim, arch), message=message)


@rule("KB208", "a shim without a row in the component map")
def shims_without_rows(manifests: Manifests) -> Iterator[Problem]:
    """A complete shim of shims.toml is not in the component map.

    It could be selected, but nothing would be installed for it. Add its row, or give it another status in shims.toml.

    Repair: add the row, or give the shim the status "alias" or "unfinished".

    False alarm: none.
    """
    shims = manifests.shims
    rows = manifests.component_map.model.shims
    for name, shim in shims.model.shims.items():
        if shim.status == "active" and name not in rows:
            message = f'shim "{name}" has no row in the component map'
            related = ((shims.document, ("shims", name)),)
            document = manifests.component_map.document
            yield Problem(document=document, key=("shims",), message=message, of_key=True, related=related)


@rule("KB212", "a row for an incomplete shim")
def rows_of_incomplete_shims(manifests: Manifests) -> Iterator[Problem]:
    """The component map has a row for a name that shims.toml calls an alias or unfinished.

    An alias has the components of the shim it stands for; an unfinished shim cannot be installed. Either the row or the status is
    wrong.

    Repair: remove the row, or correct the status.

    False alarm: none.
    """
    document, model = manifests.component_map.document, manifests.component_map.model
    shims = manifests.shims.model.shims
    for name in model.shims:
        shim = shims.get(name)
        if shim is not None and shim.status != "active":
            message = f'shim "{name}" has the status "{shim.status}", so it cannot have components'
            yield Problem(document=document, key=("shims", name), message=message, of_key=True)


@rule("KB215", "a component that is not built on the cell's architecture")
def built_on_other_architectures(manifests: Manifests) -> Iterator[Problem]:
    """A cell lists a component that components.toml does not build on that architecture.

    Its tarball would never exist. Either the component's "arches" lacks one, or the cell lists the wrong component.

    Repair: add the architecture to the component, or remove the component from the cell.

    False alarm: none.
    """
    document, model = manifests.component_map.document, manifests.component_map.model
    components = manifests.components.model.components
    for shim, row in model.shims.items():
        for arch, names in row.items():
            for i, name in enumerate(names):
                if name not in components:
                    continue
                arches = manifests.facts(name).values.get("arches")
                if arches is not None and arch not in arches:
                    built = f"on {', '.join(arches)} only" if arches else "nowhere"
                    message = f'shim "{shim}" needs "{name}" on {arch}, but it is built {built}'
                    yield Problem(document=document, key=("shims", shim, arch, i), message=message)


@rule("KB216", "a component that is not shipped in a cell")
def not_shipped(manifests: Manifests) -> Iterator[Problem]:
    """A cell lists an intermediate result, a tool, a component for a flag, or one that nothing ships.

    Only components of the kind "shipped" reach a node because a cell lists them.

    Repair: list another component, or correct the kind.

    False alarm: none.
    """
    document, model = manifests.component_map.document, manifests.component_map.model
    components = manifests.components.model.components
    for shim, row in model.shims.items():
        for arch, names in row.items():
            for i, name in enumerate(names):
                kind = manifests.facts(name).values.get("kind") if name in components else None
                if kind is not None and kind != "shipped":
                    message = f'shim "{shim}" needs "{name}" on {arch}, which is of the kind "{kind}"'
                    yield Problem(document=document, key=("shims", shim, arch, i), message=message)
