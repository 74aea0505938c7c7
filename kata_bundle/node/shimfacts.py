"""What the installer knows about shims: the node facts (``facts.json``), read once, as typed values.

Source of the rules for names that are not listed: installer specification §4. Must not know the catalog the facts were made from.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ArchFacts", "Facts", "Family", "ShimFacts", "UnknownShimError", "emulator", "load_facts"]

_QEMU: Final = "qemu"
_FORMAT_VERSION: Final = 1
_ALIAS: Final = "alias"


class Family(StrEnum):
    """Which of the two runtimes a shim is."""

    GO = "go"
    RUST = "rust"


class UnknownShimError(UsageError):
    """A shim name that nothing is known of."""

    kind = "unknown_shim"


@record
class ShimFacts:
    """What has to be known to place and configure one shim. Directories and programs are below the install directory."""

    name: str
    section: str
    """Name of its table below ``[hypervisor]``."""
    family: Family
    config_directory: str
    shim_binary: str
    qemu_artifact: str | None
    hypervisor_binary: str | None
    """Program of a hypervisor other than QEMU, ``None`` where it has none or is QEMU."""
    tee: str | None
    overhead: tuple[str, str] | None
    """Memory and CPU overhead of its RuntimeClass."""
    arches: tuple[str, ...]
    """Architectures that have components for it."""
    is_alias: bool
    """Whether the name is accepted but has neither components nor a configuration of its own (D38)."""

    @property
    def is_rust(self) -> bool:
        """Whether it is a runtime-rs shim."""
        return self.family is Family.RUST

    @property
    def config_file(self) -> str:
        """Name of its configuration file."""
        return f"configuration-{self.name}.toml"

    @property
    def original_config(self) -> str:
        """Path of its configuration as the payload brings it."""
        return f"{self.config_directory}/{self.config_file}"

    @property
    def own_directory(self) -> str:
        """Path of its own configuration directory."""
        return f"{self.config_directory}/runtimes/{self.name}"


@record
class ArchFacts:
    """What an architecture installs when nobody chooses."""

    default_shims: tuple[str, ...]
    default_shim: str


_OTHER_ARCH: Final = ArchFacts(default_shims=(_QEMU,), default_shim=_QEMU)


@record
class Facts:
    """All facts, by shim name and by machine name (``uname -m``)."""

    shims: Mapping[str, ShimFacts]
    arches: Mapping[str, ArchFacts]

    def shim(self, name: str) -> ShimFacts:
        """Return the facts of ``name``; any ``qemu…`` that is not listed is a Go shim with the plain QEMU.

        Raises :class:`UnknownShimError` for other unlisted names; ``name`` has to be usable as a file name.
        """
        found = self.shims.get(name)
        if found is not None:
            return found
        if name.startswith(_QEMU):
            plain = self.shims[_QEMU]
            return ShimFacts(
                name=name,
                section=_QEMU,
                family=Family.GO,
                config_directory=plain.config_directory,
                shim_binary=plain.shim_binary,
                qemu_artifact=_QEMU,
                hypervisor_binary=None,
                tee=None,
                overhead=None,
                arches=(),
                is_alias=False,
            )
        msg = f'unknown shim "{name}"; known shims: {", ".join(self.shims)}'
        raise UnknownShimError(msg, hint=did_you_mean(name, self.shims))

    def is_rust(self, name: str) -> bool:
        """Return whether ``name`` is a runtime-rs shim; unlisted names are not."""
        found = self.shims.get(name)
        return found is not None and found.is_rust

    def defaults(self, machine: str) -> ArchFacts:
        """Return the defaults of ``machine``; plain ``qemu`` on a machine that nothing is known of."""
        return self.arches.get(machine, _OTHER_ARCH)

    def has_row(self, name: str, machine: str) -> bool:
        """Return whether there are components for ``name`` on ``machine``."""
        found = self.shims.get(name)
        return found is not None and machine in found.arches


def emulator(machine: str, artifact: str = _QEMU) -> str:
    """Return the file name of QEMU artifact ``artifact`` on ``machine``: ``qemu-X`` is ``qemu-system-<machine>-X``."""
    plain = Arch(machine).emulator if machine in set(Arch) else f"qemu-system-{machine}"
    return plain + artifact.removeprefix(_QEMU)


@cache
def load_facts() -> Facts:
    """Return the facts this package carries. Raises :class:`IntegrityError` when the file is damaged."""
    name = "facts.json"
    data = files("kata_bundle.node").joinpath(name).read_bytes()
    fields = Fields(canonical.loads(data, what=name), name)
    if fields.integer("version") != _FORMAT_VERSION:
        msg = f"{name} is not of version {_FORMAT_VERSION}"
        raise IntegrityError(msg)
    arches = {
        machine: ArchFacts(default_shims=entry.texts("default_shims"), default_shim=entry.text("default_shim"))
        for machine, entry in fields.child("arches").members()
    }
    shims = {shim: _shim(shim, entry) for shim, entry in fields.child("shims").members()}
    return Facts(shims=MappingProxyType(shims), arches=MappingProxyType(arches))


def _shim(name: str, fields: Fields) -> ShimFacts:
    overhead = None
    if fields.value("overhead") is not None:
        entry = fields.child("overhead")
        overhead = (entry.text("memory"), entry.text("cpu"))
    return ShimFacts(
        name=name,
        section=fields.text("section"),
        family=Family(fields.text("family")),
        config_directory=fields.text("config_directory"),
        shim_binary=fields.text("shim_binary"),
        qemu_artifact=fields.optional_text("qemu_artifact"),
        hypervisor_binary=fields.optional_text("hypervisor_binary"),
        tee=fields.optional_text("tee"),
        overhead=overhead,
        arches=fields.texts("arches"),
        is_alias=fields.text("status") == _ALIAS,
    )
