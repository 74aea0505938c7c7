"""Which container runtime a node has, from evidence (installer specification §14).

Pure: the evidence (version string, unit states, declared distribution) is gathered elsewhere. Must not know configuration files.
"""

from __future__ import annotations

from enum import StrEnum

from kata_bundle.core.record import record
from kata_bundle.node.cri.versions import at_least
from kata_bundle.node.refusal import Refusal, RefusedError

__all__ = [
    "UNITS_TO_ASK",
    "Evidence",
    "Runtime",
    "check_declared",
    "declared_override",
    "detect_name",
    "detect_runtime",
    "is_drop_in_capable",
    "suggested_distribution",
    "systemd_unit",
]


class Runtime(StrEnum):
    """A container runtime as its distribution runs it."""

    CONTAINERD = "containerd"
    CRIO = "crio"
    K0S_CONTROLLER = "k0s-controller"
    K0S_WORKER = "k0s-worker"
    K3S = "k3s"
    K3S_AGENT = "k3s-agent"
    MICROK8S = "microk8s"
    RKE2_AGENT = "rke2-agent"
    RKE2_SERVER = "rke2-server"

    @property
    def unit(self) -> str:
        """The systemd unit that runs it."""
        return systemd_unit(self.value)

    @property
    def is_containerd(self) -> bool:
        """Whether it is containerd, by whatever name."""
        return self is not Runtime.CRIO

    @property
    def is_k0s(self) -> bool:
        """Whether k0s runs it and loads drop-ins by itself."""
        return self in {Runtime.K0S_CONTROLLER, Runtime.K0S_WORKER}

    @property
    def is_rancher(self) -> bool:
        """Whether k3s or rke2 runs it and renders its configuration from a template."""
        return self in {Runtime.K3S, Runtime.K3S_AGENT, Runtime.RKE2_AGENT, Runtime.RKE2_SERVER}


_UNITS = {
    "k0s-controller": "k0scontroller.service",
    "k0s-worker": "k0sworker.service",
    "microk8s": "snap.microk8s.daemon-containerd.service",
}
_MICROK8S_UNIT = _UNITS["microk8s"]
# Order decides: the first active one names the runtime.
_UNIT_ORDER = {
    "rke2-agent.service": "rke2-agent",
    "rke2-server.service": "rke2-server",
    "k3s-agent.service": "k3s-agent",
    "k3s.service": "k3s",
    "k0scontroller.service": "k0s-controller",
    "k0sworker.service": "k0s-worker",
}
UNITS_TO_ASK = (_MICROK8S_UNIT, *_UNIT_ORDER)
"""The units whose state the evidence must hold."""

_DISTRIBUTIONS = {
    "k3s": frozenset({"k3s", "k3s-agent"}),
    "rke2": frozenset({"rke2-server", "rke2-agent"}),
    "k0s": frozenset({"k0s-controller", "k0s-worker"}),
    "microk8s": frozenset({"microk8s"}),
}
_PLAIN = frozenset({"containerd", "crio"})


@record
class Evidence:
    """What is known of a node: its version string, which of :data:`UNITS_TO_ASK` are active, the declared distribution.

    ``active_units`` is ``None`` when systemd could not be asked; that is not the same as "nothing is active".
    """

    version: str | None
    active_units: frozenset[str] | None
    declared: str | None = None


def systemd_unit(runtime: str) -> str:
    """Return the unit that runs the runtime named ``runtime``; an unknown name maps to ``<name>.service``."""
    return _UNITS.get(runtime, f"{runtime}.service")


def declared_override(declared: str | None) -> str | None:
    """Return the runtime that the declared distribution forces, whatever its unit's state: only microk8s does."""
    return "microk8s" if declared == "microk8s" else None


def detect_name(evidence: Evidence) -> str:
    """Return the name of the node's runtime, which need not be one that is supported.

    The version string is not used to recognise k3s or rke2: recent ones report plain containerd. Raises
    :class:`RefusedError` when the version is not known, or systemd could not be asked and its answer would decide.
    """
    if evidence.version is None:
        msg = "the version of the node's container runtime is not known"
        hint = "set CONTAINER_RUNTIME_VERSION, or check that the Node object reports containerRuntimeVersion"
        raise RefusedError(Refusal.VERSION_UNKNOWN, msg, hint=hint)
    if (forced := declared_override(evidence.declared)) is not None:
        return forced
    if evidence.active_units is None:
        msg = "systemd could not be asked which container runtime is active"
        raise RefusedError(Refusal.SYSTEMD_UNREACHABLE, msg, hint="check that /run/systemd/private is mounted and readable")
    if _MICROK8S_UNIT in evidence.active_units:
        return "microk8s"
    if "cri-o" in evidence.version or "crio" in evidence.version:
        return "crio"
    for unit, name in _UNIT_ORDER.items():
        if unit in evidence.active_units:
            return name
    return evidence.version.partition(":")[0]


def detect_runtime(evidence: Evidence) -> Runtime:
    """Return the node's runtime. Raises :class:`RefusedError` as :func:`detect_name` does, and for one that is not supported."""
    name = detect_name(evidence)
    try:
        return Runtime(name)
    except ValueError:
        msg = f'container runtime "{name}" is not supported'
        raise RefusedError(Refusal.UNSUPPORTED_RUNTIME, msg, hint=f"supported are {', '.join(Runtime)}") from None


def suggested_distribution(runtime: str) -> str:
    """Return the distribution to declare for ``runtime``: the one that owns it, ``k8s`` when none does."""
    return next((name for name, runtimes in _DISTRIBUTIONS.items() if runtime in runtimes), "k8s")


def check_declared(declared: str | None, runtime: str) -> None:
    """Raise :class:`RefusedError` when ``runtime`` is not one that the ``declared`` distribution can present."""
    if not declared or runtime == "crio" or runtime in _DISTRIBUTIONS.get(declared, _PLAIN):
        return
    suggested = suggested_distribution(runtime)
    msg = f'the node runs "{runtime}", which the declared distribution "{declared}" does not use; set "{suggested}"'
    hint = f"K8S_DISTRIBUTION={suggested} (chart value k8sDistribution)"
    raise RefusedError(Refusal.DISTRIBUTION_MISMATCH, msg, hint=hint)


def is_drop_in_capable(runtime: str, version: str | None) -> bool:
    """Return whether the runtime reads our tables from a file of their own (installer specification §15.2).

    k3s and rke2 count as capable; whether the template imports the directory is checked separately.
    """
    if runtime == "crio":
        return False
    if runtime in _DISTRIBUTIONS["k0s"] | _DISTRIBUTIONS["k3s"] | _DISTRIBUTIONS["rke2"]:
        return True
    return version is not None and at_least(version, (2, 0))
