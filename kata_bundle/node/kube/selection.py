"""Whether a DaemonSet selects a node, as far as the installer has to know (installer specification §25.1). Pure.

Source: Kubernetes documentation "Assigning Pods to Nodes". Taints and pod affinity are not considered, on purpose: a DaemonSet
whose pods are kept away for a moment still owns the node. Must not know: how the API is reached.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Requirement", "SelectorTerm", "selects"]

_INTEGER = re.compile(r"[+-]?[0-9]+")


@record
class Requirement:
    """One expression of a selector term."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def is_met(self, value: str | None) -> bool:
        """Return whether ``value`` (``None``: absent) meets it; an unknown operator is never met."""
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compare(value)
            case _:
                return False

    def _compare(self, value: str | None) -> bool:
        if len(self.values) != 1 or value is None:
            return False
        if not _INTEGER.fullmatch(value) or not _INTEGER.fullmatch(self.values[0]):
            return False
        left, right = int(value), int(self.values[0])
        return left > right if self.operator == "Gt" else left < right


@record
class SelectorTerm:
    """Expressions over labels and over fields, all of which must be met. A term without any matches nothing."""

    expressions: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether a node with ``name`` and ``labels`` matches."""
        if not self.expressions and not self.fields:
            return False
        return all(r.is_met(labels.get(r.key)) for r in self.expressions) and all(
            r.key == "metadata.name" and r.is_met(name) for r in self.fields
        )


def selects(
    node_selector: Mapping[str, str], required_terms: Sequence[SelectorTerm] | None, *, name: str, labels: Mapping[str, str]
) -> bool:
    """Return whether a pod template with these constraints selects the node.

    ``required_terms`` is ``None`` without a required node affinity; with one, at least one term must match, so an empty list
    matches nothing.
    """
    if any(labels.get(key) != value for key, value in node_selector.items()):
        return False
    return required_terms is None or any(term.matches(name, labels) for term in required_terms)
