"""Rules about sizes: budgets that can hold, and what was packed against them.

Knows: budgets of components.toml, and the sizes of packed components where somebody weighed a bundle. Must not know: how a bundle
is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.positions import KeyPath

__all__ = ["budgets_hold", "packed_sizes"]

_KEY = "size_budget_bytes"
_MIB = 1 << 20


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _MIB:.1f} MiB" if size_bytes >= _MIB else f"{size_bytes} bytes"


def _budgets(manifests: Manifests) -> dict[str, tuple[int, KeyPath]]:
    """Return the budget of every component that has one, and where it stands."""
    found: dict[str, tuple[int, KeyPath]] = {}
    for name in manifests.components.model.components:
        facts = manifests.facts(name)
        budget = facts.values.get(_KEY)
        if budget is not None:
            found[name] = budget, (*facts.origin[_KEY], *(() if facts.origin[_KEY][-1] == _KEY else (_KEY,)))
    return found


def _released(manifests: Manifests) -> dict[tuple[str, str], list[str]]:
    """Return the components of every release bundle, by runtime family and architecture."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in manifests.components.model.components:
        for family, arches in (manifests.facts(name).values.get("release") or {}).items():
            for arch in arches:
                found.setdefault((family, arch), []).append(name)
    return found


@rule("KB282", "a size budget that does not hold", acceptable=True)
def budgets_hold(manifests: Manifests) -> Iterator[Problem]:
    """Declared size budgets contradict each other: every component can keep its own, and the release still grows too large.

    The budget of release bundles has to be below their size limit; the budgets of all components in a bundle together have to fit
    into it on every architecture; where one component of a bundle has a budget, all have. A budget is a whole number of MiB.

    Repair: lower the largest budget, raise that of the bundles while it stays below the limit, or give the component a budget.

    False alarm: components that share their content, so that the sum is never reached.
    """
    release, document = manifests.components.model.release, manifests.components.document
    place: KeyPath = ("release", _KEY)
    whole = release.size_budget_bytes
    if whole is not None and whole > release.size_limit_bytes:
        message = f"the budget of {whole} bytes is above the limit of {release.size_limit_bytes}"
        related = ((document, ("release", "size_limit_bytes")),)
        yield Problem(document=document, key=place, message=message, related=related)
    budgets = _budgets(manifests)
    for budget, where in dict.fromkeys([*budgets.values(), *([] if whole is None else [(whole, place)])]):
        if budget % _MIB or not budget:
            message = f"expected a whole number of MiB ({_MIB} bytes), found {budget}"
            yield Problem(document=document, key=where, message=message)
    limit, limit_at = (whole, place) if whole is not None else (release.size_limit_bytes, ("release", "size_limit_bytes"))
    lacking: dict[str, str] = {}
    for (family, arch), names in _released(manifests).items():
        having = {name: budgets[name] for name in names if name in budgets}
        if not having:
            continue
        lacking.update({name: f"{family} bundle on {arch}" for name in names if name not in budgets and name not in lacking})
        total = sum(budget for budget, _ in having.values())
        if total > limit:
            largest = max(having, key=lambda name: having[name][0])
            message = (
                f"the budgets of the {family} bundle on {arch} are {_size(total)} together, more than its {_size(limit)}; "
                f'the largest is that of "{largest}"'
            )
            beside = ((document, limit_at),)
            yield Problem(document=document, key=having[largest][1], message=message, related=beside)
    for name, where_it_is in lacking.items():
        message = f'"{name}" has no size budget, but other components of the {where_it_is} have'
        yield Problem(document=document, key=("components", name), message=message, of_key=True)


@rule("KB283", "larger than its budget", acceptable=True)
def packed_sizes(manifests: Manifests) -> Iterator[Problem]:
    """A packed component is larger than its budget, or those of a release bundle together are larger than the bundle may be.

    It is looked for when a bundle is weighed: `kata-bundle check --weigh BUNDLE`. Sizes are those of packed layers, as they are
    published. Components that the bundle does not hold count nothing.

    Repair: find out what grew (`kata-bundle diff` of two bundles says it by file), and make it smaller, or raise the budget.

    False alarm: none.
    """
    weights = manifests.weights
    budgets, document = _budgets(manifests), manifests.components.document
    for (name, arch), size in sorted(weights.items()):
        if name in budgets and size > budgets[name][0]:
            budget, where = budgets[name]
            message = f'"{name}" on {arch} is packed in {_size(size)}, its budget is {_size(budget)}'
            yield Problem(document=document, key=where, message=message)
    release = manifests.components.model.release
    for (family, arch_name), names in _released(manifests).items():
        total = sum(weights.get((name, Arch(arch_name)), 0) for name in names)
        for what, key, most in (
            ("the limit", "size_limit_bytes", release.size_limit_bytes),
            ("the budget", _KEY, release.size_budget_bytes),
        ):
            if most is not None and total >= most:
                message = f"the {family} bundle on {arch_name} is {_size(total)}, {what} is {_size(most)}"
                yield Problem(document=document, key=("release", key), message=message)
                break
