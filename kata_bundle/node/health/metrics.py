"""The installer's state as OpenMetrics 1.0 text. Pure.

Must not know: how it is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kata_bundle.node.health.state import Snapshot

__all__ = ["render_metrics"]

_ERROR_LIMIT = 512


def render_metrics(snapshot: Snapshot, *, version: str) -> str:
    """Return the exposition of ``snapshot``, ending in ``# EOF``. A stage entered twice is added up."""
    seconds: dict[str, float] = {}
    running: dict[str, bool] = {}
    for stage in snapshot.stages:
        seconds[stage.name] = seconds.get(stage.name, 0.0) + stage.seconds
        running[stage.name] = stage.running
    lines = [
        "# TYPE kata_bundle_installer info",
        f"kata_bundle_installer_info{{version={_quoted(version)}}} 1",
        "# TYPE kata_bundle_ready gauge",
        "# HELP kata_bundle_ready Whether the whole install succeeded.",
        f"kata_bundle_ready {int(snapshot.ready)}",
    ]
    if seconds:
        lines.append("# TYPE kata_bundle_stage stateset")
        lines.append("# HELP kata_bundle_stage The stage under way.")
        lines += [f"kata_bundle_stage{{kata_bundle_stage={_quoted(name)}}} {int(running[name])}" for name in seconds]
        lines.append("# TYPE kata_bundle_stage_duration_seconds gauge")
        lines.append("# UNIT kata_bundle_stage_duration_seconds seconds")
        lines.append("# HELP kata_bundle_stage_duration_seconds Time spent in each stage so far.")
        lines += [f"kata_bundle_stage_duration_seconds{{stage={_quoted(name)}}} {value:.3f}" for name, value in seconds.items()]
    lines += [
        "# TYPE kata_bundle_payload_bytes gauge",
        "# UNIT kata_bundle_payload_bytes bytes",
        "# HELP kata_bundle_payload_bytes Payload put in place by this process.",
        f"kata_bundle_payload_bytes {snapshot.payload_bytes}",
    ]
    if snapshot.generation is not None:
        lines.append("# TYPE kata_bundle_generation gauge")
        lines.append("# HELP kata_bundle_generation The active generation.")
        lines.append(f"kata_bundle_generation {snapshot.generation}")
    if snapshot.last_error is not None:
        lines.append("# TYPE kata_bundle_last_error info")
        lines.append("# HELP kata_bundle_last_error Why the last attempt failed.")
        lines.append(f"kata_bundle_last_error_info{{reason={_quoted(snapshot.last_error)}}} 1")
    return "\n".join([*lines, "# EOF", ""])


def _quoted(text: str) -> str:
    text = text if len(text) <= _ERROR_LIMIT else text[: _ERROR_LIMIT - 1] + "…"
    text = text.encode("utf-8", "replace").decode()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
