"""The Job of one node: made from the template, and judged while it runs (installer specification §32, D30). Pure.

Must not know: the API, when a Job is made.
"""

from __future__ import annotations

import copy
from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.errors import UsageError
from kata_bundle.core.record import record
from kata_bundle.node.dispatch.admission import DAEMON_TOLERATIONS, Toleration
from kata_bundle.node.dispatch.names import job_name, label_value
from kata_bundle.node.kube.objects import Job, Owner, Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.kube.objects import Node

__all__ = [
    "NODE_LABEL",
    "RUN_LABEL",
    "Disposition",
    "JobTemplate",
    "NodeFacts",
    "Outcome",
    "job_disposition",
    "job_outcome",
    "make_job",
    "with_facts",
]

RUN_LABEL = "katacontainers.io/dispatched-by"
"""Label of a per-node Job: the run it belongs to."""
NODE_LABEL = "katacontainers.io/dispatched-to"

_VERSION_VARIABLE = "CONTAINER_RUNTIME_VERSION"
_MACHINE_ID_VARIABLE = "NODE_MACHINE_ID"


class Outcome(StrEnum):
    """How a Job stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


def job_outcome(job: Job) -> Outcome:
    """Return how ``job`` stands."""
    if "Failed" in job.conditions:
        return Outcome.FAILED
    if "Complete" in job.conditions or job.succeeded >= 1:
        return Outcome.SUCCEEDED
    return Outcome.RUNNING


class Disposition(StrEnum):
    """What to do with a Job that has the name of ours."""

    NOT_OURS = "not_ours"
    """Somebody else's: refuse."""
    STALE = "stale"
    """Of an earlier run: delete and make anew."""
    CURRENT = "current"
    """Of this run, made before a restart of the dispatcher: take it over."""


def job_disposition(*, existing_label: str | None, existing_uid: str | None, our_label: str, our_uid: str | None) -> Disposition:
    """Return whose an existing Job is, by its run label and the uid of its owner."""
    if existing_label != our_label:
        return Disposition.NOT_OURS
    return Disposition.CURRENT if existing_uid == our_uid else Disposition.STALE


@record
class NodeFacts:
    """What the API knows of a node and its Job, which holds no credentials, cannot ask for; ``None`` where it says nothing."""

    container_runtime_version: str | None
    machine_id: str | None

    @classmethod
    def of(cls, node: Node) -> NodeFacts:
        """Return the facts of ``node``."""
        return cls(container_runtime_version=node.container_runtime_version, machine_id=node.machine_id)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that pass them on; a missing fact passes nothing."""
        found = {_VERSION_VARIABLE: self.container_runtime_version, _MACHINE_ID_VARIABLE: self.machine_id}
        return {name: value.strip() for name, value in found.items() if value and value.strip()}


@record
class JobTemplate:
    """A Job document as a chart renders it: everything but the node. Make it with :meth:`parse`."""

    document: Mapping[str, object]
    tolerations: tuple[Toleration, ...]

    @classmethod
    def parse(cls, document: object) -> JobTemplate:
        """Return the template; raises :class:`UsageError` when it is no Job with a pod template."""
        if not isinstance(document, dict) or document.get("kind") != "Job":
            msg = "the Job template is not a Kubernetes Job"
            raise UsageError(msg)
        pod = Reader(document, "template").child("spec").child("template").child("spec")
        if not pod.children("containers"):
            msg = "the Job template has no containers"
            raise UsageError(msg)
        return cls(document=document, tolerations=tuple(Toleration.parse(item) for item in pod.children("tolerations")))


def make_job(
    template: JobTemplate, node: Node, *, prefix: str, owner: Owner | None, tolerate_everything: bool
) -> dict[str, object]:
    """Return the Job that does the work on ``node``: pinned to it, owned by the dispatcher's own Job, with the node's facts.

    ``tolerate_everything`` is for nodes that the operator named: bound directly, only a ``NoExecute`` taint could end its pod.
    """
    document: dict[str, object] = copy.deepcopy(dict(template.document))
    name = job_name(prefix, node.name)
    labels = {RUN_LABEL: label_value(prefix), NODE_LABEL: label_value(node.name)}
    metadata = _object(document, "metadata")
    metadata["name"] = name
    metadata.pop("generateName", None)
    _object(metadata, "labels").update(labels)
    if owner is not None:
        reference = {"apiVersion": "batch/v1", "kind": owner.kind, "name": owner.name, "uid": owner.uid}
        metadata["ownerReferences"] = [{**reference, "controller": True, "blockOwnerDeletion": True}]
    pod_template = _object(_object(document, "spec"), "template")
    _object(_object(pod_template, "metadata"), "labels").update(labels)
    pod = _object(pod_template, "spec")
    pod["nodeName"] = node.name
    more = (Toleration(operator="Exists"),) if tolerate_everything else DAEMON_TOLERATIONS
    pod["tolerations"] = [toleration.to_dict() for toleration in dict.fromkeys((*template.tolerations, *more))]
    pod_template["spec"] = with_facts(pod, NodeFacts.of(node))
    return document


def with_facts(pod: Mapping[str, object], facts: NodeFacts) -> dict[str, object]:
    """Return the pod specification with the facts in the environment of every container, unless it sets them itself."""
    result: dict[str, object] = copy.deepcopy(dict(pod))
    for group in ("initContainers", "containers"):
        containers = result.get(group)
        for container in containers if isinstance(containers, list) else []:
            if not isinstance(container, dict):
                continue
            given = container.get("env")
            env = list(given) if isinstance(given, list) else []
            known = {item.get("name") for item in env if isinstance(item, dict)}
            env += [{"name": name, "value": value} for name, value in facts.variables.items() if name not in known]
            if env:
                container["env"] = env
    return result


def _object(parent: dict[str, object], key: str) -> dict[str, object]:
    """Return the nested object, made when it is missing."""
    found = parent.get(key)
    if found is None:
        found = parent[key] = {}
    if not isinstance(found, dict):
        msg = f"the Job template's {key} is no object"
        raise UsageError(msg)
    return found
