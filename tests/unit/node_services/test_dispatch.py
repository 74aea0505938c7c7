"""The dispatcher: names, admission, Jobs, and whole runs over a fake API server (installer specification §32)."""

from __future__ import annotations

import threading

import pytest

from kata_bundle.core.errors import UsageError
from kata_bundle.node.dispatch import Dispatcher, DispatchError, JobTemplate, NoEligibleNodesError, Run, Targets, Toleration, Work
from kata_bundle.node.dispatch.admission import Settling, admit, check_nothing_eligible, selector_passes
from kata_bundle.node.dispatch.jobs import (
    NODE_LABEL,
    RUN_LABEL,
    Disposition,
    NodeFacts,
    Outcome,
    job_disposition,
    job_outcome,
    make_job,
    with_facts,
)
from kata_bundle.node.dispatch.names import MAX_NAME, job_name, label_value, sanitize_node
from kata_bundle.node.handlers import SHARED_LABEL, instance_label
from kata_bundle.node.kube.api import KubeApi
from kata_bundle.node.kube.client import KubeClient
from kata_bundle.node.kube.objects import Job, Node, Owner
from kata_bundle.node.kube.selection import Requirement, SelectorTerm
from kata_bundle.node.kube.taints import Taint
from kata_bundle.node.pause import StopRequestedError
from tests.fixtures.fake_kube import FakeKube, Fault

OWN = instance_label(None)


def test_a_plain_name_is_kept_and_everything_else_gets_a_digest():
    assert sanitize_node("--Worker.A--") == "worker-a"
    assert job_name("kata-deploy-install", "worker-0") == "kata-deploy-install-worker-0"
    dotted = job_name("kata-deploy-install", "worker.a")
    assert dotted.startswith("kata-deploy-install-worker-a-")
    assert dotted != job_name("kata-deploy-install", "worker-a")
    assert label_value("kata-deploy-install") == "kata-deploy-install"
    assert len(label_value("a" * 100)) == MAX_NAME
    assert label_value("...") == label_value("...")


def taint(key: str, effect: str = "NoSchedule", value: str | None = None) -> Taint:
    return Taint(key=key, effect=effect, value=value)


@pytest.mark.parametrize(
    ("toleration", "against", "yes"),
    [
        (Toleration(operator="Exists"), taint("k"), True),
        (Toleration(key="k", operator="Exists"), taint("k", "NoExecute", "v"), True),
        (Toleration(key="k", operator="Exists", effect="NoExecute"), taint("k"), False),
        (Toleration(key="k", value="v"), taint("k", value="v"), True),
        (Toleration(key="k", operator="Equal", value="v"), taint("k", value="other"), False),
        (Toleration(key="k"), taint("k"), True),
        (Toleration(key="k"), taint("k", value="v"), False),
        (Toleration(key="x", operator="Exists"), taint("k"), False),
        (Toleration(key="k", operator="Gt", value="1"), taint("k", value="2"), False),
    ],
)
def test_tolerations_match_as_in_kubernetes(toleration, against, yes):
    assert toleration.tolerates(against) is yes


def node(name: str, *taints: Taint, labels=None) -> Node:
    return Node(
        name=name,
        uid=f"u-{name}",
        resource_version="1",
        labels=labels or {},
        taints=taints,
        ready=None,
        container_runtime_version="containerd://2.1.5",
        machine_id="m1",
        handlers=None,
    )


def test_admission_is_that_of_a_daemonset():
    nodes = [
        node("control", taint("node-role.kubernetes.io/control-plane")),
        node("cordoned", taint("node.kubernetes.io/unschedulable"), taint("node.kubernetes.io/memory-pressure")),
        node("spot", taint("spot", "PreferNoSchedule")),
        node("gone", taint("node.kubernetes.io/unreachable", "NoExecute"), taint("x", "NoExecute")),
    ]
    admitted, skipped = admit(nodes, [])
    assert [n.name for n in admitted] == ["cordoned", "spot"]
    assert [(n.name, t.key) for n, t in skipped] == [("control", "node-role.kubernetes.io/control-plane"), ("gone", "x")]


def test_selectors_are_united_and_none_means_all():
    assert selector_passes([]) == (None,)
    assert selector_passes(["a=1", "b", "a=1"]) == ("a=1", "b")


