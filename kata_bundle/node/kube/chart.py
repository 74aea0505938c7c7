"""What a chart's own jobs ask of the Kubernetes API: that a DaemonSet has come up, and that leftover permissions go.

Source: installer specification §27, D11, D28. Must not know: nodes, files, what the pods do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from kata_bundle.core.errors import RemoteError
from kata_bundle.node.cleanup import wait_for_no_pods
from kata_bundle.node.kube.api import KubeApi
from kata_bundle.node.kube.errors import KubeError, KubeStatusError
from kata_bundle.node.kube.objects import Reader
from kata_bundle.node.pause import poll, sleep_through

if TYPE_CHECKING:
    from kata_bundle.node.kube.client import KubeClient
    from kata_bundle.node.pause import Pause

__all__ = ["await_rollout", "release_rights", "rights"]

_POLL_S = 5.0
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def rights(namespace: str, suffix: str | None) -> tuple[str, ...]:
    """Return the API paths of what an uninstall keeps for pods that still clean up, the binding first."""
    ending = f"-{suffix}" if suffix else ""
    return (
        f"{_RBAC}/clusterrolebindings/kata-deploy-rb{ending}",
        f"{_RBAC}/clusterroles/kata-deploy-role{ending}",
        f"/api/v1/namespaces/{quote(namespace, safe='')}/serviceaccounts/kata-deploy-sa{ending}",
    )


def release_rights(
    client: KubeClient, *, pods: str, suffix: str | None, within_s: float, pause: Pause = sleep_through
) -> tuple[str, ...]:
    """Delete the permissions once no pod matches the label selector ``pods`` any more; return the paths deleted.

    Pods that cannot be listed count as still there. Raises :class:`RemoteError`, with nothing deleted, when some are left after
    ``within_s`` seconds, or when a deletion is refused.
    """
    if not wait_for_no_pods(KubeApi(client), pods, pause=pause, within_s=within_s):
        msg = f"pods with {pods} are still there, or cannot be listed, after {within_s:g} s; their permissions stay"
        raise RemoteError(msg, hint=f"kubectl -n {client.namespace} get pods -l {pods}")
    gone = []
    for path in rights(client.namespace, suffix):
        try:
            client.request("DELETE", path)
        except KubeStatusError as error:
            if error.status != 404:
                raise
        else:
            gone.append(path)
    return tuple(gone)


def await_rollout(client: KubeClient, daemonset: str, *, within_s: float, pause: Pause = sleep_through) -> int:
    """Return how many pods ``daemonset`` has once all are of its newest revision and ready.

    An answer that fails means "not yet". Raises :class:`RemoteError`, saying how far it came, after ``within_s`` seconds.
    """
    path = f"/apis/apps/v1/namespaces/{quote(client.namespace, safe='')}/daemonsets/{quote(daemonset, safe='')}"
    seen = "it was never seen"
    pods = 0

    def look() -> bool:
        nonlocal seen, pods
        try:
            found = Reader(client.request("GET", path), "daemonset")
        except KubeError as error:
            seen = str(error)
            return False
        status = found.child("status")
        pods = status.integer("desiredNumberScheduled")
        updated, ready = status.integer("updatedNumberScheduled"), status.integer("numberReady")
        seen = f"{ready} of {pods} pods are ready, {updated} are of the newest revision"
        newest = status.integer("observedGeneration") >= found.child("metadata").integer("generation")
        return newest and pods > 0 and updated == pods and ready == pods

    if not poll(look, every_s=_POLL_S, within_s=within_s, pause=pause, doing=f"waiting for {daemonset}"):
        msg = f"DaemonSet {daemonset} did not come up within {within_s:g} s: {seen}"
        raise RemoteError(msg, hint=f"kubectl -n {client.namespace} get pods -l name={daemonset}")
    return pods
