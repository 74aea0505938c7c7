"""Another install directory than ``/opt/kata``: which values of a configuration have to follow, and the wrapper that QEMU needs.

Only what the shim's own configuration sets is rewritten, so no key comes in that it does not have (installer specification §7.1,
D1). Must not know where the result is written.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.record import record
from kata_bundle.node.kata.configfile import lookup
from kata_bundle.node.shimfacts import emulator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.shimfacts import ShimFacts

__all__ = ["PAYLOAD_PREFIX", "Wrapper", "moved", "prefix_values", "qemu_wrapper"]

PAYLOAD_PREFIX: Final = "/opt/kata"
"""Install directory that payload files are made for."""


@record
class Wrapper:
    """A script that starts QEMU with the firmware folder of this install. ``path`` is below the install directory."""

    path: str
    program: str
    firmware_folder: str

    def script(self, dest: str) -> bytes:
        """Return the script for install directory ``dest``; POSIX shell."""
        program, folder = shlex.quote(f"{dest}/{self.program}"), shlex.quote(f"{dest}/{self.firmware_folder}")
        return (
            "#!/bin/sh\n"
            "# QEMU looks for its firmware where it was built to be installed; this says where it is.\n"
            f'exec {program} "$@" -L {folder}\n'
        ).encode()


def moved(text: str, dest: str) -> str:
    """Return ``text`` with a leading ``/opt/kata`` replaced by ``dest``; other texts as they are."""
    if text == PAYLOAD_PREFIX or text.startswith(PAYLOAD_PREFIX + "/"):
        return dest + text[len(PAYLOAD_PREFIX) :]
    return text


def prefix_values(base: Mapping[str, Any], shim: ShimFacts, dest: str, wrapper: Wrapper | None) -> dict[str, Any]:
    """Return the values of ``base`` that name the payload's install directory, rewritten to ``dest``, in their tables.

    Arrays and arrays of tables come whole, since a drop-in replaces them. A QEMU shim's ``path`` becomes the ``wrapper``.
    """
    values = _rewritten_table(base, dest)
    if wrapper is not None:
        values["hypervisor"][shim.section]["path"] = f"{dest}/{wrapper.path}"
    return values


def qemu_wrapper(base: Mapping[str, Any], shim: ShimFacts, machine: str) -> Wrapper | None:
    """Return the wrapper for the emulator that ``base`` names; ``None`` when the shim is not QEMU or uses one of the host's."""
    if shim.qemu_artifact is None:
        return None
    path = lookup(base, "hypervisor", shim.section, "path")
    folder = f"{PAYLOAD_PREFIX}/bin/"
    if not isinstance(path, str) or not path.startswith(folder) or "/" in path[len(folder) :]:
        return None
    name = path[len(folder) :]
    # A payload that brings another emulator than expected keeps its own, with the firmware that its name tells.
    plain = emulator(machine)
    artifact = shim.qemu_artifact
    if name != emulator(machine, artifact) and name.startswith(plain):
        artifact = "qemu" + name[len(plain) :]
    return Wrapper(
        path=f"bin/{name}-installation-prefix",
        program=f"bin/{name}",
        firmware_folder=f"share/kata-{artifact}/qemu/",
    )


def _rewritten_table(table: Mapping[str, Any], dest: str) -> dict[str, Any]:
    """Return the members of ``table`` that change, the tables among them with their changing members only."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            inner = _rewritten_table(value, dest)
            if inner:
                found[key] = inner
        elif (new := _rewritten(value, dest)) != value:
            found[key] = new
    return found


def _rewritten(value: Any, dest: str) -> Any:
    if isinstance(value, str):
        return moved(value, dest)
    if isinstance(value, list):
        return [_rewritten(item, dest) for item in value]
    if isinstance(value, dict):
        return {key: _rewritten(item, dest) for key, item in value.items()}
    return value
