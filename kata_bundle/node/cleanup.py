"""What a cleanup or a reset does to a node: the three-way decision, the order of the steps, and running all of them.

Sources: installer specification §25, §26, D8, D36, D40. Decisions are pure; :func:`survey_node` asks the API what they need,
before anything is changed, so that an API that does not answer leaves the node as it is. Must not know: how a step is done.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.errors import BundleError, InstallError
from kata_bundle.core.record import record
from kata_bundle.node.kube.labels import SharedLabel, shared_label_after
from kata_bundle.node.pause import StopRequestedError, poll
from kata_bundle.node.runtime import Runtime, systemd_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kata_bundle.node.kube.api import KubeApi
    from kata_bundle.node.kube.objects import DaemonSet, Node
    from kata_bundle.node.pause import Pause

__all__ = [
    "CleanupDecision",
    "CleanupError",
    "CleanupScope",
    "CleanupStep",
    "OwnDaemonSet",
    "ResetDecision",
    "Survey",
    "cleanup_steps",
    "decide_cleanup",
    "decide_reset",
    "holds_node",
    "other_installers",
    "run_steps",
    "survey_node",
    "wait_for_no_pods",
]

_INSTALLER_NAME = "kata-deploy"
_GRACE_S = 600.0
_POLL_S = 5.0


class OwnDaemonSet(StrEnum):
    """What is known of the DaemonSet that this pod belongs to."""

    HOLDS_NODE = "holds_node"
    """It exists, stays, and selects the node: this is a restart of the pod, not an uninstall."""
    DELETING = "deleting"
    ELSEWHERE = "elsewhere"
    """It exists but no longer selects the node."""
    ABSENT = "absent"


class CleanupScope(StrEnum):
    """How much goes."""

    SKIP = "skip"
    """Nothing: the next start completes what this one had begun."""
    INSTANCE = "instance"
    """This install's own things; another install stays on the node."""
    FULL = "full"
    """This install's things, and the shared label with them: nobody else is left."""


@record
class CleanupDecision:
    """The scope, and what becomes of the shared label (``None`` when nothing is done)."""

    scope: CleanupScope
    shared_label: SharedLabel | None


def decide_cleanup(
    own: OwnDaemonSet, labels: Mapping[str, str], suffix: str | None, *, unmarked_install: bool = False
) -> CleanupDecision:
    """Return what a cleanup has to do on a node with ``labels``.

    ``unmarked_install`` says whether another installer DaemonSet, of a release that sets no mark, selects the node.
    """
    if own is OwnDaemonSet.HOLDS_NODE:
        return CleanupDecision(scope=CleanupScope.SKIP, shared_label=None)
    shared = shared_label_after(labels, suffix, unmarked_install=unmarked_install)
    scope = CleanupScope.FULL if shared is SharedLabel.REMOVE else CleanupScope.INSTANCE
    return CleanupDecision(scope=scope, shared_label=shared)


class CleanupStep(StrEnum):
    """The steps of a cleanup by name."""

    RELEASE_LABELS = "release_labels"
    UNINSTALL_SNAPSHOTTERS = "uninstall_snapshotters"
    REMOVE_CRI_CONFIG = "remove_cri_config"
    REMOVE_ARTIFACTS = "remove_artifacts"
    RESTART_RUNTIME = "restart_runtime"


def cleanup_steps(runtime: Runtime) -> tuple[CleanupStep, ...]:
    """Return the steps in their order.

    Labels go first, so that no pod is scheduled to a node that is being taken apart; the restart comes last, since on k3s and
    rke2 it ends this very pod. CRI-O has no snapshotters.
    """
    return tuple(step for step in CleanupStep if runtime.is_containerd or step is not CleanupStep.UNINSTALL_SNAPSHOTTERS)


@record
class ResetDecision:
    """What a reset does after it let go of the labels: units to restart in order, and whether to label the node again (D40)."""

    restart_units: tuple[str, ...]
    relabel: bool


