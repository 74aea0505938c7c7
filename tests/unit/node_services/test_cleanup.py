"""The three-way decision, the order, the reset, and carrying on after a failure (installer specification §25, §26)."""

from __future__ import annotations

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.node.cleanup import (
    CleanupError,
    CleanupScope,
    OwnDaemonSet,
    cleanup_steps,
    decide_cleanup,
    decide_reset,
    run_steps,
    survey_node,
    wait_for_no_pods,
)
from kata_bundle.node.handlers import SHARED_LABEL, instance_label
from kata_bundle.node.kube.api import KubeApi
from kata_bundle.node.kube.client import KubeClient
from kata_bundle.node.kube.errors import KubeError
from kata_bundle.node.kube.labels import SharedLabel
from kata_bundle.node.pause import StopRequestedError
from kata_bundle.node.runtime import Runtime
from tests.fixtures.fake_kube import FakeKube, Fault

OWN, OTHER = instance_label("dev"), instance_label(None)
NO_WAIT = lambda _: False  # noqa: E731


@pytest.mark.parametrize(
    ("own", "other", "unmarked", "scope", "shared"),
    [
        (OwnDaemonSet.HOLDS_NODE, None, False, CleanupScope.SKIP, None),
        (OwnDaemonSet.HOLDS_NODE, "true", True, CleanupScope.SKIP, None),
        (OwnDaemonSet.ABSENT, None, False, CleanupScope.FULL, SharedLabel.REMOVE),
        (OwnDaemonSet.DELETING, None, False, CleanupScope.FULL, SharedLabel.REMOVE),
        (OwnDaemonSet.ELSEWHERE, None, False, CleanupScope.FULL, SharedLabel.REMOVE),
        (OwnDaemonSet.ABSENT, "true", False, CleanupScope.INSTANCE, SharedLabel.KEEP),
        (OwnDaemonSet.ABSENT, "false", False, CleanupScope.INSTANCE, SharedLabel.DEMOTE),
        (OwnDaemonSet.ABSENT, None, True, CleanupScope.INSTANCE, SharedLabel.KEEP),
    ],
)
def test_own_daemonset_then_others_decide(own, other, unmarked, scope, shared):
    labels = {OWN: "true", **({} if other is None else {OTHER: other})}
    decision = decide_cleanup(own, labels, "dev", unmarked_install=unmarked)
    assert (decision.scope, decision.shared_label) == (scope, shared)


def test_labels_go_first_and_the_restart_comes_last():
    for runtime in Runtime:
        steps = [str(step) for step in cleanup_steps(runtime)]
        assert steps[0] == "release_labels"
        assert steps[-1] == "restart_runtime"
        assert ("uninstall_snapshotters" in steps) == (runtime is not Runtime.CRIO)


@pytest.mark.parametrize(
    ("runtime", "units"),
    [
        (Runtime.CONTAINERD, ("containerd.service", "kubelet.service")),
        (Runtime.CRIO, ("crio.service", "kubelet.service")),
        (Runtime.K3S_AGENT, ("k3s-agent.service",)),
        (Runtime.K0S_WORKER, ("k0sworker.service",)),
    ],
)
def test_a_reset_restarts_the_runtime_and_a_kubelet_of_its_own(runtime, units):
    decision = decide_reset(OwnDaemonSet.ABSENT, {OWN: "true"}, "dev", runtime)
    assert (decision.restart_units, decision.relabel) == (units, False)


def test_a_reset_stops_short_while_another_install_serves_and_relabels_where_our_own_stays():
    busy = decide_reset(OwnDaemonSet.HOLDS_NODE, {OWN: "true", OTHER: "true"}, "dev", Runtime.CONTAINERD)
    assert (busy.restart_units, busy.relabel) == ((), True)
    idle = decide_reset(OwnDaemonSet.HOLDS_NODE, {OWN: "true", OTHER: "false"}, "dev", Runtime.K3S)
    assert (idle.restart_units, idle.relabel) == (("k3s.service",), True)


def test_every_step_runs_and_every_error_is_told():
    done, notes = [], []

    def fails(name, error):
        def action():
            done.append(name)
            raise error

        return name, action

    steps = [
        fails("snapshotters", HostError("unit will not stop")),
        ("config", lambda: done.append("config")),
        fails("artifacts", PermissionError(13, "Permission denied", "/opt/kata")),
        ("restart", lambda: done.append("restart")),
    ]
    with pytest.raises(CleanupError, match="2 step") as caught:
        run_steps(steps, note=notes.append)
    assert done == ["snapshotters", "config", "artifacts", "restart"]
    assert [name for name, _ in caught.value.errors] == ["snapshotters", "artifacts"]
    assert "unit will not stop" in str(caught.value)
    assert "/opt/kata" in str(caught.value)
    assert len(notes) == 2
    assert caught.value.exit_code == 11
    run_steps([], note=notes.append)


