"""``kata-bundle node empty-snapshotter``: make containerd forget every record of one snapshotter."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, pass_app

if TYPE_CHECKING:
    from kata_bundle.node.snapshotters.maintenance import Emptied

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node empty-snapshotter nydus-for-kata-tee --dry-run
  kata-bundle node empty-snapshotter nydus-for-kata-tee --ctr "k3s ctr" --address /run/k3s/containerd/containerd.sock"""
)
@click.argument("snapshotter")
@click.option("--ctr", metavar="COMMAND", default="ctr", show_default=True, help="How to call containerd's client.")
@click.option("--address", metavar="SOCKET", default="/run/containerd/containerd.sock", show_default=True, help="Its socket.")
@dry_run_option
@json_option
@pass_app
def command(app: App, snapshotter: str, ctr: str, address: str) -> None:
    """Delete containerd's containers and snapshots of SNAPSHOTTER, whose service has to be running.

    For operators who want to remove a snapshotter for good; no install ever does this, and the data directory is never touched.
    Exits with 12 when something is still in use: then the data directory has to stay.
    """
    from kata_bundle.core.errors import DriftError
    from kata_bundle.node.snapshotters.maintenance import CtrRecords, empty_snapshotter

    records = CtrRecords(argv=tuple(shlex.split(ctr)), address=address)
    if app.dry_run:
        found = {
            namespace: [key for key, _ in snapshots]
            for namespace in records.namespaces()
            if (snapshots := records.snapshots(namespace, snapshotter))
        }
        count = sum(map(len, found.values()))
        app.emit({"dry_run": True, "snapshots": found}, lambda: f"would remove {count} snapshots of {snapshotter}")
        return
    done = empty_snapshotter(records, snapshotter)
    app.emit(_document(done), lambda: f"removed {done.containers} containers and {done.snapshots} snapshots of {snapshotter}")
    if not done.is_clean:
        left = "; ".join(f"{namespace}: {', '.join(keys)}" for namespace, keys in done.in_use.items())
        message = f"snapshots of {snapshotter} are still in use ({left})"
        raise DriftError(message, hint="end what uses them and run this again; keep the data directory until then")


def _document(done: Emptied) -> dict[str, Any]:
    return {
        "dry_run": False,
        "containers": done.containers,
        "snapshots": done.snapshots,
        "rounds": done.rounds,
        "clean": done.is_clean,
        "in_use": done.in_use,
    }
