"""Rules about what a cell's components hold together: every file named is there once, and nothing is there for nothing."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from kata_bundle.manifest.layers import PREFIX
from kata_bundle.manifest.rules.compare import siblings_of_families
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.context import Cell, Manifests
    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath

__all__ = [
    "dangling_links",
    "files_of_two_owners",
    "missing_files",
    "same_optional_components",
    "two_providers",
    "unreferenced_components",
]

_WITH_DAEMON = {"virtio-fs", "virtio-fs-nydus"}
_SINGLE = ("hypervisor_path", "kernel", "firmware", "firmware_volume")


def _named(manifests: Manifests, cell: Cell) -> Iterator[tuple[str, str, KeyPath]]:
    """Yield (key, path below the prefix, origin) of every file below the prefix that the cell's configuration makes use of."""
    config = manifests.config(cell.shim, cell.arch)
    values = config.values
    found: list[tuple[str, str, KeyPath]] = [(key, values[key], config.origin[key]) for key in _SINGLE if values.get(key)]
    initrd = "installed_initrd" if values.get("installed_initrd") else "initrd"
    if values.get(initrd):
        found.append((initrd, values[initrd], config.origin[initrd]))
    if values.get("image") and not values.get("installed_initrd"):
        found.append(("image", values["image"], config.origin["image"]))
    # Without a shared file system, the daemon that a file still names is never started.
    if values.get("virtio_fs_daemon") and values.get("shared_fs") in _WITH_DAEMON:
        found.append(("virtio_fs_daemon", values["virtio_fs_daemon"], config.origin["virtio_fs_daemon"]))
    origin = config.origin.get("guest_extension_images", ())
    found += [("guest_extension_images", path, (*origin, i)) for i, path in enumerate(values.get("guest_extension_images") or ())]
    shim = manifests.shims.model.shims[cell.shim]
    if shim.hypervisor == "firecracker" and values.get("hypervisor_path"):
        jailer = f"{posixpath.dirname(values['hypervisor_path'])}/jailer"
        found.append(("jailer_path", jailer, config.origin["hypervisor_path"]))
    for key, path, where in found:
        if path.startswith(f"{PREFIX}/") and not path.endswith("/"):
            yield key, path.removeprefix(f"{PREFIX}/"), where


def _configured_cells(manifests: Manifests) -> Iterator[Cell]:
    shims = manifests.shims.model.shims
    for cell in manifests.cells():
        if cell.arch.value in shims[cell.shim].configured_on:
            yield cell


class _Names:
    """How many cells take a path from one origin, and how many of them find it in no component that they list."""

    def __init__(self) -> None:
        self.all = 0
        self.missing: list[tuple[Cell, str]] = []


@rule("KB226", "a file that no component of the cell has", acceptable=True)
def missing_files(manifests: Manifests) -> Iterator[Problem]:
    """A configuration names a file below the prefix, and no component that the cell lists provides it.

    The closure of the cell is installed without the file, and the first pod fails. Where no component at all has the file, or
    most shims that take the value from one place miss it, the finding stands at the value, else at the cell's row.

    Repair: list the component that has the file, or correct the path. The message names a component that has it.

    False alarm: a component's "paths" in components.toml may lack a file that it does have: add it there.
    """
    names: dict[tuple[KeyPath, str, Arch], _Names] = {}
    for cell in _configured_cells(manifests):
        for key, path, origin in _named(manifests, cell):
            entry = names.setdefault((origin, path, cell.arch), _Names())
            entry.all += 1
            if not any(manifests.outputs(name, cell.arch).provide(path) for name in cell.components):
                entry.missing.append((cell, key))
    owners: dict[Arch, dict[str, list[str]]] = {}
    for (origin, path, arch), entry in names.items():
        if not entry.missing:
            continue
        if arch not in owners:
            owners[arch] = _owners(manifests, arch)
        having = owners[arch].get(path, [])
        at_value = not having or (entry.all > 1 and 2 * len(entry.missing) > entry.all)
        hint = f'"{having[0]}" has it' if having else None
        for cell, key in entry.missing[:1] if at_value else entry.missing:
            message = f'no component of "{cell.shim}" on {arch} has "{path}", its "{key}"'
            row: KeyPath = ("shims", cell.shim, arch.value)
            if at_value:
                related = (
                    (manifests.component_map.document, row),
                    (manifests.shims.document, ("shims", cell.shim, "config")),
                    (manifests.shims.document, ("shims", cell.shim, "groups")),
                )
                yield Problem(document=manifests.shims.document, key=origin, message=message, hint=hint, related=related)
            else:
                shims = manifests.shims.document
                back = tuple((shims, place) for place in (origin, *(("shims", cell.shim, part) for part in ("config", "groups"))))
                document = manifests.component_map.document
                yield Problem(document=document, key=row, message=message, hint=hint, related=back)


