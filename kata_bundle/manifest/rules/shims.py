"""Rules about single shims: facts that contradict each other, and settings that never take effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.models import ConfigLayer, ShimEntry, ShimsDocument
    from kata_bundle.manifest.positions import KeyPath

__all__ = ["REQUIRED_VALUES", "configurations_are_complete", "consistent_shims", "dead_settings"]

REQUIRED_VALUES = (
    "confidential_guest",
    "guest_extension_images",
    "sandbox_cgroup_only",
    "static_sandbox_resource_mgmt",
    "emptydir_mode",
    "enable_annotations",
)
"""Configuration values that every file has."""


@rule("KB217", "contradictory facts about a shim")
def consistent_shims(manifests: Manifests) -> Iterator[Problem]:
    """Facts of one shim exclude each other.

    An alias names the shim it stands for and has no facts beyond it; other shims name none. A QEMU artifact needs QEMU as the
    hypervisor. Every shim that is no alias has a configuration on at least one architecture.

    Repair: correct one of the facts that the message names.

    False alarm: none.
    """
    document, model = manifests.shims.document, manifests.shims.model
    for name, shim in model.shims.items():
        for key, message in _contradictions(model, shim):
            where: KeyPath = ("shims", name, key) if key else ("shims", name)
            related = (
                ((document, ("shims", name, "family")), (document, ("shims", name, "hypervisor"))) if key == "alias_of" else ()
            )
            yield Problem(document=document, key=where, message=message, of_key=not key, related=related)


def _contradictions(model: ShimsDocument, shim: ShimEntry) -> Iterator[tuple[str, str]]:
    if shim.status == "alias":
        if shim.alias_of is None:
            yield "status", 'an alias needs "alias_of"'
        if shim.configured_on:
            yield "configured_on", "an alias has no configuration of its own"
    elif shim.alias_of is not None:
        yield "alias_of", f'a shim with the status "{shim.status}" stands for no other'
    target = model.shims.get(shim.alias_of) if shim.alias_of is not None else None
    if target is not None and target.status == "alias":
        yield "alias_of", f'"{shim.alias_of}" is an alias itself'
    if target is not None and (target.family, target.hypervisor) != (shim.family, shim.hypervisor):
        yield "alias_of", f'"{shim.alias_of}" has another family or hypervisor'
    hypervisor = model.hypervisors.get(shim.hypervisor)
    if hypervisor is not None and shim.qemu_artifact is not None and hypervisor.binary != "{emulator}":
        yield "qemu_artifact", f'the hypervisor "{shim.hypervisor}" has no QEMU artifact'
    if shim.status != "alias" and not shim.configured_on:
        yield "configured_on" if "configured_on" in shim.model_fields_set else "", "the shim is configured on no architecture"


@rule("KB220", "a configuration without a value that every configuration has")
def configurations_are_complete(manifests: Manifests) -> Iterator[Problem]:
    """No layer of shims.toml gives a value that all configuration files state.

    Set it in the table "config", for a family, a group, or the shim.

    Repair: give the value.

    False alarm: none.
    """
    document, model = manifests.shims.document, manifests.shims.model
    for name, shim in model.shims.items():
        for arch in shim.configured_on:
            values = manifests.config(name, Arch(arch)).values
            for key in REQUIRED_VALUES:
                if key not in values:
                    message = f'nothing gives "{key}" for shim "{name}" on {arch}'
                    yield Problem(document=document, key=("shims", name), message=message, of_key=True)


@rule("KB221", "a setting that never takes effect")
def dead_settings(manifests: Manifests) -> Iterator[Problem]:
    """A shim has settings for an architecture on which it is not configured, or unsets what nothing set.

    Either the architecture is wrong, or "configured_on" lacks it.

    Repair: correct the architecture, or remove the setting.

    False alarm: none.
    """
    document, model = manifests.shims.document, manifests.shims.model
    for name, shim in model.shims.items():
        for arch in shim.config.on:
            if arch not in shim.configured_on:
                message = f'shim "{name}" has settings for {arch}, where it is not configured'
                yield Problem(document=document, key=("shims", name, "config", "on", arch), message=message, of_key=True)
        for i, key in enumerate(shim.config.unset):
            below = (model.config, model.families.get(shim.family), *(model.groups.get(group) for group in shim.groups))
            if not any(_sets(layer if layer is model.config else getattr(layer, "config", None), key) for layer in below):
                message = f'shim "{name}" unsets "{key}", which nothing sets'
                yield Problem(document=document, key=("shims", name, "config", "unset", i), message=message)


def _sets(layer: ConfigLayer | None, key: str) -> bool:
    if layer is None:
        return False
    return key in layer.model_fields_set or any(key in values.model_fields_set for values in layer.on.values())
