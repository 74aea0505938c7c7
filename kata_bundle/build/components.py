"""Makes components: rule and pins in, tree in the store out. What was made with the same key before is found, not made again.

Knows: how each kind is carried out. Must not know: packing, bundles, the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.build.apt import Apt
from kata_bundle.build.facts import facts_of
from kata_bundle.build.fixture import FIXTURE_VERSION, Content, render_fixture
from kata_bundle.build.keys import ingredients, key_of, pins_of, rule_key
from kata_bundle.build.repack import Repacker
from kata_bundle.build.rules import DebRecipe, FixtureRecipe, Kind
from kata_bundle.build.sources import Sources
from kata_bundle.core.digest import CHUNK_SIZE
from kata_bundle.core.errors import BuildError, IntegrityError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.parallel import map_ordered
from kata_bundle.core.relpath import parse_relpath
from kata_bundle.core.tree import Directory, Entry, File, Tree
from kata_bundle.store import ActionResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kata_bundle.build.apt import PackageSource
    from kata_bundle.build.deblock import DebLock, DebPin
    from kata_bundle.build.facts import ComponentFacts
    from kata_bundle.build.rules import Rule
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.store import Store

__all__ = ["Built", "Target", "build_component", "build_plan", "find_component", "rule_of"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Target:
    """A component on an architecture."""

    arch: Arch
    component: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A component in the store. ``is_cached`` says that it was there already and nothing was done."""

    component: str
    arch: Arch
    tree: Digest
    size_bytes: int
    """Sum of its files' lengths."""
    origin: str
    version: str
    rule_key: Digest
    hermetic: bool
    is_cached: bool

    @property
    def is_real(self) -> bool:
        """Whether it does what its name says, as opposed to a stand-in."""
        return self.origin != Kind.FIXTURE

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "component": self.component,
            "arch": self.arch.value,
            "tree": self.tree,
            "size_bytes": self.size_bytes,
            "origin": self.origin,
            "real": self.is_real,
            "version": self.version,
            "rule_key": self.rule_key,
            "hermetic": self.hermetic,
            "cached": self.is_cached,
        }


def rule_of(rules: Mapping[str, Rule], component: str) -> Rule:
    """Return the component's rule; raise :class:`BuildError` when there is none."""
    rule = rules.get(component)
    if rule is None:
        msg = f'component "{component}" has no build rule'
        raise BuildError(msg, hint=f"write buildrules/{component}.toml, or import a prebuilt tarball: kata-bundle import DIR")
    return rule


def build_component(  # noqa: PLR0917
    catalog: Catalog,
    rules: Mapping[str, Rule],
    lock: DebLock,
    store: Store,
    component: str,
    arch: Arch,
    *,
    packages: PackageSource | None = None,
    progress: Progress = NO_PROGRESS,
) -> Built:
    """Return the component, made unless the store has the result of its rule key.

    ``packages`` is where pinned files are fetched from that the store lacks (default: the machine's Debian mirror). Raises
    :class:`UsageError` for a component that does not exist there, :class:`BuildError` without a rule or when making it fails,
    :class:`LockError` for a missing pin, :class:`PinMissingError` for one that is no longer served, :class:`IntegrityError` for
    bytes that are not what was pinned, :class:`RemoteError` when the mirror fails.
    """
    target = Target(arch=arch, component=component)
    (built,) = build_plan(catalog, rules, lock, store, [target], jobs=1, packages=packages, progress=progress)
    return built


def find_component(catalog: Catalog, rules: Mapping[str, Rule], lock: DebLock, store: Store, target: Target) -> Built | None:
    """Return what :func:`build_component` would find in ``store``, ``None`` when it would have to be made; nothing is changed."""
    rule = rule_of(rules, target.component)
    key = rule_key(catalog, rule, target.component, target.arch, lock)
    result, tree = _known(store, key)
    return None if result is None or tree is None else _built(target, key, result, tree, is_cached=True)


