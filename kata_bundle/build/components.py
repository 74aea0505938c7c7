"""Makes components: rule and pins in, tree in the store out. What was made with the same key before is found, not made again.

Knows: how each kind is carried out. Must not know: packing, bundles, the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.build.actionrules import ActionRecipe, SourceKind
from kata_bundle.build.apt import Apt
from kata_bundle.build.checkouts import put_tree_files
from kata_bundle.build.debsource import unpack_source
from kata_bundle.build.debsourcepins import fetch_source
from kata_bundle.build.debtree import unpack_packages
from kata_bundle.build.events import NOBODY
from kata_bundle.build.facts import facts_of
from kata_bundle.build.failures import build_failure
from kata_bundle.build.fetch import fetch
from kata_bundle.build.kinds import action_of, component_tree
from kata_bundle.build.ociimage import pull_image
from kata_bundle.build.repack import Repacker
from kata_bundle.build.rulebook import Target, local_tree
from kata_bundle.build.rules import DebRecipe, FixtureRecipe, Kind
from kata_bundle.build.schedule import Cancelled, run_graph
from kata_bundle.build.sources import Sources
from kata_bundle.build.standin import make_stand_in, parent_result
from kata_bundle.build.toolchain import make_builder
from kata_bundle.build.unpack import is_archive, part_of, unpack_archive
from kata_bundle.build.watched import ACTION_UNIT, FetchProgress, Watch
from kata_bundle.build.workshop import Cached, Workshop
from kata_bundle.core.digest import CHUNK_SIZE
from kata_bundle.core.errors import BuildError, IntegrityError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.relpath import parse_relpath
from kata_bundle.core.tree import Directory, File, Tree
from kata_bundle.store import ActionResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.build.action import Action
    from kata_bundle.build.actionrules import Source
    from kata_bundle.build.apt import PackageSource
    from kata_bundle.build.deblock import DebPin
    from kata_bundle.build.events import Watcher
    from kata_bundle.build.facts import ComponentFacts
    from kata_bundle.build.rulebook import Rulebook
    from kata_bundle.build.rules import Recipe
    from kata_bundle.build.workshop import Performed
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = ["Built", "Target", "build_component", "build_plan", "component_action", "find_component", "make_again"]


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


def build_component(
    book: Rulebook,
    store: Store,
    target: Target,
    *,
    packages: PackageSource | None = None,
    workshop: Workshop | None = None,
    progress: Progress = NO_PROGRESS,
) -> Built:
    """Return the component, made unless the store has the result of its rule key; what it needs is made first.

    ``packages`` is where pinned files are fetched from that the store lacks (default: the machine's Debian mirror), ``workshop``
    how actions are carried out (default: in bubblewrap on this machine). Raises :class:`UsageError` for a component that does not
    exist there, :class:`BuildError` without a rule or when making it fails, :class:`LockError` for a missing pin,
    :class:`PinMissingError` for one that is no longer served, :class:`IntegrityError` for bytes that are not what was pinned,
    :class:`RemoteError` when the mirror fails, :class:`HostError` when this machine cannot carry out an action.
    """
    (built,) = build_plan(book, store, [target], jobs=1, packages=packages, workshop=workshop, progress=progress)
    return built


def find_component(book: Rulebook, store: Store, target: Target) -> Built | None:
    """Return what :func:`build_component` would find in ``store``, ``None`` when it would have to be made; nothing is changed."""
    key = book.key(target)
    result, tree = _known(store, key)
    return None if result is None or tree is None else _built(target, key, result, tree, is_cached=True)


def component_action(
    book: Rulebook,
    store: Store,
    target: Target,
    *,
    packages: PackageSource | None = None,
    workshop: Workshop | None = None,
    progress: Progress = NO_PROGRESS,
) -> Action:
    """Return the action that makes a component whose recipe runs programs, its inputs in ``store`` and its parents made.

    Raises :class:`BuildError` for a component of another kind; else as :func:`build_component` does.
    """
    recipe = book.recipe(target)
    if not isinstance(recipe, ActionRecipe):
        msg = f'component "{target.component}" on {target.arch} is made without running programs'
        raise BuildError(msg)
    build_plan(book, store, book.parents(target), jobs=1, packages=packages, workshop=workshop, progress=progress)
    with Apt() as apt:
        return _Maker(book, store, packages or apt, workshop or Workshop(), Cancelled(), progress).action(target, recipe)


def make_again(
    book: Rulebook, store: Store, target: Target, *, packages: PackageSource | None = None, progress: Progress = NO_PROGRESS
) -> Tree:
    """Return what the rule of a component makes, made even if ``store`` has its result, and without leaving one there.

    The files are put into ``store``, the tree is not; what it needs is made first. Raises as :func:`build_component` does.
    """
    build_plan(book, store, book.parents(target), jobs=1, packages=packages, progress=progress)
    with Apt() as apt:
        return _Maker(book, store, packages or apt, Workshop(), Cancelled(), progress).fresh(target)


def build_plan(
    book: Rulebook,
    store: Store,
    targets: Sequence[Target],
    *,
    jobs: int,
    packages: PackageSource | None = None,
    workshop: Workshop | None = None,
    keep_going: bool = False,
    progress: Progress = NO_PROGRESS,
    watcher: Watcher = NOBODY,
) -> tuple[Built, ...]:
    """Return all ``targets``, in their order, made by ``jobs`` threads after what they need; the trees do not depend on ``jobs``.

    The first error stops what has not begun, unless ``keep_going``: then everything that does not need a failed component is
    made. The error is raised when what has begun is over; of several, the one that is first in the order, the others named in its
    text. An interrupt ends what runs, whose programs are killed, and is raised after that. ``watcher`` is told of everything from
    when all keys are known. Raises as :func:`build_component` does.
    """
    # All keys first: a missing rule, recipe or pin anywhere stops before any work. What is there needs nothing of its parents.
    order = book.order(targets)
    backend = (workshop or Workshop()).backend
    wanted = _needed(book, store, order, targets, is_walled=backend.is_hermetic)
    parents = {target: book.parents(target) for target in wanted}
    cancelled = Cancelled()
    watch = Watch(book, watcher, progress, cancelled.is_set)
    watch.planned(wanted, targets, jobs)
    ended: BaseException | None = None
    try:
        with Apt() as apt:
            seen = FetchProgress(progress, watcher, cancelled.is_set)
            maker = _Maker(book, store, packages or apt, workshop or Workshop(), cancelled, seen, watch)
            results, errors = run_graph(wanted, parents, maker.make, jobs=jobs, cancelled=cancelled, keep_going=keep_going)
        if errors:
            raise build_failure(errors, wanted, results, parents)
    except BaseException as error:
        ended = error
        raise
    finally:
        watch.over(ended)
    return tuple(results[target] for target in targets)


def _needed(
    book: Rulebook, store: Store, order: Sequence[Target], targets: Sequence[Target], *, is_walled: bool
) -> tuple[Target, ...]:
    """Return what of ``order`` has to be looked at: the targets, and what is needed by something that has to be made."""
    needed = set(targets)
    for target in reversed(order):
        if target in needed and book.parents(target) and _known(store, book.key(target), is_walled=is_walled)[0] is None:
            needed.update(book.parents(target))
    return tuple(target for target in order if target in needed)


class _Maker:
    def __init__(  # noqa: PLR0917
        self,
        book: Rulebook,
        store: Store,
        packages: PackageSource,
        workshop: Workshop,
        cancelled: Cancelled,
        progress: Progress,
        watch: Watch | None = None,
    ) -> None:
        self._book = book
        self._store = store
        self._packages = packages
        self._sources = Sources(store, packages, progress=progress)
        self._workshop = workshop
        self._cancelled = cancelled
        self._progress = progress
        self._watch = watch or Watch(book, NOBODY, progress, cancelled.is_set)

    def make(self, target: Target) -> Built:
        """Return the component, looked for and else made, and tell of it."""
        began = self._watch.started(target)
        self._progress.start(target.text, None, ACTION_UNIT)
        try:
            built, result, cached = self._obtain(target)
        except Exception as error:
            self._watch.failed(target, began, error)
            raise
        finally:
            self._progress.finish(target.text)
        self._watch.finished(target, began, result, cached)
        return built

    def _obtain(self, target: Target) -> tuple[Built, ActionResult, Cached]:
        book, store = self._book, self._store
        key = book.key(target)
        result, tree = _known(store, key, is_walled=self._workshop.backend.is_hermetic)
        if result is not None and tree is not None:
            return _built(target, key, result, tree, is_cached=True), result, Cached.LOCAL
        recipe, facts = book.recipe(target), facts_of(book.catalog, target.component, target.arch)
        what = recipe.kind.value if recipe.kind.is_real else "fixture, not the real thing"
        self._progress.note(f"{target.arch}: making {target.component} ({what})")
        tree, hermetic, done = self._make(target, recipe, facts)
        _check_outputs(facts, tree)
        result = ActionResult(
            tree=store.put_tree(tree),
            origin=recipe.kind.value,
            version=book.version(target),
            hermetic=hermetic,
            ingredients=book.ingredients(target),
            action=None if done is None else done.action,
            log=None if done is None else done.log,
        )
        store.put_result(key, result)
        cached = Cached.NO if done is None else done.cached
        if done is not None and cached is Cached.NO:
            self._progress.note(f"{target.arch}: made {target.component} in {done.duration_s:.1f} s")
        return _built(target, key, result, tree, is_cached=False), result, cached

    def fresh(self, target: Target) -> Tree:
        """Return what the rule makes without looking for a result or leaving one."""
        facts = facts_of(self._book.catalog, target.component, target.arch)
        tree, _, _ = self._make(target, self._book.recipe(target), facts)
        _check_outputs(facts, tree)
        return tree

    def _make(self, target: Target, recipe: Recipe, facts: ComponentFacts) -> tuple[Tree, bool, Performed | None]:
        done = None
        hermetic = True  # but for actions, every kind is a function of pinned bytes that this program computes itself
        match recipe:
            case DebRecipe():
                tree = self._repack(facts, recipe, self._book.pins(target))
            case FixtureRecipe():
                tree, hermetic = make_stand_in(self._book, self._store, target, recipe, facts)
            case ActionRecipe():
                action = self.action(target, recipe)
                is_cancelled = self._cancelled.is_set
                done = self._workshop.run(self._store, action, memory_mib=recipe.memory_mib, is_cancelled=is_cancelled)
                tree, hermetic = component_tree(done.outputs, target.component), done.is_hermetic
        return tree, hermetic, done

    def action(self, target: Target, recipe: ActionRecipe) -> Action:
        """Return the action that makes the component of what its parents' results are; its inputs are then in the store."""
        book, store = self._book, self._store
        toolchain, pinned = book.toolchain(recipe)
        builder = make_builder(toolchain, pinned, store, self._packages, progress=self._progress)
        sources = {source.name: self._source(target, source) for source in recipe.sources}
        parents = {one.component: store.get_tree(parent_result(book, store, target, one).tree) for one in book.parents(target)}
        return action_of(recipe, target.component, target.arch, book.version(target), builder, sources, parents, store.put_bytes)

    def _source(self, target: Target, source: Source) -> Tree:
        book, store = self._book, self._store
        what = f'source "{source.name}" of {target.component}'
        match source.kind:
            case SourceKind.PACKAGE:
                pins = book.source_pins(source, target.arch)
                self._sources.ensure(pins, target.arch)
                tree = unpack_packages(pins, store)
            case SourceKind.DEBIAN:
                pin = book.source_lock.require(source.suite, source.source_package)
                fetch_source(pin, store, self._packages, progress=self._progress)
                tree = unpack_source(pin, store)
                return part_of(tree, source.path, what=what) if source.path else tree
            case SourceKind.TREE:
                toolchain, pinned = book.package_tree(source.tree, target.arch)
                tree = make_builder(toolchain, pinned, store, self._packages, progress=self._progress)
            case SourceKind.FILES:
                path = book.files(target.component, source)
                tree = local_tree(path)
                for name, entry in tree.entries.items():
                    if isinstance(entry, File):
                        store.put_file(path / name if path.is_dir() else path, entry.digest)
                return tree
            case SourceKind.CHECKOUT:
                folder = book.resolver.folder(source.checkout)
                tree = book.resolver.tree(source.checkout)
                if folder is not None:
                    put_tree_files(tree, folder, store)
                return part_of(tree, source.path, what=what) if source.path else tree
            case SourceKind.OCI:
                tree = pull_image(source.image, target.arch, store, what=what, progress=self._progress)
                return part_of(tree, source.path, what=what) if source.path else tree
            case SourceKind.FETCH:
                tree = fetch(source, store, what=what, progress=self._progress)
        return self._meant(tree, source, what)

    def _meant(self, tree: Tree, source: Source, what: str) -> Tree:
        """Return the part of a fetched tree that the rule means, an archive opened."""
        if source.path:
            tree = part_of(tree, source.path, what=what)
        if source.is_unpacked and len(tree.entries) == 1:
            ((name, entry),) = tree.entries.items()
            if isinstance(entry, File) and is_archive(name):
                with self._store.open(entry.digest) as stream:
                    return unpack_archive(stream, self._store, what=f"{what}, {name}", strip=source.strip)
        return tree

    def _repack(self, facts: ComponentFacts, recipe: DebRecipe, pins: tuple[DebPin, ...]) -> Tree:
        self._sources.ensure(pins, facts.arch)
        repacker = Repacker(recipe, facts.component, self._store)
        for pin in pins:
            with self._store.open(pin.digest) as stream:
                repacker.add_package(pin.name, stream, what=f"package {pin.package} {pin.version}")
                # To the end, where the store checks the digest, even if the package's data ends earlier.
                while stream.read(CHUNK_SIZE):
                    pass
        return repacker.finish()


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


def _known(store: Store, key: Digest, *, is_walled: bool = False) -> tuple[ActionResult | None, Tree | None]:
    """Return the result remembered for ``key`` and its tree, both ``None`` when there is none or it is damaged.

    With ``is_walled`` also when it was made without walls: nobody can tell by its key with which tools.
    """
    try:
        found = store.find_result(key)
        return (None, None) if found is None or (is_walled and not found[0].hermetic) else found
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
