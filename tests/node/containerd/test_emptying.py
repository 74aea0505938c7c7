"""Emptying a snapshotter's records in a real containerd, with a real chain of snapshots."""

from __future__ import annotations

import pytest

from kata_bundle.node.snapshotters.maintenance import CtrRecords, empty_snapshotter
from tests.fixtures.containerds import release  # noqa: F401 - a fixture
from tests.fixtures.cri_hosts import lay_out

pytestmark = [pytest.mark.root, pytest.mark.node, pytest.mark.net]


def test_a_chain_is_emptied_in_every_namespace_and_others_are_left(release, tmp_path):  # noqa: F811
    root = tmp_path / "host"
    lay_out(root, {"/etc/containerd/config.toml": f"version = {2 if release.minor < (2, 0) else 3}\n"})
    with release.running(root, tmp_path / "run") as daemon:
        for namespace in ("k8s.io", "other"):
            parent = ""
            for number in range(4):
                daemon.ctr(
                    "-n",
                    namespace,
                    "snapshots",
                    "--snapshotter",
                    "native",
                    "prepare",
                    f"active-{number}",
                    *([parent] if parent else []),
                )
                daemon.ctr(
                    "-n", namespace, "snapshots", "--snapshotter", "native", "commit", f"layer-{number}", f"active-{number}"
                )
                parent = f"layer-{number}"
            daemon.ctr("-n", namespace, "snapshots", "--snapshotter", "native", "prepare", "leaf", parent)
        daemon.ctr("-n", "k8s.io", "snapshots", "--snapshotter", "blockfile", "ls", check=False)
        records = CtrRecords([str(release.folder / "ctr")], str(daemon.socket))
        assert set(records.namespaces()) == {"k8s.io", "other"}
        assert dict(records.snapshots("k8s.io", "native"))["layer-1"] == "layer-0"
        result = empty_snapshotter(records, "native")
        assert result.is_clean
        assert result.snapshots == 10
        assert result.rounds == 10
        assert records.snapshots("k8s.io", "native") == []
        assert empty_snapshotter(records, "native").snapshots == 0