def test_finding_nothing_is_wrong_when_something_was_expected_or_only_taints_are_in_the_way():
    check_nothing_eligible(0, [])
    with pytest.raises(NoEligibleNodesError, match="120"):
        check_nothing_eligible(120, [])
    with pytest.raises(NoEligibleNodesError, match='"n1" with dedicated=kata:NoSchedule') as caught:
        check_nothing_eligible(0, [("n1", taint("dedicated", value="kata")), ("n2", taint("x"))])
    assert 'key: dedicated, operator: Equal, value: "kata", effect: NoSchedule' in caught.value.hint


def settle(wait_s: float, *looks: tuple[float, str]) -> list[bool]:
    settling = Settling(wait_s=wait_s, settle_s=15)
    return [settling.is_over(list(names), at) for at, names in looks]


def test_work_starts_when_the_nodes_have_come_to_rest_or_the_wait_is_over():
    assert settle(0, (0, "")) == [True]
    assert settle(120, (0, ""), (10, "a"), (20, "ab"), (30, "ab"), (35, "ab")) == [False, False, False, False, True]
    assert settle(120, (0, "a"), (119, "ab"), (120, "abc")) == [False, False, True]
    assert settle(120, (0, ""), (60, ""), (120, "")) == [False, False, True]
    assert settle(120, (0, "a"), (10, ""), (20, "a"), (34, "a"), (35, "a")) == [False, False, False, False, True]


def job(**status) -> Job:
    return Job.parse({"metadata": {"name": "j", "uid": "u"}, "status": status})


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ({}, Outcome.RUNNING),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, Outcome.SUCCEEDED),
        ({"conditions": [{"type": "Complete", "status": "False"}]}, Outcome.RUNNING),
        ({"conditions": [{"type": "Failed", "status": "True"}], "succeeded": 1}, Outcome.FAILED),
        ({"succeeded": 1}, Outcome.SUCCEEDED),
        ({"conditions": [{"type": "Suspended", "status": "True"}]}, Outcome.RUNNING),
    ],
)
def test_a_job_is_judged_by_its_conditions(status, outcome):
    assert job_outcome(job(**status)) is outcome


@pytest.mark.parametrize(
    ("label", "uid", "our_uid", "disposition"),
    [
        ("run", "me", "me", Disposition.CURRENT),
        ("run", None, None, Disposition.CURRENT),
        ("run", "old", "me", Disposition.STALE),
        ("run", None, "me", Disposition.STALE),
        ("other", "me", "me", Disposition.NOT_OURS),
        (None, "me", "me", Disposition.NOT_OURS),
    ],
)
def test_whose_a_job_is(label, uid, our_uid, disposition):
    found = job_disposition(existing_label=label, existing_uid=uid, our_label="run", our_uid=our_uid)
    assert found is disposition


TEMPLATE = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"generateName": "x-", "labels": {"app": "kata"}},
    "spec": {
        "template": {
            "spec": {
                "tolerations": [{"key": "dedicated", "operator": "Exists"}],
                "initContainers": [{"name": "i", "env": [{"name": "NODE_MACHINE_ID", "value": "mine"}]}],
                "containers": [{"name": "c"}],
            }
        }
    },
}


def test_the_job_of_a_node_is_pinned_owned_and_knows_the_node():
    template = JobTemplate.parse(TEMPLATE)
    made = make_job(template, node("w1"), prefix="run", owner=Owner(kind="Job", name="d", uid="du"), tolerate_everything=False)
    assert made["metadata"]["name"] == "run-w1"
    assert "generateName" not in made["metadata"]
    assert made["metadata"]["labels"] == {"app": "kata", RUN_LABEL: "run", NODE_LABEL: "w1"}
    assert made["metadata"]["ownerReferences"][0]["uid"] == "du"
    pod = made["spec"]["template"]["spec"]
    assert pod["nodeName"] == "w1"
    assert {"key": "dedicated", "operator": "Exists"} in pod["tolerations"]
    assert len(pod["tolerations"]) == 7
    assert pod["initContainers"][0]["env"] == [
        {"name": "NODE_MACHINE_ID", "value": "mine"},
        {"name": "CONTAINER_RUNTIME_VERSION", "value": "containerd://2.1.5"},
    ]
    assert {"name": "NODE_MACHINE_ID", "value": "m1"} in pod["containers"][0]["env"]
    assert "nodeName" not in TEMPLATE["spec"]["template"]["spec"], "the template stays as it is"
    named = make_job(template, node("w1"), prefix="run", owner=None, tolerate_everything=True)
    assert {"operator": "Exists"} in named["spec"]["template"]["spec"]["tolerations"]
    assert "ownerReferences" not in named["metadata"]


