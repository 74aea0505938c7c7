"""The snapshotters' own files, and emptying containerd's records of one."""

from __future__ import annotations

import tomllib

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.node.refusal import RefusedError
from kata_bundle.node.snapshotters import check_snapshotters, nydus
from kata_bundle.node.snapshotters.maintenance import CtrRecords, empty_snapshotter

UNIT = "containerd.service"


def test_a_hostile_install_directory_stays_inside_the_units_quotes():
    places = nydus.nydus_paths('/opt/a b/"%i$HOME\\', None)
    _, unit = nydus.host_edits(places, UNIT)
    line = next(line for line in unit.after.decode().splitlines() if line.startswith("ExecStart="))
    assert line.startswith('ExecStart="/opt/a b/\\"%%i$$HOME\\\\/nydus-for-kata-tee/containerd-nydus-grpc" --config "')
    with pytest.raises(RefusedError, match="control character"):
        nydus.host_edits(nydus.nydus_paths("/opt/a\n[Service]", None), UNIT)


def test_an_instance_has_places_of_its_own_but_for_the_folder_in_its_install_directory():
    plain, dev = nydus.nydus_paths("/opt/kata", None), nydus.nydus_paths("/opt/kata-dev", "dev")
    assert plain.folder == "/opt/kata/nydus-for-kata-tee"
    assert dev.folder == "/opt/kata-dev/nydus-for-kata-tee"
    shared = {plain.unit_file, plain.socket, plain.data_dir, plain.name} & {dev.unit_file, dev.socket, dev.data_dir, dev.name}
    assert not shared


def test_templates_that_come_with_the_binaries_are_filled():
    places = nydus.nydus_paths("/opt/kata", "dev")
    config, unit = nydus.host_edits(
        places,
        "k3s.service",
        config_template=(
            'root = "@SNAPSHOTTER_ROOT_DIR@"\naddress = "@SNAPSHOTTER_GRPC_SOCKET_ADDRESS@"\nx = "@NYDUS_OVERLAYFS_PATH@"\n'
        ),
        unit_template="ExecStart=@CONTAINERD_NYDUS_GRPC_BINARY@ --config @CONFIG_GUEST_PULLING@\nWantedBy=@CRI_SERVICE@\n",
    )
    assert tomllib.loads(config.after.decode()) == {
        "root": "/var/lib/nydus-for-kata-tee-dev",
        "address": "/run/nydus-for-kata-tee-dev/containerd-nydus-grpc.sock",
        "x": "/opt/kata/nydus-for-kata-tee/nydus-overlayfs",
    }
    assert b"@" not in unit.after
    assert b"WantedBy=k3s.service" in unit.after


def test_no_edit_and_no_call_ever_names_the_data_directory():
    places = nydus.nydus_paths("/opt/kata", None)
    assert all(edit.path != places.data_dir for edit in nydus.host_edits(places, UNIT))
    before, after = nydus.uninstall_calls(places, has_unit=True)
    assert [call.verb for call in (*before, *after)] == ["stop", "disable", "daemon-reload"]
    assert all(call.may_fail for call in before)
    assert nydus.uninstall_calls(places, has_unit=False)[0] == ()


def test_calls_come_in_the_order_that_a_running_instance_needs():
    places = nydus.nydus_paths("/opt/kata", None)
    calls = [*nydus.before_files(places), *nydus.after_files(places), *nydus.after_containerd(places)]
    assert [call.verb for call in calls] == ["stop", "disable", "daemon-reload", "enable", "restart"]


def test_empty_names_of_snapshotters_are_nothing():
    check_snapshotters(["nydus", "", "erofs"])


class Records:
    """containerd's records as a tree of snapshots, some of them in use."""

    def __init__(self, snapshots, *, containers=(), in_use=(), namespaces=("k8s.io",), listing_works=True):
        self.tree = {namespace: dict(found) for namespace, found in snapshots.items()}
        self.found = list(containers)
        self.in_use = set(in_use)
        self.names = list(namespaces)
        self.listing_works = listing_works

    def namespaces(self):
        if not self.listing_works:
            msg = "no"
            raise HostError(msg)
        return self.names

    def containers(self, namespace):
        return [(name, snapshotter) for place, name, snapshotter in self.found if place == namespace]

    def remove_container(self, namespace, container):
        self.found = [row for row in self.found if row[:2] != (namespace, container)]
        return True

    def snapshots(self, namespace, snapshotter):
        return sorted(self.tree.get(namespace, {}).items())

    def remove_snapshot(self, namespace, snapshotter, key):
        assert key not in self.tree[namespace].values(), "a snapshot with children cannot go"
        if key in self.in_use:
            return False
        del self.tree[namespace][key]
        return True


def test_a_chain_of_snapshots_goes_leaf_by_leaf_however_long_it_is():
    chain = {"0": "", **{str(n): str(n - 1) for n in range(1, 30)}}
    records = Records({"k8s.io": chain}, containers=[("k8s.io", "c", "nydus"), ("k8s.io", "d", "overlayfs")])
    result = empty_snapshotter(records, "nydus")
    assert result.is_clean
    assert (result.rounds, result.snapshots, result.containers) == (30, 30, 1)
    assert records.found == [("k8s.io", "d", "overlayfs")]


def test_snapshots_in_use_end_the_rounds_and_are_named():
    records = Records({"k8s.io": {"a": "", "b": "a", "c": "a"}, "moby": {"x": ""}}, in_use=["b"], namespaces=["k8s.io", "moby"])
    result = empty_snapshotter(records, "nydus")
    assert not result.is_clean
    assert result.in_use == {"k8s.io": ["a", "b"]}
    assert records.tree == {"k8s.io": {"a": "", "b": "a"}, "moby": {}}


def test_without_a_listing_of_namespaces_kubernetes_own_is_emptied():
    records = Records({"k8s.io": {"a": ""}, "other": {"b": ""}}, listing_works=False)
    assert empty_snapshotter(records, "nydus").snapshots == 1


def test_a_containerd_that_does_not_answer_is_an_error(tmp_path):
    client = tmp_path / "ctr"
    client.write_text("#!/bin/sh\necho no such socket >&2\nexit 1\n")
    client.chmod(0o755)
    with pytest.raises(HostError, match="no such socket"):
        CtrRecords([str(client)], "/nowhere").snapshots("k8s.io", "nydus")
    with pytest.raises(HostError, match="not installed"):
        CtrRecords([str(tmp_path / "absent")], "/nowhere").namespaces()
