"""The host's systemd: unit states, daemon-reload, restart, enable, disable (installer specification §17, D20, D33)."""

from __future__ import annotations

from kata_bundle.node.systemd.client import DBusSystemd, Systemd, UnitState, job_succeeded
from kata_bundle.node.systemd.connection import Connection
from kata_bundle.node.systemd.errors import (
    DBusCallError,
    SystemdError,
    SystemdTimeoutError,
    SystemdUnavailableError,
    UnitError,
)
from kata_bundle.node.systemd.find import BUS_SOCKET, PRIVATE_SOCKET, open_systemd
from kata_bundle.node.systemd.systemctl import SystemctlSystemd
from kata_bundle.node.systemd.wire import unit_name

__all__ = [
    "BUS_SOCKET",
    "PRIVATE_SOCKET",
    "Connection",
    "DBusCallError",
    "DBusSystemd",
    "SystemctlSystemd",
    "Systemd",
    "SystemdError",
    "SystemdTimeoutError",
    "SystemdUnavailableError",
    "UnitError",
    "UnitState",
    "job_succeeded",
    "open_systemd",
    "unit_name",
]
