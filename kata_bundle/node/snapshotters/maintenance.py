"""Empty containerd's records of one snapshotter: for operators, never run by an install (installer specification §19.2).

Only when it ends clean may anybody think of removing the snapshotter's data directory; this never does. Must not know which
snapshotter.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from kata_bundle.core.errors import BuildError, HostError
from kata_bundle.core.process import run
from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ContainerdRecords", "CtrRecords", "Emptied", "empty_snapshotter"]

_DEFAULT_NAMESPACE = "k8s.io"


class ContainerdRecords(Protocol):
    """What containerd keeps about containers and snapshots. Every method raises ``HostError`` when it cannot be asked."""

    def namespaces(self) -> list[str]:
        """Return the namespaces."""

    def containers(self, namespace: str) -> list[tuple[str, str]]:
        """Return id and snapshotter of every container."""

    def remove_container(self, namespace: str, container: str) -> bool:
        """Delete a container's record; return whether it is gone."""

    def snapshots(self, namespace: str, snapshotter: str) -> list[tuple[str, str]]:
        """Return key and parent (empty for none) of every snapshot."""

    def remove_snapshot(self, namespace: str, snapshotter: str, key: str) -> bool:
        """Delete a snapshot; return whether it is gone."""


@record(kw_only=False, frozen=False)
class Emptied:
    """What was removed, and what is still in use, by namespace."""

    containers: int = 0
    snapshots: int = 0
    rounds: int = 0
    in_use: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether containerd has no record of the snapshotter any more."""
        return not self.in_use


def empty_snapshotter(records: ContainerdRecords, snapshotter: str) -> Emptied:
    """Delete every container and snapshot of ``snapshotter``, whose service has to be running; return what happened.

    A snapshot with children cannot go before them, so leaves are removed in rounds, as many as the longest chain is long; a round
    that removes nothing means that the rest is in use.
    """
    result = Emptied()
    try:
        namespaces = records.namespaces()
    except HostError:
        namespaces = [_DEFAULT_NAMESPACE]
    for namespace in namespaces:
        for container, used in records.containers(namespace):
            if used == snapshotter and records.remove_container(namespace, container):
                result.containers += 1
        while present := records.snapshots(namespace, snapshotter):
            result.rounds += 1
            parents = {parent for _, parent in present}
            removed = [key for key, _ in present if key not in parents and records.remove_snapshot(namespace, snapshotter, key)]
            result.snapshots += len(removed)
            if not removed:
                result.in_use[namespace] = sorted(key for key, _ in present)
                break
    return result


@record(kw_only=False)
class CtrRecords:
    """Asks containerd with its own client: ``argv`` is how to call it (``ctr``, ``k3s ctr``), ``address`` its socket."""

    argv: Sequence[str]
    address: str
    timeout_s: float = 60.0

    def _call(self, *words: str, namespace: str | None = None, check: bool = True) -> tuple[int, str]:
        place = ["--namespace", namespace] if namespace is not None else []
        try:
            done = run([*self.argv, "--address", self.address, *place, *words], timeout_s=self.timeout_s, check=False)
        except BuildError as error:
            raise HostError(str(error), hint="check that containerd answers") from None
        if check and done.status:
            msg = f"{done.command} failed: {done.stderr.decode('utf-8', 'replace').strip()}"
            raise HostError(msg, hint="check that containerd and the snapshotter's service are running")
        return done.status, done.text()

    def namespaces(self) -> list[str]:
        """Return the namespaces."""
        return self._call("namespaces", "list", "--quiet")[1].split()

    def containers(self, namespace: str) -> list[tuple[str, str]]:
        """Return id and snapshotter of every container."""
        found = []
        for container in self._call("containers", "list", "--quiet", namespace=namespace)[1].split():
            status, text = self._call("containers", "info", container, namespace=namespace, check=False)
            # It may have ended between the two calls.
            if not status:
                found.append((container, str(json.loads(text).get("Snapshotter", ""))))
        return found

    def remove_container(self, namespace: str, container: str) -> bool:
        """Delete a container's record, its snapshot kept for :meth:`remove_snapshot`; return whether it is gone."""
        return not self._call("containers", "delete", "--keep-snapshot", container, namespace=namespace, check=False)[0]

    def snapshots(self, namespace: str, snapshotter: str) -> list[tuple[str, str]]:
        """Return key and parent of every snapshot."""
        lines = self._call("snapshots", "--snapshotter", snapshotter, "list", namespace=namespace)[1].splitlines()[1:]
        rows = [line.split() for line in lines if line.strip()]
        return [(row[0], row[1] if len(row) > 2 else "") for row in rows]

    def remove_snapshot(self, namespace: str, snapshotter: str, key: str) -> bool:
        """Delete a snapshot; return whether it is gone."""
        return not self._call("snapshots", "--snapshotter", snapshotter, "remove", key, namespace=namespace, check=False)[0]
