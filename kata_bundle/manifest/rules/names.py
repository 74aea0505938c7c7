"""Rules about names: every name that is used exists, exactly once, and every name that exists is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath

__all__ = ["duplicates", "unknown_architectures", "unknown_components", "unknown_names", "unknown_shims", "unused_definitions"]


@rule("KB201", "unknown shim")
def unknown_shims(manifests: Manifests) -> Iterator[Problem]:
    """A shim is named that shims.toml does not have.

    shims.toml is the registry of shims. The component map, the default lists, RuntimeClasses and aliases may only name what is
    there; a misspelt name would be a shim that nobody can install.

    Repair: correct the name, or add the shim to shims.toml.

    False alarm: none.
    """
    known = manifests.shims.model.shims
    for document, key, name, of_key in _shim_references(manifests):
        if name not in known:
            yield Problem(
                document=document,
                key=key,
                message=f'"{name}" is not a shim of shims.toml',
                hint=did_you_mean(name, known),
                of_key=of_key,
                related=((manifests.shims.document, ("shims",)),),
            )


def _shim_references(manifests: Manifests) -> Iterator[tuple[Document, KeyPath, str, bool]]:
    if manifests.map_or_none is not None:
        for name in manifests.map_or_none.model.shims:
            yield manifests.map_or_none.document, ("shims", name), name, True
    for entry in manifests.arches.values():
        yield entry.document, ("default_shim",), entry.model.default_shim, False
        for i, name in enumerate(entry.model.default_shims):
            yield entry.document, ("default_shims", i), name, False
        for name in entry.model.left_out:
            yield entry.document, ("left_out", name), name, True
    if manifests.classes_or_none is not None:
        for name in manifests.classes_or_none.model.classes:
            yield manifests.classes_or_none.document, ("classes", name), name, True
    shims = manifests.shims
    for shim, facts in shims.model.shims.items():
        if facts.alias_of is not None:
            yield shims.document, ("shims", shim, "alias_of"), facts.alias_of, False


@rule("KB202", "unknown architecture document")
def unknown_architectures(manifests: Manifests) -> Iterator[Problem]:
    """The folder "arches" holds a file that is not named after an architecture.

    Each file there is "<architecture>.toml" with uname's name. Anything else would never be read.

    Repair: rename the file, or move it elsewhere. Hidden files are not looked at.

    False alarm: none.
    """
    known = [f"{arch}.toml" for arch in Arch]
    for name in manifests.arch_files:
        if name not in known:
            hint = did_you_mean(name, known)
            for arch in Arch:
                if name == f"{arch.go_name}.toml":
                    hint = f'manifests use uname\'s names: "{arch}.toml"'
            yield Problem(
                document=manifests.missing(f"arches/{name}"),
                key=(),
                message=f'"{name}" is not named after an architecture',
                hint=hint,
            )


@rule("KB203", "unknown name within a document")
def unknown_names(manifests: Manifests) -> Iterator[Problem]:
    """A group, list, hypervisor, family, overhead source or TEE is named that its document does not define.

    Shims and components take settings from named groups; a misspelt group would leave them out in silence.

    Repair: correct the name, or define it.

    False alarm: none.
    """
    for reference in _shim_names(manifests):
        yield from reference
    for reference in _component_names(manifests):
        yield from reference
    for reference in _class_names(manifests):
        yield from reference


_TABLES = {
    "family": "families",
    "hypervisor": "hypervisors",
    "group": "groups",
    "profile": "profiles",
    "list": "lists",
    "source": "sources",
    "TEE": "tees",
}


def _unless_known(document: Document, key: KeyPath, name: str, known: Collection[str], what: str) -> Iterator[Problem]:
    if name not in known:
        yield Problem(
            document=document,
            key=key,
            message=f'"{name}" is not a {what} of this document',
            hint=did_you_mean(name, known),
            related=((document, (_TABLES[what],)),),
        )


def _shim_names(manifests: Manifests) -> Iterator[Iterator[Problem]]:
    if manifests.shims_or_none is None:
        return
    document, model = manifests.shims.document, manifests.shims.model
    for name, shim in model.shims.items():
        where = ("shims", name)
        yield _unless_known(document, (*where, "family"), shim.family, model.families, "family")
        yield _unless_known(document, (*where, "hypervisor"), shim.hypervisor, model.hypervisors, "hypervisor")
        for i, group in enumerate(shim.groups):
            yield _unless_known(document, (*where, "groups", i), group, model.groups, "group")
        for i, profile in enumerate(shim.profiles):
            yield _unless_known(document, (*where, "profiles", i), profile, model.profiles, "profile")


def _component_names(manifests: Manifests) -> Iterator[Iterator[Problem]]:
    if manifests.components_or_none is None:
        return
    document, model = manifests.components.document, manifests.components.model
    for name, component in model.components.items():
        for i, group in enumerate(component.groups):
            yield _unless_known(document, ("components", name, "groups", i), group, model.groups, "group")
    for where, items in _listed(manifests):
        for i, item in enumerate(items):
            if item.startswith("@"):
                yield _unless_known(document, (*where, i), item[1:], model.lists, "list")


def _listed(manifests: Manifests) -> Iterator[tuple[KeyPath, list[str]]]:
    model = manifests.components.model
    for name, component in model.components.items():
        yield ("components", name, "cache_key"), component.cache_key or []
    for name, group in model.groups.items():
        yield ("groups", name, "cache_key"), group.cache_key or []
    for name, items in model.lists.items():
        yield ("lists", name), items


def _class_names(manifests: Manifests) -> Iterator[Iterator[Problem]]:
    if manifests.classes_or_none is None:
        return
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    shims = {} if manifests.shims_or_none is None else manifests.shims.model.shims
    for name, entry in model.classes.items():
        where = ("classes", name, "overhead", "source")
        yield _unless_known(document, where, entry.overhead.source, model.sources, "source")
        tee = shims[name].tee if name in shims else None
        if tee is not None:
            yield _unless_known(document, ("classes", name), tee, model.tees, "TEE")


@rule("KB204", "unknown component")
def unknown_components(manifests: Manifests) -> Iterator[Problem]:
    """A component is named that components.toml does not have.

    Cells of the component map, shim families, QEMU artifacts and build dependencies may only name what is there. A cell that
    lists an unknown component asks for a tarball that nobody makes.

    Repair: correct the name, or add the component to components.toml.

    False alarm: none.
    """
    known = manifests.components.model.components
    for document, key, name, context in _component_references(manifests):
        if name not in known:
            yield Problem(
                document=document,
                key=key,
                message=f'{context} "{name}", which is not a component of components.toml',
                hint=did_you_mean(name, known),
                related=((manifests.components.document, ("components",)),),
            )


def _component_references(manifests: Manifests) -> Iterator[tuple[Document, KeyPath, str, str]]:
    if manifests.map_or_none is not None:
        document = manifests.map_or_none.document
        for shim, row in manifests.map_or_none.model.shims.items():
            for arch, names in row.items():
                for i, name in enumerate(names):
                    yield document, ("shims", shim, arch, i), name, f'shim "{shim}" on {arch} needs'
    if manifests.shims_or_none is not None:
        document, model = manifests.shims.document, manifests.shims.model
        for family, entry in model.families.items():
            yield document, ("families", family, "component"), entry.component, f'family "{family}" has its shims in'
        for shim, facts in model.shims.items():
            if facts.qemu_artifact is not None:
                yield document, ("shims", shim, "qemu_artifact"), facts.qemu_artifact, f'shim "{shim}" has its QEMU in'
    components = manifests.components
    layers = [
        *((("components", name), component) for name, component in components.model.components.items()),
        *((("groups", name), group) for name, group in components.model.groups.items()),
    ]
    for where, layer in layers:
        for i, name in enumerate(layer.build_depends_on or []):
            yield components.document, (*where, "build_depends_on", i), name, f'"{where[1]}" is made from'


@rule("KB205", "the same entry twice in a list")
def duplicates(manifests: Manifests) -> Iterator[Problem]:
    """A list names the same thing twice.

    No list of the manifests counts its entries, so the second one is a left-over, or stands where another name was meant.

    Repair: remove the second entry.

    False alarm: none; texts of "_comment" may repeat.
    """
    for document in manifests.documents():
        stack: list[tuple[KeyPath, object]] = [((), document.data)]
        while stack:
            where, value = stack.pop()
            if isinstance(value, dict):
                stack += [((*where, key), item) for key, item in value.items() if key != "_comment"]
            elif isinstance(value, list):
                seen: dict[str, int] = {}
                for i, item in enumerate(value):
                    if item in seen:
                        first = ((document, (*where, seen[item])),)
                        message = f'"{item}" stands twice in this list'
                        yield Problem(document=document, key=(*where, i), message=message, related=first)
                    seen.setdefault(item, i)


@rule("KB206", "a definition that nothing uses", severity=Severity.WARNING)
def unused_definitions(manifests: Manifests) -> Iterator[Problem]:
    """A group, list, hypervisor, overhead source or TEE is defined and never used.

    It may be left over, or the place that ought to use it names another one.

    Repair: remove the definition, or name it where it was meant.

    False alarm: a definition that is kept for later: remove it until then.
    """
    if manifests.shims_or_none is not None:
        document, model = manifests.shims.document, manifests.shims.model
        groups = {group for shim in model.shims.values() for group in shim.groups}
        yield from _unless_used(document, "groups", model.groups, groups, "group")
        hypervisors = {shim.hypervisor for shim in model.shims.values()}
        yield from _unless_used(document, "hypervisors", model.hypervisors, hypervisors, "hypervisor")
        profiles = {profile for shim in model.shims.values() for profile in shim.profiles}
        for i, name in enumerate(model.profiles):
            if name not in profiles:
                message = f'profile "{name}" is defined and never used'
                yield Problem(document=document, key=("profiles", i), message=message)
    if manifests.components_or_none is not None:
        document, facts = manifests.components.document, manifests.components.model
        groups = {group for component in facts.components.values() for group in component.groups}
        yield from _unless_used(document, "groups", facts.groups, groups, "group")
        lists = {item[1:] for _, items in _listed(manifests) for item in items if item.startswith("@")}
        yield from _unless_used(document, "lists", facts.lists, lists, "list")
    if manifests.classes_or_none is not None:
        document, classes = manifests.runtime_classes.document, manifests.runtime_classes.model
        sources = {entry.overhead.source for entry in classes.classes.values()}
        yield from _unless_used(document, "sources", classes.sources, sources, "source")
        tees = {shim.tee for shim in manifests.shims.model.shims.values() if shim.tee is not None}
        yield from _unless_used(document, "tees", classes.tees, tees, "TEE")


def _unless_used(document: Document, table: str, defined: Collection[str], used: Collection[str], what: str) -> Iterator[Problem]:
    for name in defined:
        if name not in used:
            message = f'{what} "{name}" is defined and never used'
            yield Problem(document=document, key=(table, name), message=message, of_key=True)
