"""What the client relies on of a Kubernetes API server.

Runs against the fake server, and against a real one when ``KATA_BUNDLE_TEST_KUBECONFIG`` names a kubeconfig file whose user may
do everything. On a real server only objects with names of this file's own are made, and they are removed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kata_bundle.node.kube.access import load_kubeconfig
from kata_bundle.node.kube.api import KubeApi
from kata_bundle.node.kube.client import KubeClient
from kata_bundle.node.kube.errors import KubeStatusError
from kata_bundle.node.kube.labels import SHARED_LABEL, instance_label, label_patch
from kata_bundle.node.kube.nodeops import apply_labels, claim_node, lift_taints, release_node
from kata_bundle.node.kube.taints import taint_patch
from tests.fixtures.fake_kube import FakeKube

KUBECONFIG = os.environ.get("KATA_BUNDLE_TEST_KUBECONFIG")


@dataclass
class World:
    client: KubeClient
    api: KubeApi
    node: str
    prefix: str

    def create(self, path: str, document: dict) -> dict:
        created = self.client.request("POST", path, body=document)
        assert isinstance(created, dict)
        return created

    @property
    def jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.api.namespace}/jobs"


@pytest.fixture(params=["fake", "real"])
def world(request) -> Iterator[World]:
    prefix = f"contract-{secrets.token_hex(4)}"
    with FakeKube() as fake:
        if request.param == "real":
            if not KUBECONFIG:
                pytest.skip("KATA_BUNDLE_TEST_KUBECONFIG names no real API server")
            access = load_kubeconfig(KUBECONFIG)
        else:
            access = fake.access()
        with KubeClient(access) as client:
            node = f"{prefix}-node"
            document = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node, "labels": {"pool": "kata"}},
                "spec": {
                    "taints": [{"key": "kata.io/not-ready", "effect": "NoSchedule"}, {"key": "other", "effect": "NoSchedule"}]
                },
            }
            client.request("POST", "/api/v1/nodes", body=document)
            try:
                yield World(client, KubeApi(client), node, prefix)
            finally:
                client.request("DELETE", f"/api/v1/nodes/{node}")


def job(world: World, name: str) -> dict:
    container = {"name": "c", "image": "x"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"owner": "me"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def test_a_node_is_read_with_its_version_labels_and_taints(world):
    node = world.api.node(world.node)
    assert node.name == world.node
    assert node.uid
    assert node.resource_version
    assert node.labels["pool"] == "kata"
    assert [str(taint) for taint in node.taints if taint.key in {"kata.io/not-ready", "other"}] == [
        "kata.io/not-ready:NoSchedule",
        "other:NoSchedule",
    ]
    with pytest.raises(KubeStatusError) as caught:
        world.api.node(world.prefix + "-absent")
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


def test_single_labels_change_and_the_others_stay(world):
    world.api.set_labels(world.node, {SHARED_LABEL: "true"})
    world.api.set_labels(world.node, {"added/later": "x"})
    world.api.set_labels(world.node, {"added/later": None, "never/there": None})
    labels = world.api.node(world.node).labels
    assert labels["pool"] == "kata"
    assert labels[SHARED_LABEL] == "true"
    assert "added/later" not in labels


def test_a_guarded_patch_applies_to_the_node_as_read_and_to_no_other(world):
    before = world.api.node(world.node)
    patch = label_patch(before.labels, {"a/b-c": "1", "pool": None}, resource_version=before.resource_version)
    world.api.patch_node(world.node, patch)
    labels = world.api.node(world.node).labels
    assert labels["a/b-c"] == "1"
    assert "pool" not in labels
    with pytest.raises(KubeStatusError) as caught:
        world.api.patch_node(world.node, patch)
    assert caught.value.status in {409, 422}


def test_taints_are_replaced_under_the_same_guard(world):
    before = world.api.node(world.node)
    keep = [taint for taint in before.taints if taint.key != "kata.io/not-ready"]
    world.api.patch_node(world.node, taint_patch(keep, resource_version=before.resource_version))
    assert "kata.io/not-ready" not in {taint.key for taint in world.api.node(world.node).taints}
    with pytest.raises(KubeStatusError) as caught:
        world.api.patch_node(world.node, taint_patch(keep, resource_version=before.resource_version))
    assert caught.value.status in {409, 422}


def test_the_life_of_a_node_claim_label_release(world):
    own, other = instance_label("dev"), instance_label(None)
    assert claim_node(world.api, world.node, "dev") == {SHARED_LABEL: "false", own: "false"}
    assert claim_node(world.api, world.node, "dev") == {}
    assert apply_labels(world.api, world.node, "dev", pause=lambda _: False) == 1
    assert lift_taints(world.api, world.node, ["kata.io/not-ready:NoSchedule"]) == ("kata.io/not-ready:NoSchedule",)
    world.api.set_labels(world.node, {other: "false"})
    assert release_node(world.api, world.node, "dev", unmarked_install=lambda _: False) == {own: None, SHARED_LABEL: "false"}
    assert release_node(world.api, world.node, None, unmarked_install=lambda _: False) == {other: None, SHARED_LABEL: None}
    assert SHARED_LABEL not in world.api.node(world.node).labels


def test_nodes_are_listed_by_label_and_by_name(world):
    assert [n.name for n in world.api.nodes(label_selector="pool=kata", field_selector=f"metadata.name={world.node}")] == [
        world.node
    ]
    assert world.api.nodes(label_selector="pool=other", field_selector=f"metadata.name={world.node}") == ()


def test_daemonsets_are_found_by_name_and_listed_over_all_namespaces(world):
    name = world.prefix + "-kata-deploy"
    path = f"/apis/apps/v1/namespaces/{world.api.namespace}/daemonsets"
    labels = {"name": name}
    expression = {"key": "pool", "operator": "In", "values": ["kata"]}
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    pod = {"containers": [{"name": "c", "image": "x"}], "nodeSelector": {"pool": "kata"}, "affinity": {"nodeAffinity": affinity}}
    template = {"metadata": {"labels": labels}, "spec": pod}
    document = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    assert world.api.daemonset(name) is None
    world.create(path, document)
    try:
        found = world.api.daemonset(name)
        assert found is not None
        assert not found.is_deleting
        assert found.selects(world.api.node(world.node))
        world.api.set_labels(world.node, {"pool": "other"})
        assert not found.selects(world.api.node(world.node))
        assert name in {daemonset.name for daemonset in world.api.daemonsets()}
    finally:
        world.client.request("DELETE", f"{path}/{name}")


def test_a_job_is_created_once_read_and_deleted_by_uid(world):
    name = world.prefix + "-job"
    created = world.api.create_job(job(world, name))
    assert created is not None
    try:
        assert world.api.create_job(job(world, name)) is None
        found = world.api.job(name)
        assert found is not None
        assert (found.uid, found.labels["owner"], found.conditions) == (created.uid, "me", frozenset())
        world.api.delete_job(name, uid="11111111-2222-3333-4444-555555555555")
        assert world.api.job(name) is not None
    finally:
        world.client.request("DELETE", f"{world.jobs}/{name}", query={"propagationPolicy": "Background"})
    world.api.delete_job(name, uid=created.uid)
    assert world.api.job(name) is None


def test_a_runtime_class_is_applied_over_what_is_there_and_deleted(world):
    name = world.prefix + "-class"

    def document(**more):
        labels = {"managed": "us"}
        return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name, "labels": labels}, **more}

    path = f"/apis/node.k8s.io/v1/runtimeclasses/{name}"
    world.api.apply_runtime_class(document(handler="kata-qemu"))
    world.api.apply_runtime_class(document(handler="kata-qemu", overhead={"podFixed": {"memory": "320Mi"}}))
    world.client.request(
        "PATCH", path, body={"metadata": {"annotations": {"theirs": "1"}}}, content_type="application/merge-patch+json"
    )
    world.api.apply_runtime_class(document(handler="kata-qemu"))
    found = world.client.request("GET", path)
    assert found["handler"] == "kata-qemu"
    assert found["metadata"]["annotations"]["theirs"] == "1"
    world.api.delete_runtime_class(name)
    world.api.delete_runtime_class(name)


def test_pods_are_counted_by_label(world):
    assert world.api.pod_names(f"name={world.prefix}") == ()


def test_an_event_about_a_node_is_accepted(world):
    uid = world.api.node(world.node).uid
    world.api.report_event(
        node=world.node, node_uid=uid, reason="Failed", message="m" * 5000, warning=True, component="kata-deploy"
    )
