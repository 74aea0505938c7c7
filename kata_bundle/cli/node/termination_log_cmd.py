"""``kata-bundle node termination-log``: a container's last words, from the guest to where Kubernetes looks for them."""

from __future__ import annotations

import os

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node termination-log ID --agent vsock://3:1024
  kata-bundle node termination-log ID --agent hvsock:///run/vc/vm/ID/root/kata.hvsock:1024 --bundle /run/containerd/ID"""
)
@click.argument("container", metavar="CONTAINER")
@click.option("--agent", metavar="ADDRESS", required=True, help="The guest's agent: vsock://, hvsock:// or unix://.")
@click.option(
    "--bundle", metavar="DIR", type=click.Path(exists=True, file_okay=False),
    help="Write the text where the container's OCI bundle says instead of printing it.",
)  # fmt: skip
@click.option(
    "--shared-fs", metavar="TYPE", default="none", show_default=True, help="What the shim's configuration says of shared_fs."
)
@click.option(
    "--within", type=click.FloatRange(min=0.1), metavar="SECONDS", default=5.0, show_default=True, help="Take no longer."
)
@json_option
@quiet_option
@pass_app
def command(app: App, container: str, *, agent: str, bundle: str | None, shared_fs: str, within: float) -> None:
    """Fetch the termination message of a container from its guest's agent.

    With --bundle, for use while a container is being stopped: what Kubernetes asked for decides whether anything is done, and
    nothing that goes wrong is more than a warning.
    """
    from kata_bundle.core.errors import BundleError
    from kata_bundle.node.diagnostics.address import parse_address
    from kata_bundle.node.diagnostics.agent import TERMINATION_LOG, diagnostic_data
    from kata_bundle.node.diagnostics.termination import load_container_spec, message_target, save_message

    address = parse_address(agent)
    if bundle is None:
        text = diagnostic_data(address, TERMINATION_LOG, container, timeout_s=within)
        app.emit({"container": container, "text": text}, lambda: text)
        return

    def warn(message: str) -> None:
        app.say(f"warning: {message}")

    target: str | None = None
    try:
        target = message_target(load_container_spec(os.path.join(bundle, "config.json")), shared_fs=shared_fs)
    except (BundleError, OSError) as error:
        warn(f"no termination message of container {container}: {error}")
    is_written = target is not None and save_message(address, container, target, timeout_s=within, warn=warn)
    document = {"container": container, "target": target, "written": is_written}
    app.emit(document, lambda: f"written to {target}" if is_written else "nothing written")