def test_missing_facts_inject_nothing():
    pod = with_facts({"containers": [{"name": "c"}]}, NodeFacts(container_runtime_version=" ", machine_id=None))
    assert pod == {"containers": [{"name": "c"}]}


@pytest.mark.parametrize(
    "document",
    [None, {}, {"kind": "Pod"}, {"kind": "Job"}, {"kind": "Job", "spec": {"template": {"spec": {"containers": []}}}}],
)
def test_a_template_that_is_no_job_is_refused(document):
    with pytest.raises(UsageError):
        JobTemplate.parse(document)


# whole runs


class World:
    """A cluster whose Jobs end as ``results`` say, at the dispatcher's first look."""

    def __init__(self, fake: FakeKube, api: KubeApi) -> None:
        self.fake, self.api = fake, api
        self.results: dict[str, dict] = {}
        self.notes: list[str] = []
        self.clock = 0.0
        self.lock = threading.Lock()
        self.running = self.most = 0
        self.hooks = []
        fake.on_request = self.on_request

    def on_request(self, method: str, path: str) -> None:
        if method == "GET" and "/jobs/" in path:
            name = path.rsplit("/", 1)[1]
            with self.fake.lock:
                found = self.fake.objects.get(path)
                if found is not None and not found.get("status"):
                    found["status"] = self.results.get(name, {"succeeded": 1})

    def pause(self, seconds: float) -> bool:
        with self.lock:
            self.clock += seconds
            hooks, self.hooks = self.hooks, []
        for hook in hooks:
            hook()
        return False

    def add(self, name: str, labels=None, **more) -> None:
        self.fake.add_node(
            name,
            labels or {"pool": "kata"},
            nodeInfo={"containerRuntimeVersion": "containerd://2.1.5"},
            conditions=[{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
            runtimeHandlers=[{"name": "kata-qemu"}],
            **more,
        )

    @property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.api, pause=self.pause, note=self.notes.append, now=lambda: self.clock)

    def run(self, work: Work = Work.INSTALL, **more) -> Run:
        more.setdefault("prefix", "run")
        more.setdefault("template", JobTemplate.parse(TEMPLATE))
        more.setdefault("handlers", ("kata-qemu", "kata-clh"))
        more.setdefault("parallelism", 1)
        return Run(work=work, **more)

    def go(self, run: Run, targets: Targets | None = None):
        dispatcher = self.dispatcher
        return dispatcher.dispatch(run, dispatcher.resolve(targets or Targets(), run.template))

    def job_path(self, name: str) -> str:
        return f"/apis/batch/v1/namespaces/kube-system/jobs/{name}"


@pytest.fixture
def world():
    with FakeKube() as fake, KubeClient(fake.access(), pause=lambda _: False, tries=2) as client:
        yield World(fake, KubeApi(client))


def test_an_install_claims_runs_a_job_and_labels_each_node(world):
    for name in ("w2", "w1"):
        world.add(name)
    world.add("other", {"pool": "x"})
    outcomes = world.go(world.run(), Targets(selectors=("pool=kata",)))
    assert [outcome.node for outcome in outcomes] == ["w1", "w2"]
    for name in ("w1", "w2"):
        assert world.fake.labels(name)[SHARED_LABEL] == "true"
        assert world.fake.labels(name)[OWN] == "true"
    assert SHARED_LABEL not in world.fake.labels("other")
    order = [(method, path.split("?")[0]) for method, path, _ in world.fake.requests if "/w1" in path or path.endswith("/jobs")]
    assert order.index(("PATCH", "/api/v1/nodes/w1")) < order.index(("POST", world.job_path("x").rsplit("/", 1)[0]))


def test_one_failing_node_does_not_stop_the_others_and_stays_without_workloads(world):
    for name in ("w1", "w2", "w3"):
        world.add(name)
    world.results["run-w2"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    with pytest.raises(DispatchError, match="1 of 3") as caught:
        world.go(world.run(parallelism=3))
    assert [outcome.error is None for outcome in caught.value.outcomes] == [True, False, True]
    assert world.fake.labels("w2")[SHARED_LABEL] == "false"
    assert world.fake.labels("w3")[SHARED_LABEL] == "true"


def test_no_more_jobs_than_asked_for_are_in_flight(world):
    for number in range(8):
        world.add(f"w{number}")
    active, most, lock = set(), [0], threading.Lock()

    def on_request(method, path):
        world.on_request(method, path)
        with lock:
            if method == "PATCH" and "/nodes/" in path:
                active.add(path)
                most[0] = max(most[0], len(active))

    world.fake.on_request = on_request
    real_note = world.notes.append

    def note(text):
        real_note(text)
        if "done" in text:
            with lock:
                active.discard("/api/v1/nodes/" + text.split(":")[0])

    dispatcher = Dispatcher(world.api, pause=world.pause, note=note, now=lambda: world.clock)
    run = world.run(parallelism=3)
    dispatcher.dispatch(run, dispatcher.resolve(Targets(), run.template))
    assert 1 <= most[0] <= 3


def test_nodes_that_need_waiting_for_are_waited_for(world):
    world.hooks = [lambda: world.hooks.append(lambda: world.add("late"))]
    outcomes = world.go(world.run(), Targets(wait_s=120))
    assert [outcome.node for outcome in outcomes] == ["late"]
    with pytest.raises(NoEligibleNodesError, match="120"):
        world.go(world.run(), Targets(selectors=("pool=none",), wait_s=120))
    assert world.go(world.run(), Targets(selectors=("pool=none",))) == ()


def test_tainted_nodes_are_passed_over_and_named(world):
    world.add("cp", taints=[{"key": "control", "effect": "NoSchedule"}])
    with pytest.raises(NoEligibleNodesError, match='"cp"'):
        world.go(world.run())
    world.add("w1")
    assert [o.node for o in world.go(world.run())] == ["w1"]
    assert any('"cp" is passed over' in note for note in world.notes)
    assert len(world.go(world.run(), Targets(ignore_taints=True))) == 2


def test_named_nodes_are_taken_as_they_are_and_an_unknown_one_fails_alone(world):
    world.add("cp", {"x": "y"}, taints=[{"key": "control", "effect": "NoExecute"}])
    with pytest.raises(DispatchError) as caught:
        world.go(world.run(), Targets(names=("cp", "nope", "cp")))
    assert [(o.node, o.error) for o in caught.value.outcomes] == [("nope", "there is no such node"), ("cp", None)]
    job = world.fake.objects[world.job_path("run-cp")]
    assert {"operator": "Exists"} in job["spec"]["template"]["spec"]["tolerations"]


def test_a_node_replaced_or_deselected_meanwhile_is_left_alone(world):
    world.add("w1")
    world.add("w2")
    dispatcher, run = world.dispatcher, world.run()
    selected = dispatcher.resolve(Targets(selectors=("pool=kata",)), run.template)
    world.add("w1")
    world.fake.set_label("w2", "pool", "other")
    with pytest.raises(DispatchError, match="replaced") as caught:
        dispatcher.dispatch(run, selected)
    assert caught.value.outcomes[1].warnings == ("the node is no longer selected, so nothing was done",)
    assert world.fake.patches() == []


def test_affinity_terms_are_applied_here(world):
    world.add("w1", {"gpu": "yes"})
    world.add("w2", {"gpu": "no"})
    term = SelectorTerm(expressions=(Requirement(key="gpu", operator="In", values=("yes",)),))
    assert [o.node for o in world.go(world.run(), Targets(required_terms=(term,)))] == ["w1"]


def existing(world, **metadata) -> None:
    world.add("w1")
    world.fake.put(world.job_path("run-w1"), {"metadata": {"name": "run-w1", **metadata}})


def test_a_foreign_job_of_the_same_name_is_refused(world):
    existing(world, labels={RUN_LABEL: "other"})
    with pytest.raises(DispatchError, match="not ours"):
        world.go(world.run())


def test_a_job_of_an_earlier_run_is_replaced_and_one_of_this_run_taken_over(world):
    owner = Owner(kind="Job", name="d", uid="me")
    existing(world, labels={RUN_LABEL: "run"}, ownerReferences=[{"kind": "Job", "name": "d", "uid": "old"}], uid="old-job")
    world.go(world.run(owner=owner))
    assert world.fake.objects[world.job_path("run-w1")]["metadata"]["uid"] != "old-job"
    before = world.fake.objects[world.job_path("run-w1")]["metadata"]["uid"]
    world.go(world.run(owner=owner))
    assert world.fake.objects[world.job_path("run-w1")]["metadata"]["uid"] == before
    deletes = [body for method, _, body in world.fake.requests if method == "DELETE"]
    assert [(d["propagationPolicy"], d["preconditions"]) for d in deletes] == [("Foreground", {"uid": "old-job"})]


def test_a_job_that_vanishes_fails_its_node(world):
    world.add("w1")
    world.results["run-w1"] = {"active": 1}
    world.hooks = [lambda: world.fake.objects.pop(world.job_path("run-w1"))]
    with pytest.raises(DispatchError, match="vanished"):
        world.go(world.run())


def test_a_job_that_cannot_be_read_for_long_fails_its_node_and_a_short_gap_does_not(world):
    world.add("w1")
    world.results["run-w1"] = {"active": 1}
    path = world.job_path("run-w1")
    world.hooks = [lambda: world.fake.faults.append(Fault(times=2, status=500))]

    def pause(seconds: float) -> bool:
        if world.clock > 20:
            world.fake.objects[path]["status"] = {"succeeded": 1}
        return world.pause(seconds)

    dispatcher = Dispatcher(world.api, pause=pause, note=world.notes.append, now=lambda: world.clock)
    run = world.run()
    dispatcher.dispatch(run, dispatcher.resolve(Targets(), run.template))
    world.fake.objects.pop(path)
    world.hooks = [lambda: world.fake.faults.append(Fault(times=9999, status=500))]
    with pytest.raises(DispatchError, match="could not be read for 300 s"):
        world.go(run)


def test_a_job_that_never_ends_is_given_up(world):
    world.add("w1")
    world.results["run-w1"] = {"active": 1}
    with pytest.raises(DispatchError, match="not done after"):
        world.go(world.run(job_within_s=60))


def test_a_node_that_serves_none_of_ours_is_not_labelled(world):
    world.add("w1")
    world.fake.node("w1")["status"]["runtimeHandlers"] = [{"name": "kata-qemu-tee"}]
    with pytest.raises(DispatchError, match="serves none of kata-qemu"):
        world.go(world.run())
    assert world.fake.labels("w1")[SHARED_LABEL] == "false"
    world.fake.node("w1")["status"].pop("runtimeHandlers")
    world.go(world.run())
    assert world.fake.labels("w1")[SHARED_LABEL] == "true"


def test_startup_taints_are_lifted_last_and_failing_at_it_only_warns(world):
    world.add("w1", taints=[{"key": "kata/not-ready", "effect": "PreferNoSchedule"}])
    world.go(world.run(startup_taints=("kata/not-ready",)))
    assert world.fake.node("w1")["spec"]["taints"] == []
    assert world.fake.labels("w1")[SHARED_LABEL] == "true"


def test_a_cleanup_demotes_first_and_lets_go_last(world):
    world.add("w1", {OWN: "true", SHARED_LABEL: "true"})
    world.add("w2", {OWN: "true", SHARED_LABEL: "true", instance_label("dev"): "true"})
    seen = []
    real = world.fake.post

    def post(path, body):
        name = body["spec"]["template"]["spec"]["nodeName"]
        seen.append((name, dict(world.fake.labels(name))))
        return real(path, body)

    world.fake.post = post
    world.go(world.run(Work.CLEANUP))
    assert dict(seen) == {
        "w1": {OWN: "false", SHARED_LABEL: "false"},
        "w2": {OWN: "false", SHARED_LABEL: "true", instance_label("dev"): "true"},
    }
    assert world.fake.labels("w1") == {}
    assert world.fake.labels("w2") == {SHARED_LABEL: "true", instance_label("dev"): "true"}


def test_nodes_no_longer_selected_are_found_for_cleaning(world):
    world.add("w1", {"pool": "kata", OWN: "true"})
    world.add("w2", {"pool": "other", OWN: "false"})
    world.add("w3", {"pool": "other"})
    world.add("w4", {"pool": "kata", OWN: "true"}, taints=[{"key": "x", "effect": "NoSchedule"}])
    dispatcher, run = world.dispatcher, world.run()
    desired = dispatcher.resolve(Targets(selectors=("pool=kata",)), run.template)
    assert [n.name for n in dispatcher.left_behind(None, desired).nodes] == ["w2"]


def test_being_asked_to_end_ends_the_run(world):
    world.add("w1")
    world.results["run-w1"] = {"active": 1}
    dispatcher = Dispatcher(world.api, pause=lambda _: True, note=world.notes.append, now=lambda: world.clock)
    run = world.run()
    with pytest.raises(StopRequestedError):
        dispatcher.dispatch(run, dispatcher.resolve(Targets(), run.template))
