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
    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = ["allowed_annotations", "annotations_for", "edited"]

_GUEST_PULL_KEY: Final = ("runtime", "experimental_force_guest_pull")


def annotations_for(shim: str, rules: Iterable[AnnotationRule]) -> tuple[str, ...]:
    """Return the annotations that ``rules`` allow for ``shim``, in their order."""
    return tuple(name for rule in rules if rule.shim in {None, shim} for name in rule.annotations)


def allowed_annotations(existing: Iterable[str], added: Iterable[str]) -> list[str]:
    """Return the sorted union of what a configuration allows and what is added."""
    return sorted({*existing, *added})


def edited(data: bytes, section: str, added: tuple[str, ...], *, forces_guest_pull: bool, name: str) -> bytes:
    """Return configuration ``data`` that allows the ``added`` annotations too, and pulls images in the guest if asked to.

    Unchanged when it says all that already; everything else stays to the byte. Raises :class:`TomlError` when the file, called
    ``name``, cannot be edited.
    """
    if not added and not forces_guest_pull:
        return data
    file = TomlFile.parse(data, name=name)
    values: dict[KeyPath, TomlValue] = {}
    if added:
        path = ("hypervisor", section, "enable_annotations")
        values[path] = allowed_annotations((str(item) for item in file.get_array(path)), added)
    if forces_guest_pull and not (file.contains(_GUEST_PULL_KEY) and file.get(_GUEST_PULL_KEY) is True):
        values[_GUEST_PULL_KEY] = True
    file.set_many(values)
    return file.render().encode()
