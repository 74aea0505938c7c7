"""Health of the installer process: its state, the probe server, the metrics text (installer specification §24.1, D18)."""

from __future__ import annotations

from kata_bundle.node.health.metrics import render_metrics
from kata_bundle.node.health.server import DEFAULT_PORT, HealthServer, bind, parse_port
from kata_bundle.node.health.state import HealthState, Snapshot, StageTime

__all__ = [
    "DEFAULT_PORT",
    "HealthServer",
    "HealthState",
    "Snapshot",
    "StageTime",
    "bind",
    "parse_port",
    "render_metrics",
]
