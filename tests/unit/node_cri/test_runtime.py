"""Detecting the runtime from evidence, reading versions, and telling whether anything changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.node.cri.layouts import host_config_dir
from kata_bundle.node.cri.snapshot import fingerprint, may_skip_restart, written_at
from kata_bundle.node.cri.tables import root_version
from kata_bundle.node.cri.versions import (
    ContainerdVersion,
    at_least,
    check_snapshotter_mapping_version,
    parse_version,
    schema_for_release,
)
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import UNITS_TO_ASK, Evidence, Runtime, check_declared, detect_runtime, suggested_distribution


def refused(kind, function, *arguments, **more):
    with pytest.raises(RefusedError) as caught:
        function(*arguments, **more)
    assert caught.value.kind is kind
    return f"{caught.value} {caught.value.hint or ''}"


def test_systemd_that_cannot_be_asked_is_an_error_and_not_plain_containerd():
    refused(Refusal.SYSTEMD_UNREACHABLE, detect_runtime, Evidence(version="containerd://2.1.0", active_units=None))


def test_declared_microk8s_needs_no_systemd():
    evidence = Evidence(version="containerd://1.7.0", active_units=None, declared="microk8s")
    assert detect_runtime(evidence) is Runtime.MICROK8S


def test_an_unknown_version_is_an_error_whatever_is_active():
    refused(Refusal.VERSION_UNKNOWN, detect_runtime, Evidence(version=None, active_units=frozenset({"k3s.service"})))


def test_an_unsupported_runtime_is_named():
    message = refused(Refusal.UNSUPPORTED_RUNTIME, detect_runtime, Evidence(version="docker://27.0", active_units=frozenset()))
    assert '"docker"' in message
    assert "crio" in message


@pytest.mark.parametrize("runtime", Runtime)
def test_every_runtime_that_systemd_tells_apart_is_found_by_its_unit(runtime):
    if runtime.unit not in UNITS_TO_ASK:
        assert runtime in {Runtime.CONTAINERD, Runtime.CRIO}
        return
    evidence = Evidence(version="containerd://2.2.2-bd1.34", active_units=frozenset({runtime.unit}))
    assert detect_runtime(evidence) is runtime
    check_declared(suggested_distribution(runtime), runtime)
    assert host_config_dir(runtime).startswith("/")


def test_the_directory_on_the_host_is_the_distributions():
    assert host_config_dir(Runtime.RKE2_AGENT) == "/var/lib/rancher/rke2/agent/etc/containerd"
    assert host_config_dir(Runtime.K0S_CONTROLLER) == "/etc/k0s"
    assert host_config_dir(Runtime.CONTAINERD) == "/etc/containerd"


@pytest.mark.parametrize("text", ["containerd://2.1.5-k3s1", "2.1.5", "containerd://2.1", "2.1.0-rc.1"])
def test_one_parser_reads_every_spelling(text):
    assert parse_version(text) == ContainerdVersion(2, 1)
    assert at_least(text, (2, 0))
    assert not at_least(text, (2, 2))


def test_versions_are_compared_as_numbers():
    assert at_least("containerd://1.60.0", (1, 7))
    check_snapshotter_mapping_version("containerd://1.60.0", has_mapping=True)
    refused(Refusal.CONTAINERD_TOO_OLD, check_snapshotter_mapping_version, "containerd://1.5.13", has_mapping=True)
    check_snapshotter_mapping_version("containerd://1.5.13", has_mapping=False)
    refused(Refusal.BAD_VERSION_FORMAT, parse_version, "containerd://2")
    refused(Refusal.BAD_VERSION_FORMAT, parse_version, "2.x")
    refused(Refusal.BAD_MAJOR_VERSION, parse_version, "containerd://.2")
    refused(Refusal.BAD_MAJOR_VERSION, schema_for_release, "containerd://")
    refused(Refusal.BAD_MAJOR_VERSION, schema_for_release, "²")


@given(st.text(max_size=20))
def test_no_text_breaks_the_version_parser(text):
    try:
        found = parse_version(text)
    except RefusedError:
        assert not at_least(text, (0, 0))
    else:
        assert at_least(text, (found.major, found.minor))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("# version = 2\nversion=3 # yes\n", 3),
        ("versions = 2\nversion = 03\n", 3),
        ("version = x\nversion = 2\n", 2),
        ("{{ template }}\nversion = 3\n", 3),
        ("[a]\nversion = 3\n", None),
        ("  version = 3", 3),
        ('imports = ["version = 2"]\n', None),
    ],
)
def test_the_root_version_is_read_line_by_line(text, version):
    assert root_version(text) == version


FILES = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.one_of(st.none(), st.binary(max_size=4))), min_size=1, max_size=3)


@given(FILES, FILES)
def test_a_fingerprint_is_of_which_file_holds_what(one, other):
    def meaning(files):
        kept = {}
        for path, content in files:
            kept.setdefault(path, content or b"")
        return None if files[0][1] is None else list(kept.items())

    assert (fingerprint(one) == fingerprint(other)) == (meaning(one) == meaning(other))


def test_a_restart_is_spared_only_when_the_running_runtime_is_newer_than_its_configuration():
    assert may_skip_restart(Runtime.CONTAINERD, written_at=10, active_since=11)
    assert not may_skip_restart(Runtime.CONTAINERD, written_at=10, active_since=10)
    assert not may_skip_restart(Runtime.CONTAINERD, written_at=10, active_since=None)
    assert may_skip_restart(Runtime.K0S_WORKER, written_at=10, active_since=None)
    assert written_at(["a", "b"], {"b": 3}) is None
    assert written_at(["a", "b", "a"], {"a": 1, "b": 3}) == 3
    assert written_at([], {}) is None
