"""Decisions about labels, taints, selection and readiness (installer specification §21, §22, §25.1)."""

from __future__ import annotations

import pytest

from kata_bundle.core.errors import RemoteError
from kata_bundle.node.handlers import SHARED_LABEL, instance_label
from kata_bundle.node.kube.labels import (
    SharedLabel,
    apply_updates,
    claim_updates,
    is_retryable,
    json_pointer_token,
    label_patch,
    release_updates,
    shared_label_after,
)
from kata_bundle.node.kube.readiness import (
    HandlerVerdict,
    LoadedHandlers,
    ReadyCondition,
    ReadyGate,
    dispatcher_verdict,
    installer_verdict,
    missing_handlers,
)
from kata_bundle.node.kube.selection import Requirement, SelectorTerm, selects
from kata_bundle.node.kube.taints import Taint, partition, taint_patch
from kata_bundle.node.kube.window import APPLICATIONS, CHECKS, UnstableLabelsError, hold
from kata_bundle.node.pause import StopRequestedError, poll

OWN, OTHER, THIRD = instance_label("dev"), instance_label(None), instance_label("prod")


@pytest.mark.parametrize(
    ("labels", "unmarked", "after"),
    [
        ({OWN: "true"}, False, SharedLabel.REMOVE),
        ({}, False, SharedLabel.REMOVE),
        ({OWN: "true"}, True, SharedLabel.KEEP),
        ({OWN: "true", OTHER: "true"}, False, SharedLabel.KEEP),
        ({OWN: "true", OTHER: "false"}, False, SharedLabel.DEMOTE),
        ({OWN: "true", OTHER: "false"}, True, SharedLabel.DEMOTE),
        ({OTHER: "false", THIRD: "yes"}, False, SharedLabel.KEEP),
        ({OTHER: ""}, False, SharedLabel.KEEP),
    ],
)
def test_the_shared_label_follows_the_other_installs(labels, unmarked, after):
    assert shared_label_after(labels, "dev", unmarked_install=unmarked) is after


def test_releasing_changes_only_what_has_to_change():
    assert release_updates({}, "dev") == {}
    assert release_updates({SHARED_LABEL: "true"}, "dev") == {SHARED_LABEL: None}
    assert release_updates({OWN: "x", SHARED_LABEL: "false", OTHER: "false"}, "dev") == {OWN: None}
    assert release_updates({OWN: "x", OTHER: "false"}, "dev") == {OWN: None, SHARED_LABEL: "false"}


def test_claiming_and_applying_write_only_what_is_missing():
    assert claim_updates({SHARED_LABEL: "true"}, None) == {OTHER: "false"}
    assert claim_updates({SHARED_LABEL: "", OTHER: "x"}, None) == {}
    assert apply_updates({SHARED_LABEL: "true", OTHER: "false"}, None) == {OTHER: "true"}
    assert apply_updates({SHARED_LABEL: "true", OTHER: "true"}, None) == {}


def test_keys_are_escaped_in_the_right_order():
    assert json_pointer_token("a~b/c~1") == "a~0b~1c~01"


def test_a_patch_is_guarded_and_removes_only_what_is_there():
    patch = label_patch({OWN: "true", "x": "1"}, {OWN: None, "gone": None, SHARED_LABEL: "false"}, resource_version="7")
    assert patch == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "remove", "path": "/metadata/labels/kata-deploy.katacontainers.io~1dev"},
        {"op": "add", "path": "/metadata/labels/katacontainers.io~1kata-runtime", "value": "false"},
    ]
    assert label_patch({}, {"a": "1"}, resource_version="7")[1] == {"op": "add", "path": "/metadata/labels", "value": {}}


@pytest.mark.parametrize(("status", "again"), [(409, True), (422, True), (404, False), (500, False), (403, False)])
def test_only_an_overtaken_patch_is_decided_again(status, again):
    assert is_retryable(status) is again


class Script:
    """Observations in order: True, False or an error; afterwards good for ever."""

    def __init__(self, *observations) -> None:
        self.observations, self.applies, self.pauses = list(observations), 0, []

    def apply(self) -> None:
        self.applies += 1

    def observe(self) -> bool:
        seen = self.observations.pop(0) if self.observations else True
        if isinstance(seen, Exception):
            raise seen
        return seen

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return False

    def run(self) -> int:
        return hold(self.apply, self.observe, pause=self.pause)