@pytest.mark.parametrize("error", [StopRequestedError("waiting"), KeyboardInterrupt(), TypeError("a bug")])
def test_an_interrupt_or_a_bug_ends_the_run_at_once(error):
    done = []

    def action():
        raise error

    with pytest.raises(type(error)):
        run_steps([("a", action), ("b", lambda: done.append("b"))], note=lambda _: None)
    assert done == []


@pytest.fixture
def fake():
    with FakeKube() as fake:
        fake.add_node("n1", {"pool": "kata", OWN: "true", SHARED_LABEL: "true"})
        yield fake


@pytest.fixture
def api(fake):
    with KubeClient(fake.access(), pause=NO_WAIT, tries=2) as client:
        yield KubeApi(client)


def daemonset(fake, name, *, namespace="kube-system", selector=None, deleting=False):
    metadata = {"namespace": namespace, **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {})}
    spec = {"template": {"spec": {"nodeSelector": selector or {}}}}
    fake.put(f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}", {"metadata": metadata, "spec": spec})


def test_the_survey_tells_the_states_of_our_daemonset_apart(fake, api):
    def own():
        return survey_node(api, "n1", daemonset="kata-deploy-dev").own

    assert own() is OwnDaemonSet.ABSENT
    daemonset(fake, "kata-deploy-dev", namespace="other")
    assert own() is OwnDaemonSet.ABSENT, "another namespace's is not ours"
    daemonset(fake, "kata-deploy-dev")
    assert own() is OwnDaemonSet.HOLDS_NODE
    daemonset(fake, "kata-deploy-dev", selector={"pool": "elsewhere"})
    assert own() is OwnDaemonSet.ELSEWHERE
    daemonset(fake, "kata-deploy-dev", deleting=True)
    assert own() is OwnDaemonSet.DELETING


def test_only_other_installers_that_stay_and_select_the_node_count(fake, api):
    def unmarked():
        survey = survey_node(api, "n1", daemonset="kata-deploy-dev")
        return survey.has_unmarked_install(survey.node)

    daemonset(fake, "kata-deploy-dev")
    daemonset(fake, "fluentd")
    daemonset(fake, "old-kata-deploy", selector={"pool": "x"})
    assert not unmarked()
    daemonset(fake, "old-kata-deploy", deleting=True)
    assert not unmarked()
    daemonset(fake, "old-kata-deploy")
    assert unmarked()
    fake.objects.pop("/apis/apps/v1/namespaces/kube-system/daemonsets/old-kata-deploy")
    daemonset(fake, "kata-deploy-dev", namespace="team-b")
    assert unmarked(), "the same name in another namespace is another install"


@pytest.mark.parametrize("failing", range(3))
def test_an_api_that_fails_at_any_question_aborts_before_anything_is_changed(fake, api, failing):
    requests = {0: "/api/v1/nodes/n1", 1: "/daemonsets/kata-deploy", 2: "/apis/apps/v1/daemonsets"}[failing]
    real = fake.answer

    def answer(method, path, query, body, headers):
        if requests in path:
            return 500, {"message": "broken"}
        return real(method, path, query, body, headers)

    fake.answer = answer
    with pytest.raises(KubeError):
        survey_node(api, "n1", daemonset="kata-deploy")
    assert fake.patches() == []


def test_pods_are_waited_for_and_a_failed_listing_is_not_none(fake, api):
    path = "/api/v1/namespaces/kube-system/pods/p1"
    fake.put(path, {"metadata": {"labels": {"name": "kata-deploy-dev"}}})
    waits = []

    def pause(seconds):
        waits.append(seconds)
        if len(waits) == 1:
            fake.faults = [Fault(times=2, status=403)]
        if len(waits) == 3:
            fake.objects.pop(path)
        return False

    assert wait_for_no_pods(api, "name=kata-deploy-dev", pause=pause)
    assert len(waits) == 3
    fake.put(path, {"metadata": {"labels": {"name": "kata-deploy-dev"}}})
    assert not wait_for_no_pods(api, "name=kata-deploy-dev", pause=NO_WAIT, within_s=0)
    with pytest.raises(StopRequestedError):
        wait_for_no_pods(api, "name=kata-deploy-dev", pause=lambda _: True)
