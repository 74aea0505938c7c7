"""Rules of the node services that hold for every input."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.node import waiter
from kata_bundle.node.config.texts import parse_port
from kata_bundle.node.dispatch.names import MAX_NAME, job_name, label_value
from kata_bundle.node.handlers import SHARED_LABEL, instance_label
from kata_bundle.node.kube.labels import apply_updates, claim_updates, demote_updates, label_patch, release_updates
from kata_bundle.node.kube.taints import Taint, partition
from kata_bundle.node.kube.window import APPLICATIONS, CHECKS, UnstableLabelsError, hold
from kata_bundle.node.systemd import SystemdError, unit_name, wire
from tests.fixtures.fake_kube import json_patch

NAMES = st.text(
    alphabet=string.ascii_lowercase + string.digits + "-." + string.ascii_uppercase + "_\u00e9", min_size=1, max_size=90
)
SUFFIXES = st.sampled_from([None, "dev", "prod"])
KEYS = st.sampled_from([SHARED_LABEL, instance_label(None), instance_label("dev"), instance_label("prod"), "pool", "a/b~c"])
LABELS = st.dictionaries(KEYS, st.sampled_from(["true", "false", "", "x"]), max_size=6)


@given(NAMES, NAMES)
def test_job_names_and_label_values_are_valid_and_never_meet(one, other):
    made = [job_name("p", one), job_name("p", other), label_value(one), label_value(other)]
    for name in made:
        assert len(name) <= MAX_NAME
        if name:
            assert set(name) <= set(string.ascii_lowercase + string.digits + "-")
            assert not name.startswith("-")
            assert not name.endswith("-")
    if one != other:
        assert made[0] != made[1]
        assert made[2] != made[3]


@given(LABELS, SUFFIXES, st.booleans())
def test_every_label_patch_applies_and_does_exactly_what_was_decided(labels, suffix, unmarked):
    decisions = [
        claim_updates(labels, suffix),
        apply_updates(labels, suffix),
        demote_updates(labels, suffix),
        release_updates(labels, suffix, unmarked_install=unmarked),
    ]
    for updates in decisions:
        document = {"metadata": {"resourceVersion": "1", **({"labels": dict(labels)} if labels else {})}}
        assert json_patch(document, label_patch(labels, updates, resource_version="1")) is None
        expected = {**labels, **updates}
        assert document["metadata"].get("labels", {}) == {key: value for key, value in expected.items() if value is not None}


@given(LABELS, SUFFIXES, st.booleans())
def test_letting_go_never_takes_the_shared_label_from_an_install_that_serves(labels, suffix, unmarked):
    after = {**labels, **release_updates(labels, suffix, unmarked_install=unmarked)}
    serving = [
        v for k, v in labels.items() if k.startswith(instance_label(None)[:-7]) and k != instance_label(suffix) and v != "false"
    ]
    if serving:
        assert after.get(SHARED_LABEL) == labels.get(SHARED_LABEL)
    assert after.get(instance_label(suffix)) is None
    assert release_updates({k: v for k, v in after.items() if v is not None}, suffix, unmarked_install=unmarked) == {}


@given(st.lists(st.booleans(), max_size=100))
def test_the_window_ends_only_after_six_good_looks_in_a_row(observations):
    looks = iter(observations)
    seen = []

    def observe() -> bool:
        seen.append(next(looks, True))
        return seen[-1]

    applies = []
    try:
        applications = hold(lambda: applies.append(1), observe, pause=lambda _: False)
    except UnstableLabelsError:
        assert len(applies) == APPLICATIONS
        assert not all(seen[-CHECKS:])
    else:
        assert seen[-CHECKS:] == [True] * CHECKS
        assert applications == len(applies) <= APPLICATIONS


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["NoSchedule", "NoExecute"])), max_size=8),
    st.lists(st.sampled_from(["a", "b:NoSchedule", " c ", "", "x", "a:"]), max_size=5),
)
def test_taints_are_kept_or_removed_never_lost(pairs, matchers):
    taints = [Taint(key=key, effect=effect) for key, effect in pairs]
    retained, removed = partition(taints, matchers)
    assert len(retained) + len(removed) == len(taints)
    assert partition(retained, matchers) == (retained, ())


@given(st.binary(min_size=16, max_size=200))
def test_no_bytes_from_a_peer_crash_the_decoder(data):
    try:
        if wire.frame_size(data[:16]) == len(data):
            wire.decode(data)
    except SystemdError:
        pass


@given(st.text(max_size=30), st.text(max_size=30), st.integers(1, 1 << 31))
def test_calls_come_back_as_they_went(first, second, serial):
    if "\0" in first + second:
        return
    data = wire.encode_call("RestartUnit", (first, second), signature="ss", serial=serial)
    assert wire.frame_size(data[:16]) == len(data)
    call = wire.decode(data)
    assert (call.body, call.serial, call.body_length) == ((first, second), serial, len(data) - (len(data) - call.body_length))


@given(st.text(max_size=20))
def test_a_unit_name_is_made_once(name):
    name = name or "x"
    assert unit_name(unit_name(name)) == unit_name(name)
    assert unit_name(name).startswith(name)


@given(st.text(max_size=12))
def test_a_port_is_always_usable(text):
    port, warning = parse_port(text)
    assert 1 <= port <= 65535
    assert warning is not None or str(port) == text.lstrip("0")


@given(st.binary(max_size=200), st.booleans())
def test_any_request_line_gets_a_well_formed_answer(line, ready):
    head, _, body = waiter.reply(line, ready=ready).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ")
    length = int(head.rpartition(b"Content-Length: ")[2].split(b"\r\n")[0])
    assert length == len(body) or (body == b"" and line.split()[:1] == [b"HEAD"])