def test_the_window_is_watched_even_when_all_is_well():
    script = Script()
    assert script.run() == 1
    assert script.pauses == [2.0] * CHECKS, "about twelve seconds"


def test_a_drift_and_a_failed_reading_start_the_window_again():
    script = Script(True, True, True, True, True, False)
    assert script.run() == 2
    assert sum(script.pauses) == 12 + 2 + 12
    assert Script(True, RemoteError("x")).run() == 2


def test_a_rival_that_never_gives_up_ends_in_an_error_after_three_minutes():
    script = Script(*[True, True, True, True, True, False] * 50)
    with pytest.raises(UnstableLabelsError, match=str(APPLICATIONS)):
        script.run()
    assert script.applies == APPLICATIONS
    assert 150 < sum(script.pauses) < 200


def test_a_failing_application_is_an_error_at_once():
    def apply():
        raise RemoteError("forbidden")

    script = Script()
    with pytest.raises(RemoteError, match="forbidden"):
        hold(apply, script.observe, pause=script.pause)
    assert script.pauses == []


def test_the_window_ends_when_the_process_is_asked_to_end():
    with pytest.raises(StopRequestedError):
        hold(lambda: None, lambda: True, pause=lambda _: True)


def taint(text: str) -> Taint:
    key, _, effect = text.partition(":")
    return Taint(key=key, effect=effect)


@pytest.mark.parametrize(
    ("matchers", "removed", "kept"),
    [
        (["a"], ["a", "a"], ["b:NoSchedule"]),
        (["a:NoExecute"], ["a:NoExecute"], ["a:NoSchedule", "b:NoSchedule"]),
        ([" a : NoExecute "], ["a : NoExecute"], ["a:NoSchedule", "b:NoSchedule"]),
        (["", "  "], [], ["a:NoSchedule", "a:NoExecute", "b:NoSchedule"]),
        (["a:"], [], ["a:NoSchedule", "a:NoExecute", "b:NoSchedule"]),
        (["c", "b"], ["b"], ["a:NoSchedule", "a:NoExecute"]),
        (["a", "a:NoSchedule"], ["a", "a"], ["b:NoSchedule"]),
    ],
)
def test_a_matcher_is_a_key_or_a_key_with_an_effect(matchers, removed, kept):
    retained, gone = partition([taint(t) for t in ("a:NoSchedule", "a:NoExecute", "b:NoSchedule")], matchers)
    assert list(gone) == removed
    assert [str(t) for t in retained] == kept


