"""What a container runtime says about itself, as plain values, and what can be concluded from it.

Must not know: gRPC, sockets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kata_bundle.core.errors import RemoteError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kata_bundle.node.runtime import Runtime

__all__ = [
    "CriCondition",
    "CriError",
    "CriSandbox",
    "CriStatus",
    "CriVersion",
    "configured_handlers",
    "cri_socket",
    "our_sandboxes",
]


class CriError(RemoteError):
    """The container runtime's CRI does not answer, or refuses."""


@record
class CriVersion:
    """Name and version of the runtime, and of its interface."""

    runtime_name: str
    runtime_version: str
    api_version: str


@record
class CriCondition:
    """A condition such as ``RuntimeReady``."""

    kind: str
    is_true: bool
    reason: str
    message: str


@record
class CriStatus:
    """The runtime's state. ``handlers`` are the names it serves, ``None`` where this release does not tell."""

    conditions: tuple[CriCondition, ...]
    handlers: tuple[str, ...] | None

    @property
    def is_ready(self) -> bool:
        """Whether the runtime itself is ready; the network is the cluster's business."""
        return any(condition.kind == "RuntimeReady" and condition.is_true for condition in self.conditions)

    @property
    def not_ready_reason(self) -> str:
        """Why it is not ready, as it says."""
        for condition in self.conditions:
            if condition.kind == "RuntimeReady" and not condition.is_true:
                return f"{condition.reason}: {condition.message}".strip(": ") or "RuntimeReady is false"
        return "it reports no RuntimeReady condition"


@record
class CriSandbox:
    """A pod sandbox. ``created_at`` is in seconds since the epoch."""

    sandbox_id: str
    pod: str
    namespace: str
    handler: str
    is_ready: bool
    created_at: float


def configured_handlers(info: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the handlers in the configuration that a verbose status carries, ``None`` when it carries none.

    containerd before 2.0 reports no handlers by themselves, but its effective CRI configuration as JSON.
    """
    try:
        config = json.loads(info.get("config", ""))
    except ValueError:
        return None
    containerd = config.get("containerd") if isinstance(config, dict) else None
    runtimes = containerd.get("runtimes") if isinstance(containerd, dict) else None
    return tuple(sorted(str(name) for name in runtimes)) if isinstance(runtimes, dict) else None


def our_sandboxes(sandboxes: Collection[CriSandbox], handlers: Collection[str]) -> tuple[CriSandbox, ...]:
    """Return the sandboxes that run with one of ``handlers``, the oldest first."""
    return tuple(sorted((s for s in sandboxes if s.handler in handlers), key=lambda s: (s.created_at, s.sandbox_id)))


def cri_socket(runtime: Runtime) -> str:
    """Return where ``runtime``'s CRI listens on the host, as its distribution sets it up."""
    if runtime.is_rancher:
        return "/run/k3s/containerd/containerd.sock"
    if runtime.is_k0s:
        return "/run/k0s/containerd.sock"
    return {
        "crio": "/run/crio/crio.sock",
        "microk8s": "/var/snap/microk8s/common/run/containerd.sock",
    }.get(runtime.value, "/run/containerd/containerd.sock")
