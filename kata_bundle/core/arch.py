"""The four architectures and their spellings in other vocabularies.

The enum owns the spellings (kernel/uname, Go/OCI, Debian): input has to be parsed before any catalog is loaded, so they are
code, not manifest data.
"""

from __future__ import annotations

import os
from enum import StrEnum

from kata_bundle.core.errors import HostError, UsageError

__all__ = ["Arch"]


class Arch(StrEnum):
    """An architecture; the value is the kernel's name (``uname -m``), the one manifests use."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    S390X = "s390x"
    PPC64LE = "ppc64le"

    @property
    def go_name(self) -> str:
        """Name in Go, OCI platforms and chart values."""
        return _GO[self]

    @property
    def debian_name(self) -> str:
        """Name in Debian packages."""
        return _DEBIAN[self]

    @property
    def emulator(self) -> str:
        """File name of the QEMU emulator without an artifact suffix."""
        return "qemu-system-ppc64" if self is Arch.PPC64LE else f"qemu-system-{self.value}"

    @classmethod
    def parse(cls, text: str) -> Arch:
        """Return the architecture that ``text`` names in any vocabulary, or raise :class:`UsageError`."""
        found = _SPELLINGS.get(text.strip())
        if found is None:
            known = ", ".join(f"{a.value} ({a.go_name})" if a.go_name != a.value else a.value for a in cls)
            msg = f'unknown architecture "{text}"'
            raise UsageError(msg, hint=f"known architectures: {known}")
        return found

    @classmethod
    def of_this_machine(cls) -> Arch:
        """Return this machine's architecture, or raise :class:`HostError` when Kata has no components for it."""
        machine = os.uname().machine
        found = _SPELLINGS.get(machine)
        if found is None:
            msg = f'this machine is "{machine}", which is none of {", ".join(cls)}'
            raise HostError(msg, hint="name the architecture explicitly with --arch")
        return found


_GO = {Arch.X86_64: "amd64", Arch.AARCH64: "arm64", Arch.S390X: "s390x", Arch.PPC64LE: "ppc64le"}
_DEBIAN = {Arch.X86_64: "amd64", Arch.AARCH64: "arm64", Arch.S390X: "s390x", Arch.PPC64LE: "ppc64el"}
_SPELLINGS = {
    **{a.value: a for a in Arch},
    **{name: a for a, name in _GO.items()},
    **{name: a for a, name in _DEBIAN.items()},
    "powerpc64": Arch.PPC64LE,
}
