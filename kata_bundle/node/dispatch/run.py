"""One run of the dispatcher: choose the nodes, work on each through a Job, label those that came out well.

Source: installer specification §32. One thread a node, at most ``parallelism`` at once; a node that fails does not stop the
others. Must not know: what a Job does on its node, files, units.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.errors import BundleError, RemoteError
from kata_bundle.core.parallel import map_ordered
from kata_bundle.core.record import record, replace
from kata_bundle.node.cleanup import holds_node, other_installers
from kata_bundle.node.dispatch.admission import Settling, admit, check_nothing_eligible, selector_passes
from kata_bundle.node.dispatch.jobs import RUN_LABEL, Disposition, Outcome, job_disposition, job_outcome, make_job
from kata_bundle.node.dispatch.names import job_name, label_value
from kata_bundle.node.handlers import instance_label
from kata_bundle.node.kube import nodeops
from kata_bundle.node.kube.errors import KubeStatusError
from kata_bundle.node.kube.readiness import HandlerVerdict, dispatcher_verdict
from kata_bundle.node.pause import StopRequestedError, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kata_bundle.node.dispatch.jobs import JobTemplate
    from kata_bundle.node.kube.api import KubeApi
    from kata_bundle.node.kube.objects import Job, Node, Owner
    from kata_bundle.node.kube.selection import SelectorTerm
    from kata_bundle.node.kube.taints import Taint
    from kata_bundle.node.pause import Pause

__all__ = ["DispatchError", "Dispatcher", "NodeOutcome", "Run", "Selected", "Targets", "Work"]

JOB_POLL_S = 2.0
UNREADABLE_S = 300.0
GONE_WITHIN_S = 300.0


class Work(StrEnum):
    """What the Jobs do."""

    INSTALL = "install"
    CLEANUP = "cleanup"


@record
class Targets:
    """Which nodes: by name, or by label selectors (united), a field selector and required affinity terms (both must hold too)."""

    names: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    field_selector: str | None = None
    required_terms: tuple[SelectorTerm, ...] | None = None
    ignore_taints: bool = False
    wait_s: float = 0.0
    settle_s: float = 15.0


@record
class Run:
    """One run.

    ``prefix`` names its Jobs and must be the same when a restarted dispatcher goes on with it; ``handlers`` are those expected
    after an install; ``owner`` is the dispatcher's own Job.
    """

    work: Work
    prefix: str
    template: JobTemplate
    suffix: str | None = None
    handlers: tuple[str, ...] = ()
    startup_taints: tuple[str, ...] = ()
    owner: Owner | None = None
    parallelism: int = 100
    ready_within_s: float = nodeops.READY_WITHIN_S
    handlers_within_s: float = nodeops.HANDLERS_WITHIN_S
    job_within_s: float = 3900.0


@record
class Selected:
    """The nodes to work on.

    ``skipped`` are those passed over, each with the taint that is in the way; ``missing`` the names for which there is no node.
    ``again`` is the selection that has to hold still when a node's turn comes; without it the nodes are taken as they are, and
    every taint is tolerated.
    """

    nodes: tuple[Node, ...]
    skipped: tuple[tuple[Node, Taint], ...] = ()
    missing: tuple[str, ...] = ()
    again: Targets | None = None


@record
class NodeOutcome:
    """How a node came out: ``error`` is ``None`` when it did well; ``warnings`` are for people."""

    node: str
    error: str | None = None
    warnings: tuple[str, ...] = ()


class DispatchError(RemoteError):
    """At least one node failed; ``outcomes`` has all of them."""

    def __init__(self, outcomes: Sequence[NodeOutcome]) -> None:
        self.outcomes = tuple(outcomes)
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        lines = "".join(f"\n  - {outcome.node}: {outcome.error}" for outcome in failed)
        super().__init__(
            f"{len(failed)} of {len(outcomes)} node(s) failed:{lines}", hint="run it again; nodes that are done stay done"
        )


class _NodeError(RemoteError):
    """One node cannot be worked on."""


class Dispatcher:
    """Works on nodes over ``api``; ``pause`` is how it waits, ``note`` how it tells."""

    def __init__(
        self,
        api: KubeApi,
        *,
        pause: Pause,
        note: Callable[[str], None],
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._api = api
        self._pause = pause
        self._note = note
        self._now = now

    def resolve(self, targets: Targets, template: JobTemplate) -> Selected:
        """Return the nodes to work on, waiting for them as ``targets`` say.

        Raises :class:`~kata_bundle.node.dispatch.admission.NoEligibleNodesError` when there is none and there should be.
        """
        if targets.names:
            return self._named(targets.names)
        settling = Settling(wait_s=targets.wait_s, settle_s=targets.settle_s)
        while True:
            found = self._look(targets, template)
            if settling.is_over((node.name for node in found.nodes), self._now()):
                break
            if self._pause(JOB_POLL_S):
                doing = "waiting for eligible nodes"
                raise StopRequestedError(doing)
        for node, taint in found.skipped:
            self._note(f'node "{node.name}" is passed over: {taint} is not tolerated')
        if not found.nodes:
            check_nothing_eligible(targets.wait_s, [(node.name, taint) for node, taint in found.skipped])
        return found

    def left_behind(self, suffix: str | None, desired: Selected) -> Selected:
        """Return the nodes that carry our mark and are no longer selected: an upgrade cleans them first.

        A node that is merely passed over for a taint stays as it is.
        """
        keep = {node.name for node in desired.nodes} | {node.name for node, _ in desired.skipped} | set(desired.missing)
        marked = self._api.nodes(label_selector=instance_label(suffix))
        return Selected(nodes=tuple(node for node in marked if node.name not in keep))

    def dispatch(self, run: Run, selected: Selected) -> tuple[NodeOutcome, ...]:
        """Work on every node; return the outcomes in the nodes' order. Raises :class:`DispatchError` when one failed."""

        def work(node: Node) -> NodeOutcome:
            try:
                warnings = self._work_on(run, node, selected.again)
            except StopRequestedError:
                raise
            except BundleError as error:
                self._note(f"{node.name}: {error}")
                return NodeOutcome(node=node.name, error=str(error))
            self._note(f"{node.name}: {run.work} done")
            return NodeOutcome(node=node.name, warnings=warnings)

        absent = tuple(NodeOutcome(node=name, error="there is no such node") for name in selected.missing)
        outcomes = absent + tuple(map_ordered(work, selected.nodes, jobs=run.parallelism))
        if any(outcome.error is not None for outcome in outcomes):
            raise DispatchError(outcomes)
        return outcomes

    def _look(self, targets: Targets, template: JobTemplate) -> Selected:
        found: dict[str, Node] = {}
        for selector in selector_passes(targets.selectors):
            for node in self._api.nodes(label_selector=selector, field_selector=targets.field_selector):
                found[node.name] = node
        terms = targets.required_terms
        nodes = [
            node
            for name, node in sorted(found.items())
            if terms is None or any(term.matches(name, node.labels) for term in terms)
        ]
        if targets.ignore_taints:
            return Selected(nodes=tuple(nodes), again=targets)
        admitted, skipped = admit(nodes, template.tolerations)
        return Selected(nodes=admitted, skipped=skipped, again=targets)

    def _named(self, names: Sequence[str]) -> Selected:
        found, missing = [], []
        for name in sorted(set(names)):
            try:
                found.append(self._api.node(name))
            except KubeStatusError as error:
                if error.status != 404:
                    raise
                missing.append(name)
        return Selected(nodes=tuple(found), missing=tuple(missing))

    def _work_on(self, run: Run, node: Node, again: Targets | None) -> tuple[str, ...]:
        fresh = self._api.node(node.name)
        if fresh.uid != node.uid:
            msg = "the node was replaced by another of the same name meanwhile"
            raise _NodeError(msg)
        if again is not None and not self._is_selected(again, run.template, node.name):
            return ("the node is no longer selected, so nothing was done",)
        self._take(run, fresh.name)
        self._wait_for(run, self._ensure_job(run, fresh, by_name=again is None))
        if run.work is Work.CLEANUP:
            others = other_installers(self._api)
            nodeops.release_node(self._api, node.name, run.suffix, unmarked_install=lambda found: holds_node(others, found))
            return ()
        return self._admit_workloads(run, node.name)

    def _is_selected(self, targets: Targets, template: JobTemplate, name: str) -> bool:
        fields = ",".join(filter(None, [targets.field_selector, f"metadata.name={name}"]))
        return bool(self._look(replace(targets, field_selector=fields), template).nodes)

    def _take(self, run: Run, node: str) -> None:
        """Keep new workloads away while the node is worked on; this has to succeed."""
        if run.work is Work.INSTALL:
            nodeops.claim_node(self._api, node, run.suffix)
        else:
            nodeops.demote_node(self._api, node, run.suffix)

    def _ensure_job(self, run: Run, node: Node, *, by_name: bool) -> Job:
        document = make_job(run.template, node, prefix=run.prefix, owner=run.owner, tolerate_everything=by_name)
        name = job_name(run.prefix, node.name)
        for _ in range(2):
            created = self._api.create_job(document)
            if created is not None:
                return created
            existing = self._api.job(name)
            if existing is None:
                continue
            match self._whose(run, existing):
                case Disposition.CURRENT:
                    return existing
                case Disposition.NOT_OURS:
                    msg = f'there is a Job "{name}" that is not ours'
                    raise _NodeError(msg, hint=f"delete it, or use another prefix than {run.prefix}")
                case Disposition.STALE:
                    self._replace(name, existing)
        created = self._api.create_job(document)
        if created is None:
            msg = f'Job "{name}" keeps coming back'
            raise _NodeError(msg)
        return created

    @staticmethod
    def _whose(run: Run, existing: Job) -> Disposition:
        return job_disposition(
            existing_label=existing.labels.get(RUN_LABEL),
            existing_uid=existing.owners[0].uid if existing.owners else None,
            our_label=label_value(run.prefix),
            our_uid=run.owner.uid if run.owner is not None else None,
        )

    def _replace(self, name: str, existing: Job) -> None:
        self._api.delete_job(name, uid=existing.uid)

        def gone() -> bool:
            left = self._api.job(name)
            return left is None or left.uid != existing.uid

        doing = f'waiting for the old Job "{name}" to go'
        if not poll(gone, every_s=JOB_POLL_S, within_s=GONE_WITHIN_S, pause=self._pause, doing=doing, now=self._now):
            msg = f'the old Job "{name}" did not go within {GONE_WITHIN_S:g} s'
            raise _NodeError(msg)

    def _wait_for(self, run: Run, job: Job) -> None:
        """Return when ``job`` succeeded; raises when it fails, vanishes, cannot be read for long, or takes too long."""
        end = self._now() + run.job_within_s
        seen_at = self._now()
        trouble = ""
        while True:
            try:
                found = self._api.job(job.name)
                seen_at = self._now()
            except KubeStatusError as error:
                if 400 <= error.status < 500:
                    raise
                trouble = str(error)
            except RemoteError as error:
                trouble = str(error)
            else:
                if found is None or found.uid != job.uid:
                    msg = f'Job "{job.name}" vanished before its result was known'
                    raise _NodeError(msg)
                outcome = job_outcome(found)
                if outcome is Outcome.SUCCEEDED:
                    return
                if outcome is Outcome.FAILED:
                    msg = f'Job "{job.name}" failed'
                    raise _NodeError(msg, hint=f"kubectl -n {self._api.namespace} logs job/{job.name} --all-containers")
            if self._now() - seen_at >= UNREADABLE_S:
                msg = f'Job "{job.name}" could not be read for {UNREADABLE_S:g} s: {trouble}'
                raise _NodeError(msg)
            if self._now() >= end:
                msg = f'Job "{job.name}" is not done after {run.job_within_s:g} s'
                raise _NodeError(msg)
            if self._pause(JOB_POLL_S):
                doing = f'waiting for Job "{job.name}"'
                raise StopRequestedError(doing)

    def _admit_workloads(self, run: Run, node: str) -> tuple[str, ...]:
        """After an install: the node is ready and serves us, so it gets its labels and loses its startup taints."""
        nodeops.wait_ready(self._api, node, restarted_at=None, pause=self._pause, within_s=run.ready_within_s, now=self._now)
        self._require_handlers(run, node)
        nodeops.apply_labels(self._api, node, run.suffix, pause=self._pause)
        try:
            nodeops.lift_taints(self._api, node, run.startup_taints)
        except RemoteError as error:
            # A taint that stays keeps workloads away: the safe direction.
            return (f"the startup taints were not lifted: {error}",)
        return ()

    def _require_handlers(self, run: Run, node: str) -> None:
        served: tuple[str, ...] | None = None

        def look() -> bool:
            nonlocal served
            served = self._api.node(node).handlers
            return dispatcher_verdict(run.handlers, served)[0] is not HandlerVerdict.NOT_SERVING

        doing = f'waiting for the handlers of node "{node}"'
        if not poll(look, every_s=2.0, within_s=run.handlers_within_s, pause=self._pause, doing=doing, now=self._now):
            msg = f"the node serves none of {', '.join(run.handlers)}"
            raise _NodeError(msg, hint="the log of its container runtime says why it did not load them")
