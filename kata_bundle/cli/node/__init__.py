"""``kata-bundle node``: operations on a node beside installing and removing."""

from __future__ import annotations

import click

from kata_bundle.cli.lazy import LazyCommand, LazyGroup

__all__ = ["command"]

TABLE = {
    "config": LazyCommand(
        "kata_bundle.cli.node.config_cmd", "Print the effective configuration and where each value comes from."
    ),
    "doctor": LazyCommand("kata_bundle.cli.node.doctor_cmd", "Check a host's prerequisites; change nothing."),
    "dispatch": LazyCommand("kata_bundle.cli.node.dispatch_cmd", "Work on every selected node of a cluster, one Job each."),
    "await": LazyCommand("kata_bundle.cli.node.await_cmd", "Wait until a DaemonSet is ready on every node."),
    "release": LazyCommand("kata_bundle.cli.node.release_cmd", "Delete permissions kept for pods that clean up."),
    "profile": LazyCommand("kata_bundle.cli.node.profile_cmd", "Apply a configuration profile to an installed shim."),
    "empty-snapshotter": LazyCommand(
        "kata_bundle.cli.node.empty_snapshotter_cmd", "Make containerd forget a snapshotter's records; for operators."
    ),
    "diagnostics": LazyCommand(
        "kata_bundle.cli.node.diagnostics_cmd", "Collect what a bug report needs into one archive, without secrets."
    ),
    "termination-log": LazyCommand(
        "kata_bundle.cli.node.termination_log_cmd", "Fetch a container's termination message from its guest."
    ),
    "gc": LazyCommand("kata_bundle.cli.node.gc_cmd", "Remove generations that nothing needs any more."),
}


@click.command(cls=LazyGroup, table=TABLE)
def command() -> None:
    """Work on nodes: effective configuration, prerequisites, profiles, clean-up, dispatching."""
