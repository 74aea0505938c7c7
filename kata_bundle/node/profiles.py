"""Applying a configuration profile to an installed tree: as a drop-in where there are drop-ins, else in the file itself.

A drop-in counts as the administrator's file: later installs carry it over, and verification does not take it for damage.
"""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.node.kata.configfile import merge_drop_ins, parse_config
from kata_bundle.node.kata.profile import profile_drop_in, profile_edit
from kata_bundle.node.shimfacts import load_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.node.kata.profile import Profile
    from kata_bundle.node.machine import Machine

__all__ = ["ProfileAction", "ProfileChange", "apply_profile", "plan_profile"]

_DROP_INS = "config.d"


class ProfileAction(StrEnum):
    """What has to be done to one file."""

    NONE = "none"
    WRITE = "write"
    REMOVE = "remove"


@record
class ProfileChange:
    """One file of the profile: host path, the real path, and what to do. ``data`` is what it shall hold."""

    shim: str
    path: str
    real: str
    action: ProfileAction
    is_drop_in: bool
    data: bytes | None


def plan_profile(machine: Machine, profile: Profile, *, remove: bool = False) -> tuple[ProfileChange, ...]:
    """Return what applying (or with ``remove`` taking back) ``profile`` changes, per shim of it whose configuration is there.

    Raises :class:`HostError` when none is, a file is not what the profile is for, or something edited in place is to be taken
    back.
    """
    changes = tuple(_changes(machine, profile, remove=remove))
    if not changes:
        msg = f'"{machine.site.dest}" has no configuration of {" or ".join(profile.shims)}'
        raise HostError(msg, hint="install one of these shims first, or name the install with --dest and --suffix")
    return changes


def apply_profile(machine: Machine, changes: tuple[ProfileChange, ...]) -> None:
    """Carry out ``changes``. The node-wide lock has to be held."""
    for change in changes:
        if change.action is ProfileAction.REMOVE:
            machine.files.unlink(change.real)
        elif change.action is ProfileAction.WRITE and change.data is not None:
            _write(machine, change.real, change.data, is_drop_in=change.is_drop_in)


def _changes(machine: Machine, profile: Profile, *, remove: bool) -> Iterator[ProfileChange]:
    site = machine.site
    for name in profile.shims:
        path = f"{site.dest}/{load_facts().shim(name).original_config}"
        real = site.at(path, follow=True)
        data = _read(real)
        if data is None:
            continue
        folder = os.path.join(os.path.dirname(real), _DROP_INS)
        if not os.path.isdir(folder):
            if remove:
                msg = f'"{path}" was edited in place, so the profile cannot be taken back'
                raise HostError(msg, hint="install the shim again")
            after = profile_edit(profile, data, site.dest, name=path)
            action = ProfileAction.NONE if after == data else ProfileAction.WRITE
            yield ProfileChange(shim=name, path=path, real=real, action=action, is_drop_in=False, data=after)
            continue
        place = os.path.join(folder, profile.drop_in)
        now = _read(place)
        wanted = None if remove else profile_drop_in(profile, _effective(data, folder, profile.drop_in, path), site.dest)
        action = ProfileAction.NONE if now == wanted else ProfileAction.REMOVE if wanted is None else ProfileAction.WRITE
        shown = f"{os.path.dirname(path)}/runtimes/{name}/{_DROP_INS}/{profile.drop_in}"
        yield ProfileChange(shim=name, path=shown, real=place, action=action, is_drop_in=True, data=wanted)


def _effective(data: bytes, folder: str, left_out: str, name: str) -> dict[str, Any]:
    """Return what the runtime makes of the configuration and the drop-ins in ``folder`` that come before ``left_out``."""
    texts = {key: _read(os.path.join(folder, key)) for key in sorted(os.listdir(folder)) if key < left_out}
    drop_ins = [parse_config(text, f"{folder}/{key}") for key, text in texts.items() if text is not None]
    return merge_drop_ins(parse_config(data, name), drop_ins)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(machine: Machine, path: str, data: bytes, *, is_drop_in: bool) -> None:
    folder, name = os.path.split(path)
    # The runtimes read every name in a directory of drop-ins: the unfinished file lies in its parent.
    parent = os.path.dirname(folder) if is_drop_in else folder
    mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o644
    machine.files.replace_file(path, data, temporary=os.path.join(parent, f".{name}.kata-bundle-new"), mode=mode)
