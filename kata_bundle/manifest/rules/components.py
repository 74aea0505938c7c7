"""Rules about single components: facts that are missing or contradict each other, and what components are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.layers import Layered
    from kata_bundle.manifest.models import FamilyEntry
    from kata_bundle.manifest.positions import KeyPath

__all__ = ["REQUIRED_FACTS", "components_are_complete", "consistent_components", "dependency_cycles"]

REQUIRED_FACTS = ("kind", "licence", "method", "arches", "outputs", "scripts", "version_keys")
"""What the component or one of its groups has to say."""


@rule("KB214", "a component without a fact that every component has")
def components_are_complete(manifests: Manifests) -> Iterator[Problem]:
    """Neither the component nor any of its groups gives its kind, licence, method, architectures, outputs or scripts.

    Repair: add the fact to the component or to one of its groups.

    False alarm: none.
    """
    document, model = manifests.components.document, manifests.components.model
    for name in model.components:
        values = manifests.facts(name).values
        for key in REQUIRED_FACTS:
            if values.get(key) is None or (values[key] == [] and key == "outputs"):
                message = f'component "{name}" has no "{key}", and no group of it gives one'
                entry = model.components[name]
                groups = ((document, ("components", name, "groups")), *((document, ("groups", group)) for group in entry.groups))
                yield Problem(document=document, key=("components", name), message=message, of_key=True, related=groups)


@rule("KB218", "contradictory facts about a component")
def consistent_components(manifests: Manifests) -> Iterator[Problem]:
    """Facts of one component exclude each other.

    A component of the kind "flag" names its flag, others have none; an unused component is built nowhere, others somewhere; what
    is said per architecture is said for architectures on which the component is built; a root hash has a variant; what is built
    has a job.

    Repair: correct one of the facts that the message names.

    False alarm: a group may speak of more architectures than each of its components has; that is no finding.
    """
    document, model = manifests.components.document, manifests.components.model
    for name in model.components:
        facts = manifests.facts(name)
        for key, message in _contradictions(facts):
            where: KeyPath = facts.origin.get(key, ("components", name))
            related = [(document, facts.origin[other]) for other in _TOGETHER.get(key, ()) if other in facts.origin]
            related.append((document, ("components", name, "groups")))
            yield Problem(
                document=document,
                key=where,
                message=f'component "{name}": {message}',
                of_key=len(where) == 2,
                related=tuple(related),
            )
        for family, entry in _families(manifests):
            if entry.component == name and facts.values.get("configurations") != family:
                where = facts.origin.get("configurations", ("components", name))
                message = f'component "{name}" is that of the family "{family}", but does not have its configurations'
                yield Problem(document=document, key=where, message=message, of_key=len(where) == 2)


def _families(manifests: Manifests) -> list[tuple[str, FamilyEntry]]:
    return [] if manifests.shims_or_none is None else list(manifests.shims.model.families.items())


_TOGETHER = {
    "kind": ("flag",),
    "flag": ("kind",),
    "variant": ("measured",),
    "measured": ("variant",),
    "arches": ("kind", "job"),
    "method": ("scripts", "version_keys"),
    "release": ("arches",),
}
"""Facts that a contradiction about one is about too."""


_PER_ARCH = ("method_on", "features_on", "paths_on", "removal_job_on", "not_measured_on")


def _contradictions(facts: Layered) -> Iterator[tuple[str, str]]:
    values = facts.values
    kind, arches = values.get("kind"), values.get("arches")
    if kind == "flag" and values.get("flag") is None:
        yield "kind", 'the kind "flag" needs the name of the flag'
    if kind not in {None, "flag"} and values.get("flag") is not None:
        yield "flag", f'a component of the kind "{kind}" is not brought in by a flag'
    yield from _method(values)
    if values.get("measured") and values.get("variant") is None:
        yield "measured", "a root hash needs a variant"
    if values.get("variant") is not None and not values.get("measured"):
        yield "variant", "a variant names a root hash, but the component is not measured"
    if arches is None:
        return
    if kind == "unused" and arches:
        yield "arches", "an unused component is built nowhere"
    if kind not in {None, "unused"} and not arches:
        yield "arches", f'a component of the kind "{kind}" is built somewhere'
    if arches and values.get("job") is None:
        yield "arches", "what is built has a job"
    for key in _PER_ARCH:
        wrong = [arch for arch in values.get(key) or () if arch not in arches]
        # A group may speak of more architectures than each of its components has.
        if wrong and facts.origin[key][0] == "components" and key != "not_measured_on":
            yield key, f'"{key}" speaks of {", ".join(wrong)}, where the component is not built'
    for family, on in (values.get("release") or {}).items():
        wrong = [arch for arch in on if arch not in arches]
        if wrong:
            yield "release", f"the {family} release has it on {', '.join(wrong)}, where it is not built"


def _method(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    scripts = values.get("scripts")
    if scripts is not None and values.get("method") is not None:
        for method, mark in (("osbuilder", "tools/osbuilder"), ("genprotimg", "build_se_image.sh")):
            if (values["method"] == method) != any(mark in text for text in scripts):
                yield "method", f'the method "{values["method"]}" does not fit its scripts'
    if (values.get("method") in {"copied script", "genprotimg"}) != (values.get("version_keys") == []):
        yield "method", "what is copied or sealed reads no version, and everything else reads one"


@rule("KB219", "components that are made from each other")
def dependency_cycles(manifests: Manifests) -> Iterator[Problem]:
    """Following "build_depends_on" from a component leads back to it, so that none of them can be made first.

    Repair: remove one of the dependencies of the circle.

    False alarm: none.
    """
    document, model = manifests.components.document, manifests.components.model
    parents = {name: list(manifests.facts(name).values.get("build_depends_on") or ()) for name in model.components}
    done: set[str] = set()
    for root in parents:
        trail: dict[str, int] = {root: 0}
        stack = [] if root in done else [root]
        while stack:
            name = stack[-1]
            if trail[name] == len(parents.get(name, ())):
                stack.pop()
                del trail[name]
                done.add(name)
                continue
            step = trail[name]
            trail[name] += 1
            parent = parents[name][step]
            if parent in trail:
                circle = [*stack[stack.index(parent) :], parent]
                origin = manifests.facts(name).origin["build_depends_on"]
                yield Problem(document=document, key=(*origin, step), message=f"a circle: {' ← '.join(circle)}")
            elif parent not in done:
                trail[parent] = 0
                stack.append(parent)
