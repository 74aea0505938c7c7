"""The dispatcher of job mode: one node-pinned Job a node, and all API work around it (installer specification §32)."""

from __future__ import annotations

from kata_bundle.node.dispatch.admission import NoEligibleNodesError, Toleration
from kata_bundle.node.dispatch.jobs import JobTemplate
from kata_bundle.node.dispatch.run import Dispatcher, DispatchError, NodeOutcome, Run, Selected, Targets, Work

__all__ = [
    "DispatchError",
    "Dispatcher",
    "JobTemplate",
    "NoEligibleNodesError",
    "NodeOutcome",
    "Run",
    "Selected",
    "Targets",
    "Toleration",
    "Work",
]
