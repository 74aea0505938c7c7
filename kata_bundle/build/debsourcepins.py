"""Pins source packages and brings their files into the store, as ``build.refresh`` and ``build.sources`` do for binary packages.

The digest decides, whoever served the bytes. Must not know: components, what is made of a source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.build.actionrules import ActionRecipe
from kata_bundle.build.debsource import SourceLock, SourcePin
from kata_bundle.build.sources import missing_error
from kata_bundle.core.errors import IntegrityError, LockError
from kata_bundle.core.events import NO_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.build.apt import PackageSource
    from kata_bundle.build.rules import Rule
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = ["fetch_source", "missing_source_pins", "refresh_source_pins"]


def fetch_source(pin: SourcePin, store: Store, packages: PackageSource, *, progress: Progress = NO_PROGRESS) -> None:
    """Make ``store`` have the files of ``pin`` that its tree is made of; the mirror is asked only for what is lacking.

    Raises :class:`PinMissingError` when the mirror no longer has that version, :class:`IntegrityError` for a file that is not
    what was pinned, :class:`RemoteError` when one cannot be had.
    """
    lacking = [file for file in pin.parts if store.size(file.digest) != file.size_bytes]
    if not lacking:
        return
    if not _is_served(pin, packages):
        raise missing_error([pin])
    task = f"fetch {pin.name} (source)"
    progress.start(task, sum(file.size_bytes for file in lacking))
    try:
        with store.scratch() as folder:
            names = [file.name for file in lacking]
            packages.download_source(pin.suite, pin.name, pin.version, names, folder)
            for file in lacking:
                try:
                    # apt links to what is on this machine already, as a mirror in a folder is.
                    store.put_file((folder / file.name).resolve(), file.digest)
                except IntegrityError as error:
                    msg = f"source package {pin.name} {pin.version}, {file.name}: {error}"
                    raise IntegrityError(msg) from None
                progress.advance(task, file.size_bytes)
    finally:
        progress.finish(task)


def missing_source_pins(rules: Mapping[str, Rule], lock: SourceLock, packages: PackageSource) -> tuple[SourcePin, ...]:
    """Return the pins that rules need and the mirror no longer has.

    Raises :class:`LockError` when a rule needs a source package that is not pinned, :class:`IntegrityError` when the mirror has
    other files for a pinned version.
    """
    pins = [lock.require(suite, name) for suite, name in _needs(rules)]
    return tuple(pin for pin in pins if not _is_served(pin, packages))


def refresh_source_pins(
    rules: Mapping[str, Rule], lock: SourceLock, packages: PackageSource, *, only_missing: bool = True
) -> SourceLock:
    """Return ``lock`` with pins replaced by what the mirror has today, as :func:`refresh_pins` does for binary packages.

    Raises :class:`LockError` when a suite does not have a source package, or has it in a form that this program does not read.
    """
    fresh = []
    needs = _needs(rules)
    for suite, name in needs:
        pin = lock.find(suite, name)
        if pin is None or not (only_missing and _is_served(pin, packages)):
            found = packages.find_source(suite, name)
            if found is None:
                msg = f'{suite} has no source package "{name}"'
                raise LockError(msg, hint="change the rule that asks for it")
            fresh.append(found)
    result = lock.with_pins(fresh)
    return result if only_missing else SourceLock(tuple(pin for pin in result.pins if pin.order in needs))


def _needs(rules: Mapping[str, Rule]) -> list[tuple[str, str]]:
    return sorted(
        {
            (source.suite, source.source_package)
            for rule in rules.values()
            for _, _, recipe in rule.every_recipe()
            if isinstance(recipe, ActionRecipe)
            for source in recipe.sources
            if source.source_package
        }
    )


def _is_served(pin: SourcePin, packages: PackageSource) -> bool:
    found = packages.find_source(pin.suite, pin.name, pin.version)
    if found is None:
        return False
    if found.parts != pin.parts:
        msg = f"{pin.suite} has source package {pin.name} {pin.version} with other files than its pin states"
        raise IntegrityError(msg, hint="a version is never rebuilt in place: find out who changed it before pinning it again")
    return True