def test_a_kept_taint_is_written_back_whole():
    full = Taint(key="k", effect="NoExecute", value="v", time_added="2026-01-01T00:00:00Z")
    patch = taint_patch([full], resource_version="9")
    assert patch[0]["value"] == "9"
    assert patch[1]["value"] == [{"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]
    assert str(full) == "k=v:NoExecute"


@pytest.mark.parametrize(
    ("operator", "value", "values", "met"),
    [
        ("In", "a", ["a", "b"], True),
        ("In", None, ["a"], False),
        ("NotIn", None, ["a"], True),
        ("NotIn", "a", ["a"], False),
        ("Exists", "", [], True),
        ("Exists", None, [], False),
        ("DoesNotExist", None, [], True),
        ("DoesNotExist", "", [], False),
        ("Gt", "5", ["4"], True),
        ("Gt", "4", ["4"], False),
        ("Lt", "-5", ["4"], True),
        ("Gt", None, ["4"], False),
        ("Gt", "x", ["4"], False),
        ("Gt", "5", ["x"], False),
        ("Gt", "5", [], False),
        ("Gt", "5", ["1", "2"], False),
        ("Gt", "\u0665", ["4"], False),
        ("Weird", "a", ["a"], False),
        ("", "a", ["a"], False),
    ],
)
def test_each_operator(operator, value, values, met):
    assert Requirement(key="k", operator=operator, values=tuple(values)).is_met(value) is met


def selected(selector, terms) -> bool:
    parsed = None
    if terms is not None:
        parsed = tuple(
            SelectorTerm(expressions=tuple(Requirement(key=k, operator="Exists") for k in keys), fields=tuple(fields))
            for keys, fields in terms
        )
    return selects(selector, parsed, name="n1", labels={"pool": "kata", "gpu": "1"})


def test_an_empty_affinity_matches_nothing_and_terms_are_alternatives():
    this = Requirement(key="metadata.name", operator="In", values=("n1",))
    uid = Requirement(key="metadata.uid", operator="Exists")
    assert selected({}, None)
    assert selected({"pool": "kata"}, None)
    assert not selected({"pool": "other"}, None)
    assert not selected({}, [])
    assert not selected({}, [((), ())])
    assert selected({}, [(("absent",), ()), (("gpu",), ())])
    assert not selected({"pool": "other"}, [(("gpu",), ())])
    assert selected({}, [((), (this,))])
    assert not selected({}, [(("absent",), (this,))])
    assert not selected({}, [((), (uid,))])


def watch(gate: ReadyGate, *observations: tuple[float, str | None, float | None]) -> list[bool]:
    return [
        gate.observe(None if status is None else ReadyCondition(status=status, heartbeat=heartbeat), at)
        for at, status, heartbeat in observations
    ]


def test_a_true_from_before_the_restart_is_not_believed():
    gate = ReadyGate(restarted_at=1000.4)
    assert watch(gate, (0, "True", 990.0), (2, "True", 1000.0), (4, "True", 1001.0)) == [False, False, True]


def test_a_true_that_stays_beyond_the_kubelets_period_is_believed():
    gate = ReadyGate(restarted_at=1000.0)
    assert watch(gate, (0, "True", 990.0), (10, "True", 990.0), (10.5, "True", 990.0)) == [False, False, True]


@pytest.mark.parametrize("gap", ["False", "Unknown", None])
def test_any_gap_starts_the_period_again(gap):
    gate = ReadyGate(restarted_at=1000.0)
    assert watch(gate, (0, "True", None), (8, gap, None), (10, "True", None), (20, "True", None), (20.1, "True", None))[-2:] == [
        False,
        True,
    ]


def test_an_observer_without_the_nodes_clock_waits_for_a_new_heartbeat():
    gate = ReadyGate(restarted_at=None)
    assert watch(gate, (0, "True", 990.0), (2, "True", 990.0), (4, "True", 1000.0)) == [False, False, True]


def test_handlers_count_only_by_their_full_name():
    assert missing_handlers(["kata-qemu", "kata-clh"], ["kata-qemu-tee", "kata-clh"]) == ("kata-qemu",)


@pytest.mark.parametrize(
    ("expected", "served", "verdict"),
    [
        (["a", "b"], ["b", "x"], (HandlerVerdict.SERVING, ("b",), ("a",))),
        (["a"], [], (HandlerVerdict.NOT_SERVING, (), ("a",))),
        (["a"], None, (HandlerVerdict.UNANSWERABLE, (), ())),
    ],
)
def test_one_of_ours_is_enough_for_the_dispatcher(expected, served, verdict):
    assert dispatcher_verdict(expected, served) == verdict


@pytest.mark.parametrize(
    ("expected", "served", "verdict"),
    [
        (["a", "b"], ["b", "a"], LoadedHandlers.ALL),
        (["a", "b"], ["b"], LoadedHandlers.PARTIAL),
        (["a", "b"], [], LoadedHandlers.NONE),
        (["a"], None, LoadedHandlers.UNKNOWN),
        ([], ["a"], LoadedHandlers.UNKNOWN),
    ],
)
def test_the_installer_tells_all_some_none_and_unknown_apart(expected, served, verdict):
    assert installer_verdict(expected, served) is verdict


def test_polling_looks_at_once_and_never_beyond_its_limit():
    now, pauses = [0.0], []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        now[0] += seconds
        return False

    assert poll(lambda: True, every_s=2, within_s=0, pause=pause, doing="x", now=lambda: now[0])
    assert not poll(lambda: False, every_s=2, within_s=5, pause=pause, doing="x", now=lambda: now[0])
    assert pauses == [2, 2, 1]
    with pytest.raises(StopRequestedError, match="waiting for rain"):
        poll(lambda: False, every_s=2, within_s=5, pause=lambda _: True, doing="waiting for rain")
