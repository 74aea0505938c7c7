"""Which way to systemd: its private socket, the system bus, or the ``systemctl`` program.

Must not know: what is asked.
"""

from __future__ import annotations

import os
import shutil
import stat
from functools import partial
from typing import TYPE_CHECKING

from kata_bundle.core.process import base_environment
from kata_bundle.node.systemd.client import JOB_TIMEOUT_S, DBusSystemd
from kata_bundle.node.systemd.connection import IO_TIMEOUT_S, Connection
from kata_bundle.node.systemd.errors import SystemdUnavailableError
from kata_bundle.node.systemd.systemctl import SystemctlSystemd

if TYPE_CHECKING:
    from kata_bundle.node.systemd.client import Systemd

__all__ = ["BUS_SOCKET", "PRIVATE_SOCKET", "has_systemd", "open_systemd"]

PRIVATE_SOCKET = "/run/systemd/private"
BUS_SOCKET = "/run/dbus/system_bus_socket"
_BOOTED = "/run/systemd/system"
"""There while systemd runs the machine, as sd_booted(3) says."""


def has_systemd(root: str = "/") -> bool:
    """Return whether a systemd runs from ``root``, or its socket is mounted there, whether or not it answers."""
    sockets = (os.path.join(root, path.lstrip("/")) for path in (PRIVATE_SOCKET, BUS_SOCKET))
    return os.path.isdir(os.path.join(root, _BOOTED.lstrip("/"))) or any(_is_socket(place) for place in sockets)


def open_systemd(
    root: str = "/", *, timeout_s: float = IO_TIMEOUT_S, job_timeout_s: float = JOB_TIMEOUT_S, programs: bool = True
) -> Systemd:
    """Return the systemd of the host whose files are below ``root``, by the first way that is there.

    ``systemctl`` is only used for this machine itself (``root`` is ``/``), and only with ``programs``. Raises
    :class:`SystemdUnavailableError`, naming every way that was tried, when there is none (D33).
    """
    tried = []
    for path, bus in ((PRIVATE_SOCKET, False), (BUS_SOCKET, True)):
        place = os.path.join(root, path.lstrip("/"))
        connect = partial(Connection.open, place, bus=bus, timeout_s=timeout_s)
        if not _is_socket(place):
            tried.append(f"{place} is no socket")
            continue
        try:
            connect().close()
        except SystemdUnavailableError as error:
            tried.append(str(error))
            continue
        return DBusSystemd(connect, job_timeout_s=job_timeout_s)
    if programs and os.path.realpath(root) == "/":
        program = shutil.which("systemctl", path=base_environment()["PATH"])
        if program is not None:
            return SystemctlSystemd(program, job_timeout_s=job_timeout_s)
        tried.append("there is no systemctl program")
    msg = "no systemd can be asked: " + "; ".join(tried)
    raise SystemdUnavailableError(msg, hint=f"mount the host's {PRIVATE_SOCKET} into the installer's container")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
