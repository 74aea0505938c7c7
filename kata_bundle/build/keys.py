"""Rule keys: the identity of a component before it is made.

A key covers the recipe, the pinned files, the facts of the catalog that the recipe sees, and the version of the code that
carries it out. It never covers notes, hosts, dates or where things lie. Keys are computed without network and before anything
is downloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.build.facts import facts_of
from kata_bundle.build.fixture import FIXTURE_VERSION
from kata_bundle.build.rules import DebRecipe, Kind
from kata_bundle.core import canonical
from kata_bundle.core.digest import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.build.deblock import DebLock, DebPin
    from kata_bundle.build.rules import Rule
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["ingredients", "pins_of", "rule_key"]

_FORMAT: Final = "kata-bundle rule key 1"
_PROGRAM: Final = {Kind.DEB: "repack-1", Kind.FIXTURE: FIXTURE_VERSION}
"""Version of the code behind each kind: raised by whoever changes what it makes of equal inputs."""


def pins_of(rule: Rule, arch: Arch, lock: DebLock) -> tuple[DebPin, ...]:
    """Return the pins that the rule's recipe for ``arch`` needs, in its order; raise :class:`LockError` when one is missing."""
    recipe = rule.recipe(arch)
    if not isinstance(recipe, DebRecipe):
        return ()
    return tuple(lock.require(recipe.suite, package.name, arch) for package in recipe.packages)


def ingredients(catalog: Catalog, rule: Rule, component: str, arch: Arch, lock: DebLock) -> Mapping[str, str]:
    """Return the parts of the rule key by name, each as canonical JSON text, so that two keys can be explained by comparison.

    Raises :class:`UsageError` for a component that ``arch`` does not have, :class:`BuildError` without a recipe,
    :class:`LockError` without a pin.
    """
    recipe = rule.recipe(arch)
    parts = {
        "facts": facts_of(catalog, component, arch).to_dict(),
        "recipe": recipe.to_key(),
        "pins": [pin.to_key() for pin in pins_of(rule, arch, lock)],
        "program": _PROGRAM[recipe.kind],
    }
    return {name: canonical.dumps(value).decode("ascii").rstrip("\n") for name, value in parts.items()}


def rule_key(catalog: Catalog, rule: Rule, component: str, arch: Arch, lock: DebLock) -> Digest:
    """Return the rule key; raises as :func:`ingredients` does."""
    return key_of(ingredients(catalog, rule, component, arch, lock))


def key_of(parts: Mapping[str, str]) -> Digest:
    """Return the key of what :func:`ingredients` returned."""
    return digest_bytes(canonical.dumps({"format": _FORMAT, **parts}))
