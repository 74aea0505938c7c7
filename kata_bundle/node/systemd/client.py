"""What the installer asks of systemd, over D-Bus (installer specification §17).

Each operation has a connection of its own: systemd forgets its private connections at a reload.
Must not know: which units matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kata_bundle.core.record import record
from kata_bundle.node.systemd import wire
from kata_bundle.node.systemd.errors import DBusCallError, SystemdError, UnitError
from kata_bundle.node.systemd.wire import unit_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.node.systemd.connection import Connection

__all__ = ["JOB_TIMEOUT_S", "START_LIMIT", "DBusSystemd", "Systemd", "UnitState", "job_succeeded"]

JOB_TIMEOUT_S = 300.0
"""How long a job may take (installer specification §17, §33)."""

START_LIMIT = "start-limit-hit"
"""The result of a service that was started so often in short time that systemd refuses to start it once more."""
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_ALREADY_SUBSCRIBED = "org.freedesktop.systemd1.AlreadySubscribed"


@record
class UnitState:
    """A unit as systemd sees it.

    ``active_since_us`` is when it last became active, in µs since the epoch; ``None``: not since the machine started.
    """

    name: str
    load_state: str
    active_state: str
    sub_state: str
    active_since_us: int | None

    @property
    def is_active(self) -> bool:
        """Whether the unit is up."""
        return self.active_state == "active"


class Systemd(Protocol):
    """The operations. Names without a unit type get ``.service``.

    All raise :class:`SystemdError` when systemd cannot be asked.
    """

    def unit_state(self, unit: str) -> UnitState:
        """Return the state of ``unit``; one that systemd does not know is ``not-found`` and ``inactive``."""

    def daemon_reload(self) -> None:
        """Make systemd read its unit files again."""

    def restart(self, unit: str) -> None:
        """Restart ``unit`` and wait for the job; raises :class:`UnitError` when it fails or the unit is failed afterwards.

        A unit that systemd refuses only because it was started often lately is made to start all the same: what a failing
        configuration used up must not keep the one that comes back from being loaded.
        """

    def stop(self, unit: str) -> None:
        """Stop ``unit`` and wait for the job; a unit that systemd does not know is stopped."""

    def enable(self, unit: str) -> None:
        """Enable ``unit``."""

    def disable(self, unit: str, *, now: bool = False) -> None:
        """Disable ``unit``; with ``now`` stop it first."""


def job_succeeded(result: str) -> bool:
    """Return whether a job that ended with ``result`` did what it was for."""
    return result in {"done", "skipped"}


class DBusSystemd:
    """systemd over a D-Bus connection that ``connect`` opens."""

    def __init__(self, connect: Callable[[], Connection], *, job_timeout_s: float = JOB_TIMEOUT_S) -> None:
        self._connect = connect
        self._job_timeout_s = job_timeout_s

    def unit_state(self, unit: str) -> UnitState:
        """Return the state of ``unit``."""
        with self._connect() as connection:
            return self._state(connection, unit_name(unit))

    def daemon_reload(self) -> None:
        """Reload the unit files; the reply is lost with the connection, so it is not waited for."""
        with self._connect() as connection:
            connection.post("Reload")
            # The call must have been read before the connection goes.
            connection.drain()
        # systemd serves one request after the other: when this answers, the reload is over.
        with self._connect() as connection:
            connection.call("GetDefaultTarget")

    def restart(self, unit: str) -> None:
        """Restart ``unit`` and wait for the job."""
        name = unit_name(unit)
        with self._connect() as connection:
            try:
                self._run_job(connection, "RestartUnit", name)
            except UnitError:
                if self._result(connection, name) != START_LIMIT:
                    raise
                connection.call("ResetFailedUnit", (name,), "s")
                self._run_job(connection, "RestartUnit", name)
            state = self._state(connection, name)
        if state.active_state == "failed":
            msg = f"{name} is failed after its restart"
            raise UnitError(msg, hint=f"journalctl -u {name} says why")

    def stop(self, unit: str) -> None:
        """Stop ``unit`` and wait for the job."""
        name = unit_name(unit)
        with self._connect() as connection:
            try:
                self._run_job(connection, "StopUnit", name)
            except DBusCallError as error:
                if error.name != _NO_SUCH_UNIT:
                    raise

    def enable(self, unit: str) -> None:
        """Enable ``unit``."""
        with self._connect() as connection:
            connection.call("EnableUnitFiles", ([unit_name(unit)], False, False), "asbb")

    def disable(self, unit: str, *, now: bool = False) -> None:
        """Disable ``unit``; with ``now`` stop it first."""
        if now:
            self.stop(unit)
        with self._connect() as connection:
            connection.call("DisableUnitFiles", ([unit_name(unit)], False), "asb")

    def _run_job(self, connection: Connection, method: str, name: str) -> None:
        _subscribe(connection)
        job = _first_text(connection.call(method, (name, "replace"), "ss"), method)
        body = connection.wait_signal(
            "JobRemoved", deadline_s=self._job_timeout_s, accept=lambda body: len(body) == 4 and body[1] == job
        )
        result = str(body[3])
        if not job_succeeded(result):
            msg = f'{method} of {name} ended with "{result}"'
            raise UnitError(msg, hint=f"journalctl -u {name} says why")

    def _result(self, connection: Connection, name: str) -> str:
        """Return how the service ended last; empty where it cannot be told, as for a unit that is no service."""
        try:
            path = _first_text(connection.call("GetUnit", (name,), "s"), "GetUnit")
            return str(_property(connection, path, wire.SERVICE_INTERFACE, "Result", of=name))
        except DBusCallError:
            return ""

    def _state(self, connection: Connection, name: str) -> UnitState:
        try:
            path = _first_text(connection.call("GetUnit", (name,), "s"), "GetUnit")
        except DBusCallError as error:
            if error.name != _NO_SUCH_UNIT:
                raise
            return UnitState(name=name, load_state="not-found", active_state="inactive", sub_state="dead", active_since_us=None)

        def property_(key: str) -> object:
            return _property(connection, path, wire.UNIT_INTERFACE, key, of=name)

        since = property_("ActiveEnterTimestamp")
        if not isinstance(since, int):
            msg = f"systemd says that {name} is active since {since!r}"
            raise SystemdError(msg)
        return UnitState(
            name=name,
            load_state=str(property_("LoadState")),
            active_state=str(property_("ActiveState")),
            sub_state=str(property_("SubState")),
            active_since_us=since or None,
        )


def _property(connection: Connection, path: str, interface: str, key: str, *, of: str) -> object:
    body = connection.call("Get", (interface, key), "ss", path=path, interface=wire.PROPERTIES_INTERFACE)
    value = body[0] if body else None
    if not (isinstance(value, tuple) and len(value) == 2):
        msg = f"systemd answered the property {key} of {of} with {value!r}"
        raise SystemdError(msg)
    return value[1]


def _subscribe(connection: Connection) -> None:
    """Ask for signals; a connection that runs a second job, after a unit's start limit was reset, has them already."""
    try:
        connection.call("Subscribe")
    except DBusCallError as error:
        if error.name != _ALREADY_SUBSCRIBED:
            raise


def _first_text(body: tuple[object, ...], method: str) -> str:
    if not body or not isinstance(body[0], str):
        msg = f"systemd answered {method} with {body!r}"
        raise SystemdError(msg)
    return body[0]
