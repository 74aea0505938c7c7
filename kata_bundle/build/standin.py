"""Stand-ins into the store, their configurations with the hashes of the images that other components provide.

Nothing of an image itself is read for that, only the line that its component keeps beside it. Must not know: how images are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.build.fixture import Content, render_fixture
from kata_bundle.build.rulebook import Target
from kata_bundle.build.verity import MAX_BYTES, parse_verity
from kata_bundle.core.errors import BuildError
from kata_bundle.core.tree import File, Tree

if TYPE_CHECKING:
    from kata_bundle.build.facts import ComponentFacts
    from kata_bundle.build.rulebook import Rulebook
    from kata_bundle.build.rules import FixtureRecipe
    from kata_bundle.build.verity import MeasuredImage
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import Entry
    from kata_bundle.store import ActionResult, Store

__all__ = ["make_stand_in", "parent_result"]


def make_stand_in(
    book: Rulebook, store: Store, target: Target, recipe: FixtureRecipe, facts: ComponentFacts
) -> tuple[Tree, bool]:
    """Return the stand-in's tree, its files in ``store``, and whether what it states of other components is hermetic.

    Raises :class:`BuildError` when a component that it needs is not in the store, or keeps no hash where it should.
    """
    hermetic = True
    verity: dict[str, str] = {}
    for name, image in book.images(target).items():
        result = parent_result(book, store, target, Target(arch=target.arch, component=image.component))
        # The hash of an image that was made without walls is as good as the image.
        hermetic = hermetic and result.hermetic
        verity[name] = _verity(store, result, image, target.arch)
    entries: dict[RelPath, Entry] = {}
    for path, entry in render_fixture(facts, recipe, verity).items():
        if isinstance(entry, Content):
            entries[path] = File(mode=entry.mode, size_bytes=len(entry.data), digest=store.put_bytes(entry.data))
        else:
            entries[path] = entry
    return Tree.of(entries), hermetic


def parent_result(book: Rulebook, store: Store, target: Target, parent: Target) -> ActionResult:
    """Return the result of what ``target`` needs; raise :class:`BuildError` when ``store`` lacks it."""
    result = store.get_result(book.key(parent))
    if result is None:
        msg = f'component "{target.component}" needs "{parent.component}", which is not in the store'
        raise BuildError(msg, retryable=True)
    return result


def _verity(store: Store, result: ActionResult, image: MeasuredImage, arch: Arch) -> str:
    what = f"{image.hash_file} of {image.component} ({arch})"
    entry = store.get_tree(result.tree).entries.get(image.hash_file)
    if not isinstance(entry, File) or entry.size_bytes > MAX_BYTES:
        msg = f"{what} is no file of at most {MAX_BYTES} bytes"
        raise BuildError(msg, hint='the rule of an image that is measured states "verity"')
    return parse_verity(store.read(entry.digest), what=what)
