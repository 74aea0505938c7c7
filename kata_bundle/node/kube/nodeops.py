"""What the installer does to its Node object, step by step (installer specification §20.2, §21, §22).

Each function is one operation over :class:`~kata_bundle.node.kube.api.KubeApi`; the decisions are in ``labels``, ``taints``,
``readiness`` and ``window``. Must not know: files, runtimes, units.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from kata_bundle.core import clock
from kata_bundle.core.errors import RemoteError
from kata_bundle.core.record import record
from kata_bundle.node.kube import labels, taints
from kata_bundle.node.kube.errors import KubeError, KubeStatusError
from kata_bundle.node.kube.readiness import LoadedHandlers, ReadyGate, installer_verdict, missing_handlers
from kata_bundle.node.kube.window import hold
from kata_bundle.node.pause import StopRequestedError, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kata_bundle.node.kube.api import KubeApi
    from kata_bundle.node.kube.objects import Node
    from kata_bundle.node.pause import Pause

__all__ = [
    "HandlerReport",
    "NoHandlersError",
    "NotReadyError",
    "apply_labels",
    "claim_node",
    "confirm_handlers",
    "demote_node",
    "kubelet_timeout_warning",
    "lift_taints",
    "parse_duration",
    "release_node",
    "wait_ready",
]

Decision = TypeVar("Decision")

LABEL_TRIES = 5
TAINT_TRIES = 3
READY_WITHIN_S = 300.0
HANDLERS_WITHIN_S = 120.0
POLL_S = 2.0
READ_FAILURES = 3
KUBELET_TIMEOUT_S = 600.0


class NotReadyError(RemoteError):
    """The node did not become ready in time."""


class NoHandlersError(RemoteError):
    """The container runtime serves none of our handlers."""


def claim_node(api: KubeApi, node: str, suffix: str | None) -> dict[str, str]:
    """Mark the node as being worked on: each label to ``false`` unless it exists. Return what was set.

    The reading is part of the write, so that a label that another install set meanwhile is not overwritten.
    """
    return _guarded(
        api,
        node,
        lambda found: dict(labels.claim_updates(found.labels, suffix)),
        lambda found, updates: labels.label_patch(found.labels, updates, resource_version=found.resource_version),
        tries=LABEL_TRIES,
        what="claiming",
    )


def demote_node(api: KubeApi, node: str, suffix: str | None) -> dict[str, str]:
    """Keep new workloads of the install with ``suffix`` away from the node before it is taken apart; return what was set."""
    return _guarded(
        api,
        node,
        lambda found: dict(labels.demote_updates(found.labels, suffix)),
        lambda found, updates: labels.label_patch(found.labels, updates, resource_version=found.resource_version),
        tries=LABEL_TRIES,
        what="demoting",
    )


def apply_labels(api: KubeApi, node: str, suffix: str | None, *, pause: Pause) -> int:
    """Set both labels to ``true`` and watch them through the stability window; return the number of applications.

    A label that already is ``true`` is not written again (D9), but the window is always watched (D10).
    """

    def apply() -> None:
        api.set_labels(node, dict(labels.apply_updates(api.node(node).labels, suffix)))

    return hold(apply, lambda: not labels.apply_updates(api.node(node).labels, suffix), pause=pause)


def release_node(
    api: KubeApi, node: str, suffix: str | None, *, unmarked_install: Callable[[Node], bool]
) -> dict[str, str | None]:
    """Take this install's labels off the node as the other installs allow; return what was changed.

    ``unmarked_install`` says whether another installer DaemonSet selects the node as it was read.
    """
    return _guarded(
        api,
        node,
        lambda found: labels.release_updates(found.labels, suffix, unmarked_install=unmarked_install(found)),
        lambda found, updates: labels.label_patch(found.labels, updates, resource_version=found.resource_version),
        tries=LABEL_TRIES,
        what="releasing",
    )


def lift_taints(api: KubeApi, node: str, matchers: Sequence[str]) -> tuple[str, ...]:
    """Remove the taints that ``matchers`` name; return the matcher of each one removed."""
    if not any(matcher.strip() for matcher in matchers):
        return ()

    def decide(found: Node) -> tuple[str, ...]:
        return taints.partition(found.taints, matchers)[1]

    def patch(found: Node, _removed: tuple[str, ...]) -> list[dict[str, object]]:
        return taints.taint_patch(taints.partition(found.taints, matchers)[0], resource_version=found.resource_version)

    return _guarded(api, node, decide, patch, tries=TAINT_TRIES, what="lifting the startup taints of")


def _guarded(
    api: KubeApi,
    node: str,
    decide: Callable[[Node], Decision],
    patch: Callable[[Node, Decision], list[dict[str, object]]],
    *,
    tries: int,
    what: str,
) -> Decision:
    """Read, decide, write guarded by what was read; when the node changed in between, again."""
    for attempt in range(1, tries + 1):
        found = api.node(node)
        decision = decide(found)
        if not decision:
            return decision
        try:
            api.patch_node(node, patch(found, decision))
        except KubeStatusError as error:
            if not labels.is_retryable(error.status):
                raise
            if attempt == tries:
                msg = f'{what} node "{node}" was overtaken by other changes {tries} times'
                raise KubeError(msg, retryable=True) from error
        else:
            return decision
    raise AssertionError  # pragma: no cover - the loop returns or raises


def wait_ready(
    api: KubeApi,
    node: str,
    *,
    restarted_at: float | None,
    pause: Pause,
    within_s: float = READY_WITHIN_S,
    now: Callable[[], float] = clock.monotonic,
) -> None:
    """Return when the node is ready since ``restarted_at``; failed readings count as not ready (D27).

    Raises :class:`NotReadyError` after ``within_s`` seconds, with what was seen last.
    """
    gate = ReadyGate(restarted_at=restarted_at)
    seen = "Unknown"

    def look() -> bool:
        nonlocal seen
        try:
            condition = api.node(node).ready
        except RemoteError as error:
            seen = str(error)
            return gate.observe(None, now())
        seen = "Unknown" if condition is None else condition.status
        return gate.observe(condition, now())

    if not poll(look, every_s=POLL_S, within_s=within_s, pause=pause, doing=f'waiting for node "{node}" to be ready', now=now):
        msg = f'node "{node}" was not ready within {within_s:g} s: {seen}'
        raise NotReadyError(msg, hint="the kubelet's and the container runtime's logs say why")


@record
class HandlerReport:
    """What is known about the handlers when the wait is over; ``missing`` are those expected and not served."""

    verdict: LoadedHandlers
    missing: tuple[str, ...] = ()


def confirm_handlers(
    api: KubeApi,
    node: str,
    expected: Sequence[str],
    *,
    runtime: str,
    pause: Pause,
    within_s: float = HANDLERS_WITHIN_S,
    now: Callable[[], float] = clock.monotonic,
) -> HandlerReport:
    """Watch the node's list of handlers until all ``expected`` are in it (installer specification §21).

    A kubelet that reports none, or three failed readings in a row, leave the question open without an error. Raises
    :class:`NoHandlersError` when at the end none of ours is served; some missing is for the caller to warn about.
    """
    if not expected:
        return HandlerReport(verdict=LoadedHandlers.UNKNOWN)
    end = now() + within_s
    failures = 0
    served: tuple[str, ...] | None = None
    while True:
        try:
            served = api.node(node).handlers
            failures = 0
        except RemoteError:
            failures += 1
            if failures >= READ_FAILURES:
                return HandlerReport(verdict=LoadedHandlers.UNKNOWN)
        else:
            verdict = installer_verdict(expected, served)
            if verdict in {LoadedHandlers.ALL, LoadedHandlers.UNKNOWN}:
                return HandlerReport(verdict=verdict)
        left = end - now()
        if left <= 0:
            break
        if pause(min(POLL_S, left)):
            doing = f'waiting for the handlers of node "{node}"'
            raise StopRequestedError(doing)
    verdict = installer_verdict(expected, served)
    if verdict is LoadedHandlers.NONE:
        msg = f'{runtime} on node "{node}" serves none of {", ".join(expected)}'
        raise NoHandlersError(msg, hint=f"the log of {runtime} says why it did not load them")
    return HandlerReport(verdict=verdict, missing=missing_handlers(expected, served or ()))


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float | None:
    """Return the seconds that a Go duration such as ``10m0s`` means, ``None`` when it is none."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    parts = _DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def kubelet_timeout_warning(api: KubeApi, node: str) -> str | None:
    """Return a warning when the kubelet's ``runtimeRequestTimeout`` is unknown or short for pulling images in the guest."""
    try:
        answer = api.kubelet_configuration(node)
        text = answer.child("kubeletconfig").optional("runtimeRequestTimeout") or answer.child("kubeletConfig").optional(
            "runtimeRequestTimeout"
        )
    except RemoteError as error:
        return f"the kubelet's runtimeRequestTimeout cannot be read: {error}"
    seconds = parse_duration(text) if text else None
    if seconds is None:
        shown = f'is "{text}", which is no duration' if text else "is not stated"
        return f"the kubelet's runtimeRequestTimeout {shown}; pulling images in the guest needs at least {KUBELET_TIMEOUT_S:g} s"
    if seconds < KUBELET_TIMEOUT_S:
        return (
            f"the kubelet's runtimeRequestTimeout is {text}, less than {KUBELET_TIMEOUT_S:g} s: "
            "pods that pull large images in the guest may not start; raise it in the kubelet's configuration"
        )
    return None