def decide_reset(
    own: OwnDaemonSet, labels: Mapping[str, str], suffix: str | None, runtime: Runtime, *, unmarked_install: bool = False
) -> ResetDecision:
    """Return what a reset has to do on a node with ``labels``: nothing more while another install serves there.

    Where our own DaemonSet still holds the node, nobody would set its labels again before the pod happens to restart.
    """
    relabel = own is OwnDaemonSet.HOLDS_NODE
    if shared_label_after(labels, suffix, unmarked_install=unmarked_install) is SharedLabel.KEEP:
        return ResetDecision(restart_units=(), relabel=relabel)
    # Elsewhere the kubelet is part of the distribution's own service.
    kubelet = ("kubelet.service",) if runtime in {Runtime.CRIO, Runtime.CONTAINERD} else ()
    return ResetDecision(restart_units=(systemd_unit(runtime.value), *kubelet), relabel=relabel)


@record
class Survey:
    """What the API says before a cleanup or a reset: the node, our DaemonSet, the others that look like installers."""

    node: Node
    own: OwnDaemonSet
    others: tuple[DaemonSet, ...]

    def has_unmarked_install(self, node: Node) -> bool:
        """Return whether another installer DaemonSet selects ``node`` (which may have been read again since)."""
        return holds_node(self.others, node)


def survey_node(api: KubeApi, node: str, *, daemonset: str) -> Survey:
    """Ask the API about the node and the installer DaemonSets. Raises ``KubeError``; nothing has been changed then."""
    found = api.node(node)
    ours = api.daemonset(daemonset)
    if ours is None:
        own = OwnDaemonSet.ABSENT
    elif ours.is_deleting:
        own = OwnDaemonSet.DELETING
    else:
        own = OwnDaemonSet.HOLDS_NODE if ours.selects(found) else OwnDaemonSet.ELSEWHERE
    return Survey(node=found, own=own, others=other_installers(api, own_name=daemonset))


def other_installers(api: KubeApi, *, own_name: str | None = None) -> tuple[DaemonSet, ...]:
    """Return the DaemonSets that look like installers, without the one named ``own_name`` in our own namespace."""
    own = (own_name, api.namespace)
    return tuple(found for found in api.daemonsets() if _INSTALLER_NAME in found.name and (found.name, found.namespace) != own)


def holds_node(daemonsets: Sequence[DaemonSet], node: Node) -> bool:
    """Return whether one of ``daemonsets`` stays and selects ``node``."""
    return any(not found.is_deleting and found.selects(node) for found in daemonsets)


class CleanupError(InstallError):
    """Some steps of a cleanup failed; the others were carried out. ``errors`` holds each with the step's name."""

    def __init__(self, errors: Sequence[tuple[str, BaseException]]) -> None:
        self.errors = tuple(errors)
        lines = "".join(f"\n  - {name}: {error}" for name, error in errors)
        super().__init__(
            f"{len(errors)} step(s) of the cleanup failed:{lines}", hint="run the cleanup again; what is done stays done"
        )


def run_steps(steps: Sequence[tuple[str, Callable[[], None]]], *, note: Callable[[str], None]) -> None:
    """Run every step in order, also after one failed; raise :class:`CleanupError` at the end with all that did (D8, D36).

    An interrupt or a programming error is not collected: it ends the run at once.
    """
    errors: list[tuple[str, BaseException]] = []
    for name, action in steps:
        try:
            action()
        except StopRequestedError:
            raise
        except (BundleError, OSError) as error:
            note(f"{name}: {error}; going on with the rest")
            errors.append((name, error))
    if errors:
        raise CleanupError(errors)


def wait_for_no_pods(api: KubeApi, label_selector: str, *, pause: Pause, within_s: float = _GRACE_S + 60) -> bool:
    """Return whether no pod matches any more, before the permissions that the pods still need are taken away (D11).

    A listing that fails means "not known", never "none"; the limit is longer than the pods' grace period.
    """

    def none_left() -> bool:
        try:
            return not api.pod_names(label_selector)
        except StopRequestedError:
            raise
        except BundleError:
            return False

    return poll(none_left, every_s=_POLL_S, within_s=within_s, pause=pause, doing="waiting for the installer's pods to end")
