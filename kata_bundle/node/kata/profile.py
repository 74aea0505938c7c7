"""Configuration profiles: named sets of changes to a shim's configuration that somebody applies on purpose.

``azure-clh`` is what Azure Linux needs of Cloud Hypervisor (installer specification §31.2): the variant of the program built for
its C library, and sandboxes sized when they start. Must not know where files lie, nor write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.node.kata.configfile import lookup
from kata_bundle.node.tomledit import TomlFile
from kata_bundle.node.tomltext import render_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = ["PROFILES", "Profile", "profile_drop_in", "profile_edit", "profile_values"]


@record
class Profile:
    """A profile: the shims it is for, and the hypervisor program it chooses, below the install directory."""

    name: str
    purpose: str
    shims: tuple[str, ...]
    section: str
    program: str

    @property
    def drop_in(self) -> str:
        """File name of the profile as a drop-in: it sorts among the files of users."""
        return f"60-profile-{self.name}.toml"


PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile(
            name="azure-clh",
            purpose="Cloud Hypervisor as Azure Linux builds it, with sandboxes sized when they start.",
            shims=("clh", "clh-runtime-rs"),
            section="clh",
            program="bin/cloud-hypervisor-glibc",
        ),
    )
}


def profile_values(profile: Profile, effective: Mapping[str, Any], dest: str) -> dict[KeyPath, TomlValue]:
    """Return what the profile sets on top of the ``effective`` configuration of an install at ``dest``.

    Raises :class:`HostError` when the configuration is not for the profile's hypervisor, or its list of programs is none.
    """
    table = lookup(effective, "hypervisor", profile.section)
    if not isinstance(table, dict):
        msg = f'the configuration has no table "hypervisor.{profile.section}", so the profile "{profile.name}" is not for it'
        raise HostError(msg)
    allowed = table.get("valid_hypervisor_paths", [])
    if not isinstance(allowed, list):
        msg = f"hypervisor.{profile.section}.valid_hypervisor_paths is not an array"
        raise HostError(msg)
    program = f"{dest}/{profile.program}"
    return {
        ("runtime", "static_sandbox_resource_mgmt"): True,
        ("hypervisor", profile.section, "valid_hypervisor_paths"): [*allowed, *([] if program in allowed else [program])],
        ("hypervisor", profile.section, "path"): program,
    }


def profile_edit(profile: Profile, data: bytes, dest: str, *, name: str) -> bytes:
    """Return configuration file ``data``, called ``name``, with the profile applied; applying it again changes nothing.

    Raises :class:`HostError` as :func:`profile_values` does, and when the file cannot be edited.
    """
    file = TomlFile.parse(data, name=name)
    file.set_many(profile_values(profile, file.data, dest))
    return file.render().encode()


def profile_drop_in(profile: Profile, effective: Mapping[str, Any], dest: str) -> bytes:
    """Return the profile as a drop-in; ``effective`` is the configuration without it. Raises as :func:`profile_values` does."""
    document: dict[str, Any] = {}
    for path, value in profile_values(profile, effective, dest).items():
        table = document
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = value
    comment = f"{profile.purpose}\nWritten by kata-bundle node profile {profile.name}; remove the file to undo it."
    return render_document(document, comment=comment).encode()
