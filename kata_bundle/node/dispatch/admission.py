"""Which of the selected nodes a per-node Job may go to, as the scheduler would decide for a DaemonSet.

Pure. Sources: installer specification §32, Kubernetes documentation "Taints and Tolerations". Must not know: the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kata_bundle.node.kube.objects import Node, Reader
    from kata_bundle.node.kube.taints import Taint

__all__ = [
    "DAEMON_TOLERATIONS",
    "NoEligibleNodesError",
    "Settling",
    "Toleration",
    "admit",
    "check_nothing_eligible",
    "selector_passes",
]

SETTLE_S = 15.0
"""How long the set of eligible nodes has to stay as it is before work starts."""

_BLOCKING = frozenset({"NoSchedule", "NoExecute"})


@record
class Toleration:
    """A toleration; empty members match everything, as Kubernetes has it."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""

    @classmethod
    def parse(cls, reader: Reader) -> Toleration:
        """Return the toleration of a pod template."""
        return cls(
            key=reader.text("key"),
            operator=reader.text("operator"),
            value=reader.text("value"),
            effect=reader.text("effect"),
        )

    def tolerates(self, taint: Taint) -> bool:
        """Return whether it lets a pod onto a node with ``taint``."""
        if self.effect not in {"", taint.effect} or self.key not in {"", taint.key}:
            return False
        return self.operator == "Exists" or (self.operator in {"", "Equal"} and self.value == (taint.value or ""))

    def to_dict(self) -> dict[str, str]:
        """Return the toleration as the API spells it."""
        fields = {"key": self.key, "operator": self.operator, "value": self.value, "effect": self.effect}
        return {name: value for name, value in fields.items() if value}


DAEMON_TOLERATIONS = (
    Toleration(key="node.kubernetes.io/not-ready", operator="Exists", effect="NoExecute"),
    Toleration(key="node.kubernetes.io/unreachable", operator="Exists", effect="NoExecute"),
    Toleration(key="node.kubernetes.io/disk-pressure", operator="Exists", effect="NoSchedule"),
    Toleration(key="node.kubernetes.io/memory-pressure", operator="Exists", effect="NoSchedule"),
    Toleration(key="node.kubernetes.io/pid-pressure", operator="Exists", effect="NoSchedule"),
    Toleration(key="node.kubernetes.io/unschedulable", operator="Exists", effect="NoSchedule"),
)
"""What Kubernetes gives every DaemonSet pod."""


def admit(nodes: Iterable[Node], tolerations: Sequence[Toleration]) -> tuple[tuple[Node, ...], tuple[tuple[Node, Taint], ...]]:
    """Return the nodes that may be worked on, and the others each with its first taint that is not tolerated.

    ``tolerations`` are the Job template's; those of every DaemonSet are added. ``PreferNoSchedule`` never blocks.
    """
    known = (*tolerations, *DAEMON_TOLERATIONS)
    admitted, skipped = [], []
    for node in nodes:
        blocking = next((t for t in node.taints if t.effect in _BLOCKING and not any(k.tolerates(t) for k in known)), None)
        if blocking is None:
            admitted.append(node)
        else:
            skipped.append((node, blocking))
    return tuple(admitted), tuple(skipped)


def selector_passes(selectors: Sequence[str]) -> tuple[str | None, ...]:
    """Return the label selectors to query one by one, their results to be united; ``None`` stands for all nodes."""
    return tuple(dict.fromkeys(selector.strip() or None for selector in selectors)) or (None,)


class NoEligibleNodesError(HostError):
    """There is no node to work on, and there should be."""

    kind = "no_eligible_nodes"


def check_nothing_eligible(wait_s: float, skipped: Sequence[tuple[str, Taint]]) -> None:
    """Raise :class:`NoEligibleNodesError` when finding no node to work on is wrong.

    It is wrong when every matching node is tainted, and when waiting (``wait_s`` not 0) says that a node was expected. Otherwise
    there is nothing to do, and that is fine.
    """
    if skipped:
        name, taint = skipped[0]
        waited = f" within {wait_s:g} s" if wait_s else ""
        msg = (
            f'all {len(skipped)} matching node(s) have taints that are not tolerated{waited}; the first is "{name}" with {taint}'
        )
        value = f', operator: Equal, value: "{taint.value}"' if taint.value else ", operator: Exists"
        raise NoEligibleNodesError(msg, hint=f"add a toleration: {{key: {taint.key}{value}, effect: {taint.effect}}}")
    if wait_s:
        msg = f"no node matched the selection within {wait_s:g} s"
        raise NoEligibleNodesError(msg, hint="check the node selector and affinity; a wait of 0 allows an empty selection")


class Settling:
    """Decides when the set of eligible nodes has come to rest, from successive looks at it."""

    def __init__(self, *, wait_s: float, settle_s: float = SETTLE_S) -> None:
        self._wait_s = wait_s
        self._settle_s = settle_s
        self._seen: frozenset[str] | None = None
        self._started: float | None = None
        self._changed = 0.0

    def is_over(self, eligible: Iterable[str], now: float) -> bool:
        """Take one look at monotonic time ``now``; return whether to go on with what was seen.

        That is when something is eligible and has been the same for the settling time, or when the wait is over.
        """
        names = frozenset(eligible)
        if self._started is None:
            self._started = now
        if names != self._seen:
            self._seen, self._changed = names, now
        if now - self._started >= self._wait_s:
            return True
        return bool(names) and now - self._changed >= self._settle_s
