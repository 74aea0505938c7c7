"""``kata-bundle node dispatch``: work on every selected node of a cluster through one Job each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, pass_app, quiet_option

if TYPE_CHECKING:
    from kata_bundle.node.dispatch import JobTemplate, NodeOutcome, Selected

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node dispatch --template install-job.yaml --prefix kata-install --handler kata-qemu
  kata-bundle node dispatch --work cleanup --template cleanup-job.yaml --prefix kata-cleanup \\
      --selector katacontainers.io/kata-runtime --ignore-taints
  kata-bundle node dispatch --template install-job.yaml --prefix kata-install --dry-run"""
)
@click.option("--template", required=True, metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="The Job, as YAML.")
@click.option("--prefix", required=True, metavar="NAME", help="What the Jobs' names begin with; the same for a repeated run.")
@click.option("--work", type=click.Choice(["install", "cleanup"]), default="install", show_default=True, help="What the Jobs do.")
@click.option("--node", "names", multiple=True, metavar="NAME", help="Exactly this node, whatever its taints; repeatable.")
@click.option(
    "--selector", "selectors", multiple=True, metavar="LABELS", help="Label selector; repeatable, the results are united."
)
@click.option("--field-selector", metavar="FIELDS", help="Field selector that has to match too.")
@click.option("--ignore-taints", is_flag=True, help="Do not pass over nodes with taints that are not tolerated.")
@click.option("--wait-for-nodes", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Wait for eligible nodes.")
@click.option(
    "--settle", type=click.FloatRange(min=0), default=15.0, show_default=True, metavar="SECONDS", help="… to come to rest."
)
@click.option(
    "--ready-within", type=click.FloatRange(min=0), default=300.0, show_default=True, metavar="SECONDS",
    help="For a node to be Ready again after its Job.",
)  # fmt: skip
@click.option("--parallelism", type=click.IntRange(1, 1000), default=100, show_default=True, metavar="N", help="Jobs at once.")
@click.option("--suffix", metavar="S", help="Suffix of the install.")
@click.option("--handler", "handlers", multiple=True, metavar="NAME", help="Handler that the install brings; repeatable.")
@click.option("--startup-taint", "taints", multiple=True, metavar="KEY[:EFFECT]", help="Taint to lift at the end; repeatable.")
@click.option(
    "--cleanup-template",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Before an install, clean nodes that are no longer selected with this Job.",
)
@click.option("--owner-name", envvar="JOB_NAME", show_envvar=True, metavar="NAME", help="Name of the dispatcher's own Job.")
@click.option("--owner-uid", envvar="JOB_UID", show_envvar=True, metavar="UID", help="… and its uid.")
@click.option(
    "--kubeconfig", metavar="FILE", help="Reach the cluster as this file says [default: the pod's account, $KUBECONFIG]."
)
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    *,
    template: str,
    prefix: str,
    work: str,
    names: tuple[str, ...],
    selectors: tuple[str, ...],
    field_selector: str | None,
    ignore_taints: bool,
    wait_for_nodes: float,
    settle: float,
    ready_within: float,
    parallelism: int,
    suffix: str | None,
    handlers: tuple[str, ...],
    taints: tuple[str, ...],
    cleanup_template: str | None,
    owner_name: str | None,
    owner_uid: str | None,
    kubeconfig: str | None,
) -> None:
    """Create one Job on each selected node, wait for all, and label the nodes that came out well.

    Exits with 8 when a node failed; the others are worked on all the same.
    """
    import os

    from kata_bundle.node.dispatch import Dispatcher, Run, Targets, Work
    from kata_bundle.node.kube.access import load_access
    from kata_bundle.node.kube.api import KubeApi
    from kata_bundle.node.kube.client import KubeClient
    from kata_bundle.node.kube.objects import Owner
    from kata_bundle.node.termination import Termination

    termination = Termination()
    run = Run(
        work=Work(work),
        prefix=prefix,
        template=_template(template),
        suffix=suffix or None,
        handlers=handlers,
        startup_taints=taints,
        owner=Owner(kind="Job", name=owner_name, uid=owner_uid) if owner_name and owner_uid else None,
        parallelism=parallelism,
        ready_within_s=ready_within,
    )
    targets = Targets(
        names=names,
        selectors=selectors,
        field_selector=field_selector,
        ignore_taints=ignore_taints,
        wait_s=wait_for_nodes,
        settle_s=settle,
    )
    access = load_access(os.environ, kubeconfig=kubeconfig)
    with KubeClient(access, pause=termination.wait, pool_size=min(parallelism, 32)) as client:
        dispatcher = Dispatcher(KubeApi(client), pause=termination.wait, note=app.say)
        selected = dispatcher.resolve(targets, run.template)
        if app.dry_run:
            app.emit(_plan(selected), lambda: _plan_text(selected, work))
            return
        outcomes: tuple[NodeOutcome, ...] = ()
        if cleanup_template is not None and run.work is Work.INSTALL:
            cleanup = Run(
                work=Work.CLEANUP,
                prefix=f"{prefix}-leave",
                template=_template(cleanup_template),
                suffix=run.suffix,
                owner=run.owner,
                parallelism=parallelism,
            )
            outcomes += dispatcher.dispatch(cleanup, dispatcher.left_behind(run.suffix, selected))
        outcomes += dispatcher.dispatch(run, selected)
    app.emit(
        {"nodes": [{"node": outcome.node, "warnings": list(outcome.warnings)} for outcome in outcomes]},
        lambda: "\n".join(_line(outcome) for outcome in outcomes) or "no node to work on",
    )


def _template(path: str) -> JobTemplate:
    from pathlib import Path

    import yaml

    from kata_bundle.core.errors import UsageError
    from kata_bundle.node.dispatch import JobTemplate

    try:
        return JobTemplate.parse(yaml.safe_load(Path(path).read_bytes()))
    except yaml.YAMLError as error:
        message = f"{path} is not valid YAML: {error}"
        raise UsageError(message) from error


def _plan(selected: Selected) -> dict[str, object]:
    return {
        "dry_run": True,
        "nodes": [node.name for node in selected.nodes],
        "skipped": [{"node": node.name, "taint": str(taint)} for node, taint in selected.skipped],
        "missing": list(selected.missing),
    }


def _plan_text(selected: Selected, work: str) -> str:
    lines = [f"would {work} on {node.name}" for node in selected.nodes]
    lines += [f"would pass over {node.name}: {taint} is not tolerated" for node, taint in selected.skipped]
    lines += [f"there is no node {name}" for name in selected.missing]
    return "\n".join(lines) or "no node to work on"


def _line(outcome: NodeOutcome) -> str:
    return "; ".join([f"{outcome.node}: ok", *outcome.warnings])
