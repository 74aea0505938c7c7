"""Health of the installer process: its state, the probe server, the metrics text (installer specification §24.1, D18)."""

from __future__ import annotations

from kata_bundle.node.health.metrics import render_metrics
from kata_bundle.node.health.server import HealthServer, bind
from kata_bundle.node.health.state import HealthState, Snapshot, StageTime

__all__ = [
    "HealthServer",
    "HealthState",
    "Snapshot",
    "StageTime",
    "bind",
    "render_metrics",
]
