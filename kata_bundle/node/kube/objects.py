"""Kubernetes objects as far as the installer reads them, from the API's JSON.

Unknown members are the rule in these documents and are passed over; a member of the wrong type is an error that names it.
Sources: the API reference of core/v1, apps/v1 and batch/v1. Must not know: how they are fetched.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from kata_bundle.core.record import record
from kata_bundle.node.kube.errors import KubeError
from kata_bundle.node.kube.readiness import ReadyCondition
from kata_bundle.node.kube.selection import Requirement, SelectorTerm, selects
from kata_bundle.node.kube.taints import Taint

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DaemonSet", "Job", "Node", "Owner", "Reader", "ready_condition", "selector_terms", "served_handlers"]


class Reader:
    """Typed access to a JSON object of the API; a missing or null member reads as empty."""

    __slots__ = ("_value", "where")

    def __init__(self, value: object, where: str) -> None:
        if value is None:
            value = {}
        if not isinstance(value, dict):
            self._wrong(where, "an object")
        self._value: dict[str, object] = value
        self.where = where

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def child(self, key: str) -> Reader:
        """Return a nested object."""
        return Reader(self._value.get(key), f"{self.where}.{key}")

    def optional(self, key: str) -> str | None:
        """Return a text, ``None`` when it is missing."""
        value = self._value.get(key)
        if value is not None and not isinstance(value, str):
            self._wrong(f"{self.where}.{key}", "a text")
        return value

    def text(self, key: str) -> str:
        """Return a text, empty when it is missing."""
        return self.optional(key) or ""

    def integer(self, key: str) -> int:
        """Return a number, 0 when it is missing."""
        value = self._value.get(key)
        if value is None:
            return 0
        if type(value) is not int:
            self._wrong(f"{self.where}.{key}", "a whole number")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self._list(key)
        if not all(isinstance(item, str) for item in value):
            self._wrong(f"{self.where}.{key}", "texts")
        return tuple(str(item) for item in value)

    def text_map(self, key: str) -> dict[str, str]:
        """Return a mapping of texts to texts."""
        value = self._value.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            self._wrong(f"{self.where}.{key}", "an object of texts")
        return {str(name): str(item) for name, item in value.items()}

    def children(self, key: str) -> tuple[Reader, ...]:
        """Return a list of objects."""
        return tuple(Reader(item, f"{self.where}.{key}[{i}]") for i, item in enumerate(self._list(key)))

    def plain(self, key: str) -> object:
        """Return a member as it is."""
        return self._value.get(key)

    def _list(self, key: str) -> list[object]:
        value = self._value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong(f"{self.where}.{key}", "a list")
        return value

    @staticmethod
    def _wrong(where: str, expected: str) -> NoReturn:
        msg = f"the Kubernetes API sent something unexpected: {where} is not {expected}"
        raise KubeError(msg)


@record
class Node:
    """A node. ``handlers`` is ``None`` where the kubelet does not report runtime handlers."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    ready: ReadyCondition | None
    container_runtime_version: str | None
    machine_id: str | None
    handlers: tuple[str, ...] | None

    @classmethod
    def parse(cls, document: object) -> Node:
        """Return the node that ``document`` describes; raises :class:`KubeError` when it is no node."""
        reader = Reader(document, "node")
        metadata, status = reader.child("metadata"), reader.child("status")
        info = status.child("nodeInfo")
        return cls(
            name=metadata.text("name"),
            uid=metadata.text("uid"),
            resource_version=metadata.text("resourceVersion"),
            labels=metadata.text_map("labels"),
            taints=tuple(_taint(item) for item in reader.child("spec").children("taints")),
            ready=ready_condition(status),
            container_runtime_version=info.text("containerRuntimeVersion").strip() or None,
            machine_id=info.text("machineID").strip() or None,
            handlers=served_handlers(status),
        )

    def require_runtime_version(self) -> str:
        """Return the container runtime's version string; raises :class:`KubeError` naming the node and the field without one."""
        if self.container_runtime_version is None:
            msg = f'node "{self.name}" has no status.nodeInfo.containerRuntimeVersion'
            raise KubeError(msg, hint="is the kubelet running? CONTAINER_RUNTIME_VERSION sets it by hand")
        return self.container_runtime_version


