"""The question itself: does the same come out when it is made again elsewhere, and if not, what made the difference?

Must not know: how a build is run, how a verdict is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from kata_bundle.build.actionrules import ActionRecipe
from kata_bundle.build.components import build_plan, component_action, find_component
from kata_bundle.build.kinds import component_tree
from kata_bundle.build.repro.attempts import ActionAttempts, LayerAttempts, ProcessAttempts, input_bytes
from kata_bundle.build.repro.compare import compare_trees, holds_dates
from kata_bundle.build.repro.conditions import Condition, Host, plan_variation
from kata_bundle.build.sandbox import Backend, Limits, bubblewrap_problem
from kata_bundle.build.schedule import Cancelled
from kata_bundle.build.workshop import Workshop
from kata_bundle.core import clock
from kata_bundle.core.errors import BuildError
from kata_bundle.core.events import NO_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kata_bundle.build.action import Action
    from kata_bundle.build.repro.attempts import Attempt
    from kata_bundle.build.repro.compare import Difference
    from kata_bundle.build.repro.conditions import Variation
    from kata_bundle.build.rulebook import Rulebook, Target
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.core.tree import Tree
    from kata_bundle.store import Store

__all__ = ["RANDOM", "TOGETHER", "Origin", "Verdict", "check_action", "check_component", "check_layer"]

RANDOM: Final = "random"
"""Cause of what differs although nothing was changed."""
TOGETHER: Final = "together"
"""Cause of what differs only when several conditions are changed at once."""
_NEXT_SECOND_S: Final = 1.1


class Attempts(Protocol):
    """Something that can be made again and again."""

    def make(self, conditions: frozenset[Condition], clock_at: float | None = None) -> Attempt:
        """Return what comes out when ``conditions`` are changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What two builds of one thing showed."""

    name: str
    kind: str
    first: Tree
    second: Tree | None
    """``None`` when the second build failed."""
    failure: str
    """How it failed."""
    differences: tuple[Difference, ...]
    variation: Variation
    causes: tuple[str, ...] = ()
    """Conditions that make a difference by themselves, or one of :data:`RANDOM` and :data:`TOGETHER`; only when looked for."""
    stored: Digest | None = None
    """The tree that the store remembers for the same rule key."""
    is_hermetic: bool = True
    durations_s: tuple[float, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether both builds, and one that the store remembers, made the same."""
        return self.second is not None and not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, but for what the caller knows of the subject."""
        return {
            "kind": self.kind,
            "identical": self.is_same,
            "first": self.first.digest,
            "second": None if self.second is None else self.second.digest,
            "stored": self.stored,
            "failure": self.failure or None,
            "hermetic": self.is_hermetic,
            "varied": sorted(self.variation.varied),
            "not_varied": dict(self.variation.left),
            "causes": list(self.causes),
            "differences": [difference.to_dict() for difference in self.differences],
            "durations_s": [round(one, 2) for one in self.durations_s],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a rulebook was read from, so that another process can read it again."""

    manifests: Path | None = None
    """``None`` for the shipped ones, as with ``rules``."""
    rules: Path | None = None
    given: Mapping[str, Path] = field(default_factory=dict)
    """Folders of sources by name."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, with absolute paths."""
        return {
            "manifests": None if self.manifests is None else str(self.manifests.absolute()),
            "rules": None if self.rules is None else str(self.rules.absolute()),
            "sources": {name: str(folder.absolute()) for name, folder in self.given.items()},
        }