def build_plan(
    catalog: Catalog,
    rules: Mapping[str, Rule],
    lock: DebLock,
    store: Store,
    targets: Sequence[Target],
    *,
    jobs: int,
    packages: PackageSource | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Built, ...]:
    """Return all ``targets``, in their order, made by ``jobs`` threads; the trees do not depend on ``jobs``.

    The first error stops what has not begun and is raised when what has begun is over; of several, the one that is first in the
    order. Raises as :func:`build_component` does.
    """
    # All keys first: a missing rule, recipe or pin anywhere stops before any work.
    parts = [ingredients(catalog, rule_of(rules, t.component), t.component, t.arch, lock) for t in targets]
    with Apt() as apt:
        maker = _Maker(lock, store, Sources(store, apt if packages is None else packages, progress=progress), progress)

        def one(number: int) -> Built:
            target = targets[number]
            return maker.make(facts_of(catalog, target.component, target.arch), rules[target.component], parts[number])

        return tuple(map_ordered(one, range(len(targets)), jobs=jobs))


class _Maker:
    def __init__(self, lock: DebLock, store: Store, sources: Sources, progress: Progress) -> None:
        self._lock = lock
        self._store = store
        self._sources = sources
        self._progress = progress

    def make(self, facts: ComponentFacts, rule: Rule, parts: Mapping[str, str]) -> Built:
        key = key_of(parts)
        result, tree = _known(self._store, key)
        is_cached = result is not None
        if result is None or tree is None:
            recipe = rule.recipe(facts.arch)
            what = recipe.kind.value if recipe.kind.is_real else "fixture, not the real thing"
            self._progress.note(f"{facts.arch}: making {facts.component} ({what})")
            match recipe:
                case DebRecipe():
                    tree, version = self._repack(facts, recipe, pins_of(rule, facts.arch, self._lock))
                case FixtureRecipe():
                    tree, version = self._stand_in(facts, recipe), FIXTURE_VERSION
            _check_outputs(facts, tree)
            # Every kind so far is a function of pinned bytes that this program computes itself: no other program has a say.
            result = ActionResult(
                tree=self._store.put_tree(tree), origin=recipe.kind.value, version=version, hermetic=True, ingredients=parts
            )
            self._store.put_result(key, result)
        return _built(Target(arch=facts.arch, component=facts.component), key, result, tree, is_cached=is_cached)

    def _repack(self, facts: ComponentFacts, recipe: DebRecipe, pins: tuple[DebPin, ...]) -> tuple[Tree, str]:
        self._sources.ensure(pins, facts.arch)
        repacker = Repacker(recipe, facts.component, self._store)
        for pin in pins:
            with self._store.open(pin.digest) as stream:
                repacker.add_package(pin.name, stream, what=f"package {pin.package} {pin.version}")
                # To the end, where the store checks the digest, even if the package's data ends earlier.
                while stream.read(CHUNK_SIZE):
                    pass
        return repacker.finish(), next(pin.version for pin in pins if pin.name == recipe.version_of)

    def _stand_in(self, facts: ComponentFacts, recipe: FixtureRecipe) -> Tree:
        entries: dict[RelPath, Entry] = {}
        for path, entry in render_fixture(facts, recipe).items():
            if isinstance(entry, Content):
                digest = self._store.put_bytes(entry.data)
                entries[path] = File(mode=entry.mode, size_bytes=len(entry.data), digest=digest)
            else:
                entries[path] = entry
        return Tree.of(entries)


def _built(target: Target, key: Digest, result: ActionResult, tree: Tree, *, is_cached: bool) -> Built:
    return Built(
        component=target.component,
        arch=target.arch,
        tree=result.tree,
        size_bytes=tree.size_bytes,
        origin=result.origin,
        version=result.version,
        rule_key=key,
        hermetic=result.hermetic,
        is_cached=is_cached,
    )


def _known(store: Store, key: Digest) -> tuple[ActionResult | None, Tree | None]:
    """Return the result remembered for ``key`` and its tree, both ``None`` when there is none or it is damaged."""
    try:
        result = store.get_result(key)
        return (None, None) if result is None else (result, store.get_tree(result.tree))
    except IntegrityError:
        # The store has set the damaged part aside; making the component again repairs it.
        return None, None


def _check_outputs(facts: ComponentFacts, tree: Tree) -> None:
    """Raise :class:`BuildError` naming every declared output that ``tree`` lacks."""
    missing = []
    for output in facts.outputs:
        entry = tree.entries.get(parse_relpath(output))
        if entry is None or output.endswith("/") != isinstance(entry, Directory):
            missing.append(output)
    if missing:
        msg = f'component "{facts.component}" on {facts.arch} lacks declared outputs: {", ".join(missing)}'
        raise BuildError(msg, hint="change the rule, or the outputs in manifests/components.toml")
