"""``kata-bundle node await``: wait until a DaemonSet has come up on every node it is for."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node await --daemonset kata-deploy
  kata-bundle node await --daemonset kata-deploy-dev --within 600"""
)
@click.option("--daemonset", required=True, metavar="NAME", help="The DaemonSet, in the namespace of the pod's account.")
@click.option("--within", type=click.FloatRange(min=0), default=1200.0, show_default=True, metavar="SECONDS", help="At most.")
@click.option(
    "--kubeconfig", metavar="FILE", help="Reach the cluster as this file says [default: the pod's account, $KUBECONFIG]."
)
@json_option
@quiet_option
@pass_app
def command(app: App, *, daemonset: str, within: float, kubeconfig: str | None) -> None:
    """Wait until all pods of a DaemonSet are of its newest revision and ready; exit with 8 when they are not in time."""
    import os

    from kata_bundle.node.kube.access import load_access
    from kata_bundle.node.kube.chart import await_rollout
    from kata_bundle.node.kube.client import KubeClient
    from kata_bundle.node.termination import Termination

    wait = Termination().wait
    with KubeClient(load_access(os.environ, kubeconfig=kubeconfig), pause=wait) as client:
        pods = await_rollout(client, daemonset, within_s=within, pause=wait)
    app.emit({"daemonset": daemonset, "pods": pods}, lambda: f"{daemonset}: ready on {pods} nodes")