def check_component(
    book: Rulebook,
    store: Store,
    target: Target,
    *,
    vary: frozenset[Condition],
    find_cause: bool = False,
    workshop: Workshop | None = None,
    origin: Origin | None = None,
    cancelled: Cancelled | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verdict:
    """Make a component twice and return how the results compare; what it needs is made once, as usual, or found.

    ``origin`` says what ``book`` was read from (default: what is shipped). Raises :class:`BuildError` when the first build fails,
    and what :func:`build_component` raises.
    """
    recipe = book.recipe(target)
    workshop, cancelled, host = workshop or Workshop(), cancelled or Cancelled(), Host.look()
    progress.note(f"{target.text}: making it twice ({recipe.kind})")
    built = find_component(book, store, target)
    stored = None if built is None or not built.hermetic else built.tree
    if isinstance(recipe, ActionRecipe):
        action = component_action(book, store, target, workshop=workshop, progress=progress)
        memory = workshop.limits.memory_bytes if recipe.memory_mib is None else recipe.memory_mib << 20
        limits = Limits(output_bytes=workshop.limits.output_bytes, memory_bytes=memory)
        runs: Attempts = ActionAttempts(
            store=store,
            action=action,
            host=host,
            backend=workshop.backend,
            limits=limits,
            is_cancelled=cancelled.is_set,
            pick=lambda outputs: component_tree(outputs, target.component),
        )
        variation = plan_variation(vary, host, backend=workshop.backend, needs_bytes=input_bytes(action))
    else:
        build_plan(book, store, book.parents(target), jobs=1, workshop=workshop, progress=progress)
        request = {
            "component": target.component,
            "arch": target.arch.value,
            "profile": book.profile.value,
            **(origin or Origin()).to_dict(),
        }
        runs = ProcessAttempts(store=store, host=host, request=request, is_cancelled=cancelled.is_set)
        variation = plan_variation(vary, host, backend=_walls(), is_action=False)
    is_hermetic = workshop.backend.is_hermetic or not isinstance(recipe, ActionRecipe)
    return _check(
        store, runs, variation, name=target.text, kind=recipe.kind.value, find_cause=find_cause, cancelled=cancelled,
        stored=stored if is_hermetic else None, is_hermetic=is_hermetic, progress=progress,
    )  # fmt: skip


def check_action(
    store: Store,
    action: Action,
    *,
    vary: frozenset[Condition] = frozenset(Condition),
    backend: Backend = Backend.BUBBLEWRAP,
    find_cause: bool = False,
    host: Host | None = None,
    cancelled: Cancelled | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verdict:
    """Carry out ``action`` twice and return how its outputs compare; raises what :func:`execute` does for the first time."""
    host, cancelled = host or Host.look(), cancelled or Cancelled()
    runs = ActionAttempts(
        store=store,
        action=action,
        host=host,
        backend=backend,
        limits=Limits(),
        is_cancelled=cancelled.is_set,
        pick=lambda tree: tree,
    )
    variation = plan_variation(vary, host, backend=backend, needs_bytes=input_bytes(action))
    return _check(
        store, runs, variation, name=action.name, kind="action", find_cause=find_cause, cancelled=cancelled,
        stored=None, is_hermetic=backend.is_hermetic, progress=progress,
    )  # fmt: skip


def check_layer(
    store: Store,
    tree: Digest,
    target: Target,
    *,
    vary: frozenset[Condition],
    source_date: int,
    find_cause: bool = False,
    cancelled: Cancelled | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verdict:
    """Pack a component's tree twice and return how the layers' bytes compare."""
    host, cancelled = Host.look(), cancelled or Cancelled()
    request = {"component": target.component, "arch": target.arch.value, "tree": tree, "mtime": source_date}
    runs = LayerAttempts(store=store, host=host, request=request, is_cancelled=cancelled.is_set)
    variation = plan_variation(vary, host, backend=_walls(), is_action=False)
    return _check(
        store, runs, variation, name=f"{target.text}, packed", kind="layer", find_cause=find_cause, cancelled=cancelled,
        stored=None, is_hermetic=True, progress=progress,
    )  # fmt: skip


def _walls() -> Backend:
    """Return what a process of its own can have around it on this machine."""
    return Backend.BUBBLEWRAP if bubblewrap_problem() is None else Backend.NONE


def _check(
    store: Store,
    runs: Attempts,
    variation: Variation,
    *,
    name: str,
    kind: str,
    find_cause: bool,
    cancelled: Cancelled,
    stored: Digest | None,
    is_hermetic: bool,
    progress: Progress,
) -> Verdict:
    first = runs.make(frozenset())
    if Condition.TIME in variation.left:
        cancelled.wait(max(0.0, first.started_at + _NEXT_SECOND_S - clock.now()))
    progress.note(f"{name}: once more, changed: {', '.join(sorted(variation.varied)) or 'nothing'}")
    second, failure = _again(runs, variation.varied, cancelled)
    differences: tuple[Difference, ...] = ()
    if second is not None:
        differences = compare_trees(store, first.tree, second.tree)
        if not differences and stored is not None and stored != first.tree.digest:
            differences = compare_trees(store, store.get_tree(stored), first.tree)
            progress.note(f"{name}: the store remembers another result, which was made earlier")
    causes: tuple[str, ...] = ()
    if find_cause and (failure or (second is not None and second.tree.digest != first.tree.digest)):
        causes = _causes(store, runs, variation, first, cancelled, name, progress)
    for tree in (first.tree, *(() if second is None else (second.tree,))):
        store.put_tree(tree)
    return Verdict(
        name=name,
        kind=kind,
        first=first.tree,
        second=None if second is None else second.tree,
        failure=failure,
        differences=differences,
        variation=variation,
        causes=causes,
        stored=stored,
        is_hermetic=is_hermetic,
        durations_s=tuple(one.ended_at - one.started_at for one in (first, second) if one is not None),
    )


def _again(
    runs: Attempts, conditions: frozenset[Condition], cancelled: Cancelled, clock_at: float | None = None
) -> tuple[Attempt | None, str]:
    try:
        return runs.make(conditions, clock_at), ""
    except BuildError as error:
        # What is made at home and not elsewhere differs, too; being stopped says nothing.
        if cancelled.is_set():
            raise
        return None, str(error)


def _causes(  # noqa: PLR0917
    store: Store, runs: Attempts, variation: Variation, first: Attempt, cancelled: Cancelled, name: str, progress: Progress
) -> tuple[str, ...]:
    """Return what makes a difference, found by changing one condition at a time, the clock set back to the first build's."""

    def differing(conditions: frozenset[Condition]) -> tuple[Attempt | None, frozenset[str]]:
        progress.note(f"{name}: looking for the cause, changed: {', '.join(conditions) or 'nothing'}")
        made, failure = _again(runs, conditions, cancelled, first.started_at)
        if made is None:
            return None, frozenset({failure})
        return made, frozenset(one.path for one in compare_trees(store, first.tree, made.tree))

    plain, usual = differing(frozenset())
    causes: list[str] = []
    if usual:
        spans = tuple((one.started_at, one.ended_at) for one in (first, plain) if one is not None)
        is_date = plain is not None and holds_dates(
            store, first.tree, plain.tree, [one for one in first.tree.entries if one in usual], spans
        )
        causes.append(Condition.TIME.value if is_date else RANDOM)
    for condition in Condition:
        if condition in variation.varied and condition.value not in causes and differing(frozenset({condition}))[1] - usual:
            causes.append(condition.value)
    return tuple(causes) or (TOGETHER,)