def _owners(manifests: Manifests, arch: Arch) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in manifests.components.model.components:
        for path in manifests.outputs(name, arch).files:
            found.setdefault(path, []).append(name)
    return found


@rule("KB227", "a file that two components of the cell have", acceptable=True)
def two_providers(manifests: Manifests) -> Iterator[Problem]:
    """A configuration names a file that two components of its cell provide.

    Which one is installed depends on their order.

    Repair: remove one of the components from the cell, or correct the "paths" of the one that does not have the file.

    False alarm: none known. Two components that have the same link are no finding unless a configuration names it.
    """
    for cell in _configured_cells(manifests):
        for key, path, _ in _named(manifests, cell):
            having = [name for name in cell.components if manifests.outputs(name, cell.arch).provide(path)]
            for name in dict.fromkeys(having):
                if name != having[0]:
                    message = f'"{path}", the "{key}" of "{cell.shim}" on {cell.arch}, is in "{having[0]}" and in "{name}"'
                    row = manifests.component_map.model.shims[cell.shim][cell.arch.value]
                    where: KeyPath = ("shims", cell.shim, cell.arch.value, row.index(name))
                    related = ((manifests.components.document, ("components", name)),)
                    yield Problem(document=manifests.component_map.document, key=where, message=message, related=related)


@rule("KB228", "a component that the cell's configuration does not name", acceptable=True)
def unreferenced_components(manifests: Manifests) -> Iterator[Problem]:
    """A cell lists a component of which its configuration names no file.

    It is downloaded and installed for nothing, or the configuration names another component's file by mistake.

    Repair: remove the component from the cell, correct the configuration, or say in components.toml with "optional" why a cell
    may list it although nothing names it.

    False alarm: a component that is needed in another way than through the configuration: accept it in ignores.toml.
    """
    components = manifests.components.model.components
    families = {entry.component for entry in manifests.shims.model.families.values()}
    for cell in _configured_cells(manifests):
        paths = [path for _, path, _ in _named(manifests, cell)]
        row = manifests.component_map.model.shims[cell.shim][cell.arch.value]
        for i, name in enumerate(row):
            if name not in components or name in families or manifests.facts(name).values.get("optional"):
                continue
            outputs = manifests.outputs(name, cell.arch)
            if not any(outputs.provide(path) for path in paths):
                message = f'the configuration of "{cell.shim}" on {cell.arch} names nothing of "{name}"'
                where: KeyPath = ("shims", cell.shim, cell.arch.value, i)
                related = ((manifests.shims.document, ("shims", cell.shim, "groups")),)
                yield Problem(document=manifests.component_map.document, key=where, message=message, related=related)


@rule("KB237", "an optional component that a sibling has", acceptable=True)
def same_optional_components(manifests: Manifests) -> Iterator[Problem]:
    """A cell lacks an optional component that the same shim has on another architecture, or in the other runtime family.

    No configuration names an optional component, so nothing else would tell that one was forgotten.

    Repair: list the component, or remove it from the sibling.

    False alarm: a component that is of no use there although it is built: accept it in ignores.toml.
    """
    rows = {(cell.shim, cell.arch): cell for cell in manifests.cells()}
    pairs = dict(siblings_of_families(manifests))
    twins = pairs | {rust: go for go, rust in pairs.items()}
    by_shim: dict[str, list[Cell]] = {}
    for cell in rows.values():
        by_shim.setdefault(cell.shim, []).append(cell)
    optional = {name for name in manifests.components.model.components if manifests.facts(name).values.get("optional")}
    for cell in rows.values():
        twin = rows.get((twins.get(cell.shim, ""), cell.arch))
        others = [other for other in by_shim[cell.shim] if other is not cell] + ([twin] if twin else [])
        told: set[str] = set()
        for other in others:
            for name in other.components:
                if name not in optional or name in cell.components or name in told:
                    continue
                if cell.arch.value not in (manifests.facts(name).values.get("arches") or ()):
                    continue
                told.add(name)
                message = f'"{cell.shim}" on {cell.arch} lacks "{name}", which "{other.shim}" has on {other.arch}'
                document = manifests.component_map.document
                related = ((document, ("shims", other.shim, other.arch.value)),)
                where: KeyPath = ("shims", cell.shim, cell.arch.value)
                yield Problem(document=document, key=where, message=message, related=related)


