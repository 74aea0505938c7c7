"""What is done to the Node object, over real HTTP with rivals and faults (installer specification §20.2, §21, §22)."""

from __future__ import annotations

import pytest

from kata_bundle.node.handlers import SHARED_LABEL, instance_label
from kata_bundle.node.kube.api import KubeApi
from kata_bundle.node.kube.client import KubeClient
from kata_bundle.node.kube.errors import KubeError, KubeStatusError
from kata_bundle.node.kube.nodeops import (
    NoHandlersError,
    NotReadyError,
    apply_labels,
    claim_node,
    confirm_handlers,
    kubelet_timeout_warning,
    lift_taints,
    parse_duration,
    release_node,
    wait_ready,
)
from kata_bundle.node.kube.readiness import LoadedHandlers
from kata_bundle.node.kube.window import UnstableLabelsError
from kata_bundle.node.pause import StopRequestedError
from tests.fixtures.fake_kube import FakeKube, Fault

OWN, OTHER = instance_label("dev"), instance_label(None)


class Clock:
    """Time that passes only in pauses; ``at`` holds what happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: list[tuple[float, object]] = []
        self.each = None

    def pause(self, seconds: float) -> bool:
        self.now += seconds
        while self.at and self.at[0][0] <= self.now:
            self.at.pop(0)[1]()
        if self.each is not None:
            self.each()
        return False


@pytest.fixture
def fake():
    with FakeKube() as fake:
        fake.add_node("n1", {"pool": "kata"})
        yield fake


@pytest.fixture
def api(fake):
    with KubeClient(fake.access(), pause=lambda _: False, tries=3) as client:
        yield KubeApi(client)


@pytest.fixture
def clock():
    return Clock()


def never(_node) -> bool:
    return False


def test_a_label_set_by_another_install_meanwhile_survives_the_claim(fake, api):
    fake.before_patch.append(lambda _: fake.set_label("n1", SHARED_LABEL, "true"))
    assert claim_node(api, "n1", "dev") == {OWN: "false"}
    assert fake.labels("n1") == {"pool": "kata", SHARED_LABEL: "true", OWN: "false"}


def test_a_label_removed_or_changed_meanwhile_is_not_brought_back(fake, api, clock):
    fake.set_label("n1", "theirs", "old")
    fake.before_patch.append(lambda _: (fake.set_label("n1", "pool", None), fake.set_label("n1", "theirs", "new")))
    apply_labels(api, "n1", "dev", pause=clock.pause)
    assert fake.labels("n1") == {"theirs": "new", SHARED_LABEL: "true", OWN: "true"}
    assert fake.patches() == [{"metadata": {"labels": {SHARED_LABEL: "true", OWN: "true"}}}]


def test_labels_that_are_there_are_watched_but_not_written(fake, api, clock):
    fake.set_label("n1", SHARED_LABEL, "true")
    fake.set_label("n1", OWN, "true")
    assert apply_labels(api, "n1", "dev", pause=clock.pause) == 1
    assert fake.patches() == []
    assert clock.now == 12.0


def test_a_kubelet_that_resets_the_labels_late_is_overcome(fake, api, clock):
    clock.at = [(7.0, lambda: fake.set_label("n1", SHARED_LABEL, "false"))]
    assert apply_labels(api, "n1", "dev", pause=clock.pause) == 2
    assert fake.labels("n1")[SHARED_LABEL] == "true"
    assert fake.patches()[-1] == {"metadata": {"labels": {SHARED_LABEL: "true"}}}, "only what drifted"


def test_a_rival_for_ever_is_an_error(fake, api, clock):
    clock.each = lambda: fake.set_label("n1", OWN, None)
    with pytest.raises(UnstableLabelsError):
        apply_labels(api, "n1", "dev", pause=clock.pause)


def test_an_api_server_that_goes_away_during_the_window_only_restarts_it(fake, api, clock):
    clock.at = [(4.0, lambda: fake.faults.append(Fault(times=3, status=500)))]
    assert apply_labels(api, "n1", "dev", pause=clock.pause) == 2


def test_a_refused_application_is_an_error_at_once(fake, api, clock):
    fake.faults = [Fault(times=1, status=403, method="PATCH")]
    with pytest.raises(KubeStatusError):
        apply_labels(api, "n1", "dev", pause=clock.pause)
    assert clock.now == 0


def test_release_is_decided_again_when_another_install_arrives_meanwhile(fake, api):
    fake.set_label("n1", SHARED_LABEL, "true")
    fake.set_label("n1", OWN, "true")
    fake.before_patch.append(lambda _: fake.set_label("n1", OTHER, "true"))
    assert release_node(api, "n1", "dev", unmarked_install=never) == {OWN: None}
    assert fake.labels("n1") == {"pool": "kata", SHARED_LABEL: "true", OTHER: "true"}


def test_release_gives_up_after_five_tries(fake, api):
    fake.set_label("n1", OWN, "true")
    fake.before_patch = [lambda _: fake.set_label("n1", "x", str(len(fake.requests)))] * 9
    with pytest.raises(KubeError, match="5 times"):
        release_node(api, "n1", "dev", unmarked_install=never)
    assert len(fake.patches()) == 5


def test_release_of_nothing_writes_nothing(fake, api):
    assert release_node(api, "n1", "dev", unmarked_install=never) == {}
    assert fake.patches() == []


def test_an_unmarked_install_keeps_the_shared_label(fake, api):
    fake.set_label("n1", SHARED_LABEL, "true")
    fake.set_label("n1", OWN, "true")
    assert release_node(api, "n1", "dev", unmarked_install=lambda node: node.name == "n1") == {OWN: None}


def test_taints_are_lifted_around_a_change_by_somebody_else(fake, api):
    fake.add_node("n2", taints=[{"key": "a", "effect": "NoSchedule"}])

    def rival(_path):
        fake.node("n2")["spec"]["taints"].append({"key": "b", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"})
        fake.change("/api/v1/nodes/n2")

    fake.before_patch.append(rival)
    assert lift_taints(api, "n2", ["a", "c"]) == ("a",)
    assert fake.node("n2")["spec"]["taints"] == [{"key": "b", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]
    assert lift_taints(api, "n2", ["a"]) == ()
    assert lift_taints(api, "n2", ["", " "]) == ()
    fake.before_patch = [lambda _: fake.change("/api/v1/nodes/n2")] * 9
    with pytest.raises(KubeError, match="3 times"):
        lift_taints(api, "n2", ["b"])


def ready(status: str, heartbeat: str = "2026-01-01T00:00:00Z") -> dict:
    return {"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat}]}


def test_waiting_for_ready_outlives_a_stale_true_and_failed_readings(fake, api, clock):
    restarted = 1767225605.0  # 2026-01-01T00:00:05Z
    fake.node("n1")["status"] = ready("True")
    clock.at = [
        (2, lambda: fake.node("n1").update(status=ready("Unknown"))),
        (4, lambda: fake.faults.append(Fault(times=3, status=503))),
        (8, lambda: fake.node("n1").update(status=ready("True", "2026-01-01T00:00:06Z"))),
    ]
    wait_ready(api, "n1", restarted_at=restarted, pause=clock.pause, now=lambda: clock.now)
    assert clock.now == 8


def test_a_node_that_never_gets_ready_is_an_error_that_says_what_was_seen(fake, api, clock):
    fake.node("n1")["status"] = ready("False")
    with pytest.raises(NotReadyError, match="False"):
        wait_ready(api, "n1", restarted_at=0.0, pause=clock.pause, now=lambda: clock.now)
    assert clock.now == 300
    fake.node("n1")["status"] = {}
    with pytest.raises(NotReadyError, match="Unknown"):
        wait_ready(api, "n1", restarted_at=0.0, pause=clock.pause, now=lambda: clock.now, within_s=4)
    with pytest.raises(StopRequestedError):
        wait_ready(api, "n1", restarted_at=0.0, pause=lambda _: True)


def serving(*names: str) -> dict:
    return {"runtimeHandlers": [{"name": name} for name in names]}


def confirm(api, clock, *expected: str):
    return confirm_handlers(api, "n1", expected, runtime="containerd", pause=clock.pause, now=lambda: clock.now)


def test_handlers_are_awaited_and_their_absence_is_told_apart_from_not_knowing(fake, api, clock):
    fake.node("n1")["status"] = serving("runc")
    clock.at = [(6, lambda: fake.node("n1").update(status=serving("runc", "kata-qemu", "kata-clh")))]
    assert confirm(api, clock, "kata-qemu", "kata-clh").verdict is LoadedHandlers.ALL
    assert clock.now == 6
    fake.node("n1")["status"] = serving("kata-qemu-tee", "kata-qemu")
    report = confirm(api, clock, "kata-qemu", "kata-clh")
    assert (report.verdict, report.missing) == (LoadedHandlers.PARTIAL, ("kata-clh",))
    fake.node("n1")["status"] = serving("kata-qemu-tee")
    with pytest.raises(NoHandlersError, match='containerd on node "n1" serves none of kata-qemu'):
        confirm(api, clock, "kata-qemu")
    fake.node("n1")["status"] = {"runtimeHandlers": []}
    with pytest.raises(NoHandlersError):
        confirm(api, clock, "kata-qemu")


def test_a_kubelet_that_reports_no_handlers_is_not_waited_for(fake, api, clock):
    assert confirm(api, clock, "kata-qemu").verdict is LoadedHandlers.UNKNOWN
    assert confirm(api, clock).verdict is LoadedHandlers.UNKNOWN
    assert clock.now == 0


def test_three_failed_readings_in_a_row_leave_the_question_open(fake, api, clock):
    fake.node("n1")["status"] = serving("runc")
    clock.at = [(2, lambda: fake.faults.append(Fault(times=6, status=500)))]
    clock.at += [(100, lambda: fake.faults.append(Fault(times=99, status=500)))]
    assert confirm(api, clock, "kata-qemu").verdict is LoadedHandlers.UNKNOWN
    assert clock.now == 104, "two failures, then an answer, do not count"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m0s", 600),
        ("2m", 120),
        ("1h2m3.5s", 3723.5),
        ("250ms", 0.25),
        ("0", 0),
        ("-1m", -60),
        ("", None),
        ("10", None),
        ("10 m", None),
        ("m", None),
        ("1x", None),
        (".5s", 0.5),
    ],
)
def test_durations_are_read_as_go_writes_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"kubeletconfig": {"runtimeRequestTimeout": "10m0s"}}, None),
        ({"kubeletConfig": {"runtimeRequestTimeout": "15m"}}, None),
        ({"kubeletconfig": {"runtimeRequestTimeout": "2m0s"}}, "2m0s"),
        ({"kubeletconfig": {"runtimeRequestTimeout": "soon"}}, '"soon"'),
        ({"kubeletconfig": {}}, "not stated"),
        ({"kubeletconfig": 7}, "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_the_kubelets_time_out_is_only_ever_warned_about(fake, api, answer, said):
    if answer is not None:
        fake.put("/api/v1/nodes/n1/proxy/configz", answer)
    warning = kubelet_timeout_warning(api, "n1")
    assert (warning is None) if said is None else said in warning


def test_an_empty_runtime_version_names_node_and_field(api):
    with pytest.raises(KubeError, match=r'"n1".*containerRuntimeVersion'):
        api.node("n1").require_runtime_version()
