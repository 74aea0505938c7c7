"""Edits of a shim's own copy of its configuration: hypervisor annotations and forced guest pull.

Source: installer specification §9 and §10. The copy is made anew at each install, so what is no longer configured needs no
undoing. Must not know where the copy lies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.node.tomledit import TomlFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.node.config.model import AnnotationRule

__all__ = ["allowed_annotations", "annotations_for", "with_annotations", "with_forced_guest_pull"]

_GUEST_PULL_KEY: Final = ("runtime", "experimental_force_guest_pull")


def annotations_for(shim: str, rules: Iterable[AnnotationRule]) -> tuple[str, ...]:
    """Return the annotations that ``rules`` allow for ``shim``, in their order."""
    return tuple(name for rule in rules if rule.shim in {None, shim} for name in rule.annotations)


def allowed_annotations(existing: Iterable[str], added: Iterable[str]) -> list[str]:
    """Return the sorted union of what a configuration allows and what is added."""
    return sorted({*existing, *added})


def with_annotations(data: bytes, section: str, added: tuple[str, ...], *, name: str) -> bytes:
    """Return configuration ``data`` that allows the ``added`` annotations too; unchanged when there are none.

    Raises :class:`TomlError` when the file cannot be edited.
    """
    if not added:
        return data
    file = TomlFile.parse(data, name=name)
    path = ("hypervisor", section, "enable_annotations")
    file.set(path, allowed_annotations((str(item) for item in file.get_array(path)), added))
    return file.render().encode()


def with_forced_guest_pull(data: bytes, *, name: str) -> bytes:
    """Return configuration ``data`` with image pulling in the guest forced. Raises :class:`TomlError`."""
    file = TomlFile.parse(data, name=name)
    if not file.contains(_GUEST_PULL_KEY) or file.get(_GUEST_PULL_KEY) is not True:
        file.set(_GUEST_PULL_KEY, value=True)
    return file.render().encode()
