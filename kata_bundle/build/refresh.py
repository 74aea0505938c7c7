"""Pins packages: asks the mirror what a name stands for today, and says what changed in the lock.

Must not know: the store, how packages are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.build.actionrules import ActionRecipe
from kata_bundle.build.deblock import DebLock, DebPin
from kata_bundle.build.debsource import SourcePin
from kata_bundle.build.rules import DebRecipe
from kata_bundle.build.sources import is_served
from kata_bundle.core.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.build.apt import PackageSource
    from kata_bundle.build.debsource import SourceLock
    from kata_bundle.build.rules import Rule
    from kata_bundle.core.arch import Arch

__all__ = ["PinChange", "Refreshed", "missing_pins", "refresh_pins", "source_changes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PinChange:
    """One difference between two locks: a pin that came, went or was replaced."""

    old: DebPin | SourcePin | None
    new: DebPin | SourcePin | None

    @property
    def name(self) -> str:
        """The name that rules use."""
        pin = self.new or self.old
        return "" if pin is None else pin.name

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"old": _plain(self.old), "new": _plain(self.new)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Refreshed:
    """The lock after a refresh, and what changed, in the lock's order."""

    lock: DebLock
    changes: tuple[PinChange, ...]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class _Need:
    suite: str
    name: str
    arch: Arch
    is_meta: bool


def missing_pins(rules: Mapping[str, Rule], lock: DebLock, packages: PackageSource) -> tuple[DebPin, ...]:
    """Return the pins that rules need and the mirror no longer has, in the lock's order.

    Raises :class:`LockError` when a rule needs a package that is not pinned, :class:`IntegrityError` when the mirror has other
    content for a pinned version.
    """
    gone = {}
    for need in _needs(rules):
        pin = lock.require(need.suite, need.name, need.arch)
        if pin.order not in gone and not is_served(pin, need.arch, packages):
            gone[pin.order] = pin
    return tuple(gone[order] for order in sorted(gone))


def refresh_pins(rules: Mapping[str, Rule], lock: DebLock, packages: PackageSource, *, only_missing: bool = True) -> Refreshed:
    """Return ``lock`` with pins replaced by what the mirror has today.

    With ``only_missing``, just those are touched that the mirror no longer has, and what rules need is added where it was not
    pinned; else all are brought up to date and those that no rule needs are dropped. Raises :class:`LockError` when a suite
    does not have a package at all.
    """
    needs = _needs(rules)
    new: dict[tuple[str, str, str], DebPin] = {}
    kept: set[tuple[str, str, str]] = set()
    for need in needs:
        pin = lock.find(need.suite, need.name, need.arch)
        if pin is not None and only_missing and (pin.order in kept or is_served(pin, need.arch, packages)):
            kept.add(pin.order)
            continue
        fresh = _newest(need, packages)
        new[fresh.order] = fresh
        kept.add(fresh.order)
    result = lock.with_pins(new.values())
    if not only_missing:
        result = DebLock(tuple(pin for pin in result.pins if pin.order in kept))
    return Refreshed(lock=result, changes=_changes(lock, result))


def _needs(rules: Mapping[str, Rule]) -> list[_Need]:
    found: set[_Need] = set()
    for rule in rules.values():
        for arch, _, recipe in rule.every_recipe():
            if isinstance(recipe, DebRecipe):
                found |= {_Need(suite=recipe.suite, name=p.name, arch=arch, is_meta=p.is_meta) for p in recipe.packages}
            elif isinstance(recipe, ActionRecipe):
                found |= {_Need(suite=s.suite, name=p, arch=arch, is_meta=False) for s in recipe.sources for p in s.packages}
    return sorted(found)


def _newest(need: _Need, packages: PackageSource) -> DebPin:
    architecture = need.arch.debian_name
    entry = packages.find(need.suite, architecture, need.name)
    if entry is not None and need.is_meta:
        if len(entry.depends) != 1:
            msg = (
                f'"{need.name}" of {need.suite} depends on {len(entry.depends)} packages, a metapackage of a rule on exactly one'
            )
            raise LockError(msg)
        entry = packages.find(need.suite, architecture, entry.depends[0])
    if entry is None:
        msg = f'{need.suite} has no package "{need.name}" for {architecture}'
        raise LockError(msg, hint="change the rule that asks for it")
    return DebPin(
        suite=need.suite,
        name=need.name,
        package=entry.package,
        architecture=entry.architecture,
        version=entry.version,
        size_bytes=entry.size_bytes,
        digest=entry.digest,
    )


def source_changes(old: SourceLock, new: SourceLock) -> tuple[PinChange, ...]:
    """Return the differences of two locks of source packages, in their order."""
    before, after = {pin.order: pin for pin in old.pins}, {pin.order: pin for pin in new.pins}
    pairs = [(before.get(order), after.get(order)) for order in sorted({*before, *after})]
    return tuple(PinChange(old=one, new=other) for one, other in pairs if one != other)


def _changes(old: DebLock, new: DebLock) -> tuple[PinChange, ...]:
    before, after = {pin.order: pin for pin in old.pins}, {pin.order: pin for pin in new.pins}
    return tuple(
        PinChange(old=before.get(order), new=after.get(order))
        for order in sorted({*before, *after})
        if before.get(order) != after.get(order)
    )


def _plain(pin: DebPin | SourcePin | None) -> dict[str, Any] | None:
    if pin is None:
        return None
    if isinstance(pin, SourcePin):
        files = [{"name": file.name, "size_bytes": file.size_bytes, "digest": file.digest} for file in pin.files]
        return {"suite": pin.suite, "source": pin.name, "version": pin.version, "format": pin.format, "files": files}
    return {
        "suite": pin.suite,
        "name": pin.name,
        "package": pin.package,
        "architecture": pin.architecture,
        "version": pin.version,
        "size_bytes": pin.size_bytes,
        "digest": pin.digest,
    }