def _links(rules: Mapping[str, Document], component: str, arch: Arch) -> Iterator[tuple[KeyPath, str, str, bool]]:
    """Yield (key, path, target, whether the target is another component's) of the links that a build rule makes."""
    document = rules.get(component)
    recipes: Any = document.data.get("recipes") if document is not None and isinstance(document.data, dict) else None
    for i, recipe in enumerate(recipes if isinstance(recipes, list) else ()):
        if not isinstance(recipe, dict) or arch.value not in recipe.get("arches", ()):
            continue
        for j, link in enumerate(recipe.get("links") or ()):
            if isinstance(link, dict) and isinstance(link.get("at"), str) and isinstance(link.get("to"), str):
                yield ("recipes", i, "links", j), link["at"], link["to"], bool(link.get("elsewhere"))


@rule("KB235", "a link to a file of a component that the cell does not list", acceptable=True)
def dangling_links(manifests: Manifests) -> Iterator[Problem]:
    """A component has a link into another component, and a cell lists only the first.

    The link is installed and leads nowhere. It is known from the build rule, where the link is marked "elsewhere".

    Repair: make the link in the component that has the target, or list that component wherever the link is.

    False alarm: a link that nothing follows in such a cell: accept it in ignores.toml.
    """
    rules = manifests.build_rules
    told: set[KeyPath] = set()
    for cell in manifests.cells():
        for name in cell.components:
            for key, at, target, elsewhere in _links(rules, name, cell.arch):
                path = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
                if not elsewhere or any(manifests.outputs(other, cell.arch).provide(path) for other in cell.components):
                    continue
                where = (name, *key)
                if where not in told:
                    told.add(where)
                    message = f'"{at}" of "{name}" leads to "{path}", which "{cell.shim}" on {cell.arch} does not have'
                    related = ((manifests.component_map.document, ("shims", cell.shim, cell.arch.value)),)
                    yield Problem(document=rules[name], key=(*key, "to"), message=message, related=related)


@rule("KB236", "a file of two components", acceptable=True)
def files_of_two_owners(manifests: Manifests) -> Iterator[Problem]:
    """Two components that can be installed together have the same file.

    Which of the two is there depends on the order of installation, and removing one takes the file from the other. Two links to
    the same target, as the build rules make them, are equal and no finding.

    Repair: remove the path from the component that does not have the file, or from one of the two builds.

    False alarm: two files whose content is always equal, which the build rules cannot show: accept it in ignores.toml.
    """
    rules = manifests.build_rules
    listed: dict[Arch, dict[str, None]] = {}
    for cell in manifests.cells():
        listed.setdefault(cell.arch, {}).update(dict.fromkeys(cell.components))
    told: set[tuple[str, str, str]] = set()
    for arch, names in listed.items():
        owners: dict[str, str] = {}
        for name in names:
            outputs = manifests.outputs(name, arch)
            for path in sorted((*outputs.files, *outputs.folders)):
                first = owners.setdefault(path, name)
                if first == name or (first, name, path) in told:
                    continue
                target = _target(rules, name, arch, path)
                if target is not None and target == _target(rules, first, arch, path):
                    continue
                told.add((first, name, path))
                document = manifests.components.document
                message = f'"{path}" is in "{first}" and in "{name}" on {arch}'
                related = ((document, _place(manifests, first)),)
                yield Problem(document=document, key=_place(manifests, name), message=message, related=related)


def _place(manifests: Manifests, component: str) -> KeyPath:
    origin = manifests.facts(component).origin
    return origin.get("paths_on") or (
        origin["paths"] if origin.get("paths", ("",))[0] == "components" else ("components", component)
    )


def _target(rules: Mapping[str, Document], component: str, arch: Arch, path: str) -> str | None:
    return next((target for _, at, target, _ in _links(rules, component, arch) if at == path), None)
