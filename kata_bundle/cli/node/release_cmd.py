"""``kata-bundle node release``: take away the permissions that an uninstall keeps for pods that still clean up."""

from __future__ import annotations

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node release --pods name=kata-deploy
  kata-bundle node release --pods name=kata-deploy-dev --suffix dev --within 1200"""
)
@click.option("--pods", required=True, metavar="LABELS", help="Label selector of the installer's pods.")
@click.option("--suffix", metavar="S", help="Suffix of the install.")
@click.option(
    "--within", type=click.FloatRange(min=0), default=660.0, show_default=True, metavar="SECONDS", help="For the pods to end."
)
@click.option(
    "--kubeconfig", metavar="FILE", help="Reach the cluster as this file says [default: the pod's account, $KUBECONFIG]."
)
@json_option
@quiet_option
@pass_app
def command(app: App, *, pods: str, suffix: str | None, within: float, kubeconfig: str | None) -> None:
    """Wait until no pod of the installer is left, then delete its service account, role and binding.

    Exits with 8, having deleted nothing, when pods are left.
    """
    import os

    from kata_bundle.node.kube.access import load_access
    from kata_bundle.node.kube.chart import release_rights
    from kata_bundle.node.kube.client import KubeClient
    from kata_bundle.node.termination import Termination

    wait = Termination().wait
    with KubeClient(load_access(os.environ, kubeconfig=kubeconfig), pause=wait) as client:
        gone = release_rights(client, pods=pods, suffix=suffix, within_s=within, pause=wait)
    app.emit({"deleted": list(gone)}, lambda: "\n".join(f"deleted {path}" for path in gone) or "nothing to delete")
