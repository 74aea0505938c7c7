"""The calls of the Kubernetes API that the installer and the dispatcher make, typed (installer specification §27).

Each method is one resource and verb, so that the rights to grant can be read off this file. Must not know: when they are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from kata_bundle.core import clock
from kata_bundle.node.kube.client import APPLY_PATCH, JSON_PATCH, MERGE_PATCH
from kata_bundle.node.kube.errors import KubeStatusError
from kata_bundle.node.kube.objects import DaemonSet, Job, Node, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kata_bundle.node.kube.client import KubeClient

__all__ = ["KubeApi"]

_PAGE = "250"
_NODES = "/api/v1/nodes"
_RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


class KubeApi:
    """The typed calls over one client. All raise :class:`~kata_bundle.node.kube.errors.KubeError`."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    @property
    def namespace(self) -> str:
        """The namespace of our own objects."""
        return self._client.namespace

    # nodes: get, patch

    def node(self, name: str) -> Node:
        """Return a node."""
        return Node.parse(self._client.request("GET", f"{_NODES}/{quote(name, safe='')}"))

    def nodes(self, *, label_selector: str | None = None, field_selector: str | None = None) -> tuple[Node, ...]:
        """Return all nodes that match, in the server's order (list)."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return tuple(Node.parse(item) for item in self._pages(_NODES, {k: v for k, v in query.items() if v}))

    def set_labels(self, name: str, updates: Mapping[str, str | None]) -> None:
        """Set or remove (``None``) single labels of a node, whatever its others are; no call when nothing is to change (D9)."""
        if updates:
            body = {"metadata": {"labels": dict(updates)}}
            self._client.request("PATCH", f"{_NODES}/{quote(name, safe='')}", body=body, content_type=MERGE_PATCH)

    def patch_node(self, name: str, patch: Sequence[Mapping[str, object]]) -> None:
        """Apply a JSON Patch to a node."""
        body = [dict(operation) for operation in patch]
        self._client.request("PATCH", f"{_NODES}/{quote(name, safe='')}", body=body, content_type=JSON_PATCH)

    # nodes/proxy: get

    def kubelet_configuration(self, name: str) -> Reader:
        """Return what the node's kubelet says its configuration is."""
        return Reader(self._client.request("GET", f"{_NODES}/{quote(name, safe='')}/proxy/configz"), "configz")

    # daemonsets: get, list

    def daemonset(self, name: str, namespace: str | None = None) -> DaemonSet | None:
        """Return a DaemonSet, ``None`` when there is none of that name."""
        path = f"/apis/apps/v1/namespaces/{quote(namespace or self.namespace, safe='')}/daemonsets/{quote(name, safe='')}"
        found = self._get(path)
        return None if found is None else DaemonSet.parse(found)

    def daemonsets(self) -> tuple[DaemonSet, ...]:
        """Return the DaemonSets of all namespaces."""
        return tuple(DaemonSet.parse(item) for item in self._pages("/apis/apps/v1/daemonsets", {}))

    # pods: list

    def pod_names(self, label_selector: str, namespace: str | None = None) -> tuple[str, ...]:
        """Return the names of the pods that match in one namespace."""
        path = f"/api/v1/namespaces/{quote(namespace or self.namespace, safe='')}/pods"
        return tuple(
            Reader(item, "pod").child("metadata").text("name") for item in self._pages(path, {"labelSelector": label_selector})
        )

    # jobs: get, create, delete

    def job(self, name: str) -> Job | None:
        """Return a Job of our namespace, ``None`` when there is none of that name."""
        found = self._get(f"{self._jobs}/{quote(name, safe='')}")
        return None if found is None else Job.parse(found)

    def create_job(self, document: Mapping[str, object]) -> Job | None:
        """Create a Job; ``None`` when one of that name exists already."""
        try:
            return Job.parse(self._client.request("POST", self._jobs, body=dict(document)))
        except KubeStatusError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            raise

    def delete_job(self, name: str, *, uid: str) -> None:
        """Delete exactly the Job with ``uid`` and its pods first; one that is gone already is fine."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            self._client.request("DELETE", f"{self._jobs}/{quote(name, safe='')}", body=body)
        except KubeStatusError as error:
            if error.status not in {404, 409}:
                raise

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{quote(self.namespace, safe='')}/jobs"

    # runtimeclasses: patch, delete

    def apply_runtime_class(self, document: Mapping[str, object], *, manager: str = "kata-bundle") -> None:
        """Make a RuntimeClass be as ``document`` says, keeping members that others own (server-side apply)."""
        name = Reader(dict(document), "runtimeclass").child("metadata").text("name")
        self._client.request(
            "PATCH",
            f"{_RUNTIME_CLASSES}/{quote(name, safe='')}",
            query={"fieldManager": manager, "force": "true"},
            body=dict(document),
            content_type=APPLY_PATCH,
        )

    def delete_runtime_class(self, name: str) -> None:
        """Delete a RuntimeClass; absent is fine."""
        try:
            self._client.request("DELETE", f"{_RUNTIME_CLASSES}/{quote(name, safe='')}")
        except KubeStatusError as error:
            if error.status != 404:
                raise

    # events: create

    def report_event(self, *, node: str, node_uid: str, reason: str, message: str, warning: bool, component: str) -> None:
        """Create an event about a node in the ``default`` namespace, where those of nodes live."""
        now = clock.timestamp()
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{component}-", "namespace": "default"},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid},
            "reason": reason,
            "message": message[:1024],
            "type": "Warning" if warning else "Normal",
            "source": {"component": component, "host": node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._client.request("POST", "/api/v1/namespaces/default/events", body=body)

    def _get(self, path: str) -> object:
        try:
            return self._client.request("GET", path)
        except KubeStatusError as error:
            if error.status == 404:
                return None
            raise

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[object]:
        token = ""
        while True:
            asked = {**query, "limit": _PAGE, **({"continue": token} if token else {})}
            page = Reader(self._client.request("GET", path, query=asked), "list")
            items = page.plain("items")
            yield from items if isinstance(items, list) else ()
            token = page.child("metadata").text("continue")
            if not token:
                return