def _taint(reader: Reader) -> Taint:
    return Taint(
        key=reader.text("key"),
        effect=reader.text("effect"),
        value=reader.optional("value"),
        time_added=reader.optional("timeAdded"),
    )


def ready_condition(status: Reader) -> ReadyCondition | None:
    """Return the ``Ready`` condition of a node's status, ``None`` when it has none."""
    for condition in status.children("conditions"):
        if condition.optional("type") == "Ready":
            return ReadyCondition(status=condition.text("status"), heartbeat=_seconds(condition.optional("lastHeartbeatTime")))
    return None


def served_handlers(status: Reader) -> tuple[str, ...] | None:
    """Return the names of the handlers a node reports, ``None`` when the field is absent; an empty list is an answer."""
    if "runtimeHandlers" not in status:
        return None
    return tuple(item.text("name") for item in status.children("runtimeHandlers"))


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


@record
class DaemonSet:
    """A DaemonSet, as far as it says which nodes it selects. ``required_terms`` is ``None`` without a required affinity."""

    name: str
    namespace: str
    uid: str
    is_deleting: bool
    node_selector: Mapping[str, str]
    required_terms: tuple[SelectorTerm, ...] | None

    @classmethod
    def parse(cls, document: object) -> DaemonSet:
        """Return the DaemonSet that ``document`` describes."""
        reader = Reader(document, "daemonset")
        metadata = reader.child("metadata")
        pod = reader.child("spec").child("template").child("spec")
        return cls(
            name=metadata.text("name"),
            namespace=metadata.text("namespace"),
            uid=metadata.text("uid"),
            is_deleting="deletionTimestamp" in metadata,
            node_selector=pod.text_map("nodeSelector"),
            required_terms=selector_terms(pod.child("affinity").child("nodeAffinity")),
        )

    def selects(self, node: Node) -> bool:
        """Return whether its pods belong on ``node``."""
        return selects(self.node_selector, self.required_terms, name=node.name, labels=node.labels)


def selector_terms(node_affinity: Reader) -> tuple[SelectorTerm, ...] | None:
    """Return the terms of a required node affinity, ``None`` when there is none."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    if required not in node_affinity:
        return None
    return tuple(
        SelectorTerm(
            expressions=tuple(_requirement(item) for item in term.children("matchExpressions")),
            fields=tuple(_requirement(item) for item in term.children("matchFields")),
        )
        for term in node_affinity.child(required).children("nodeSelectorTerms")
    )


def _requirement(reader: Reader) -> Requirement:
    return Requirement(key=reader.text("key"), operator=reader.text("operator"), values=reader.texts("values"))


@record
class Owner:
    """An owner reference."""

    kind: str
    name: str
    uid: str


@record
class Job:
    """A Job: who it belongs to and how it went. ``conditions`` are the types whose status is ``True``."""

    name: str
    uid: str
    labels: Mapping[str, str]
    owners: tuple[Owner, ...]
    is_deleting: bool
    conditions: frozenset[str]
    succeeded: int

    @classmethod
    def parse(cls, document: object) -> Job:
        """Return the Job that ``document`` describes."""
        reader = Reader(document, "job")
        metadata, status = reader.child("metadata"), reader.child("status")
        return cls(
            name=metadata.text("name"),
            uid=metadata.text("uid"),
            labels=metadata.text_map("labels"),
            owners=tuple(
                Owner(kind=item.text("kind"), name=item.text("name"), uid=item.text("uid"))
                for item in metadata.children("ownerReferences")
            ),
            is_deleting="deletionTimestamp" in metadata,
            conditions=frozenset(item.text("type") for item in status.children("conditions") if item.text("status") == "True"),
            succeeded=status.integer("succeeded"),
        )
