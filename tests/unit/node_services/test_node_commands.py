"""``kata-bundle node doctor`` and ``node dispatch`` as a person meets them."""

from __future__ import annotations

import json

import pytest
import yaml

from kata_bundle.node.handlers import SHARED_LABEL
from tests.fixtures.cli import run_cli
from tests.fixtures.fake_kube import FakeKube

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never"}}},
}


def test_doctor_names_every_problem_and_exits_with_nine(tmp_path):
    spec = tmp_path / "node.json"
    spec.write_text(
        json.dumps({"version": 1, "shims": ["qemu", "qemu-runtime-rs"], "container_runtime_version": "containerd://2.2.0"})
    )
    host = tmp_path / "host"
    (host / "etc/containerd").mkdir(parents=True)
    done = run_cli("node", "doctor", "--spec", spec, "--root", host, "--json")
    document = json.loads(done.stdout)
    assert done.code == 9
    assert [problem["kind"] for problem in document["problems"]] == ["systemd_unreachable"]
    text = run_cli("node", "doctor", "--spec", spec, "--root", host).stdout
    assert "hint: " in text
    assert text.endswith("1 problem\n")
    assert sorted(path.name for path in host.rglob("*")) == ["containerd", "etc"], "nothing is made"


@pytest.fixture
def cluster(tmp_path):
    with FakeKube() as fake:
        fake.on_request = lambda method, path: finish(fake, method, path)
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": fake.url}}],
            "users": [{"name": "u", "user": {}}],
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(JOB))
        yield fake, tmp_path


def finish(fake: FakeKube, method: str, path: str) -> None:
    if method == "GET" and "/jobs/" in path and path in fake.objects:
        done = "bad" not in path
        fake.objects[path]["status"] = {"conditions": [{"type": "Complete" if done else "Failed", "status": "True"}]}


def dispatch(folder, *more):
    fixed = ["--template", folder / "job.yaml", "--prefix", "run", "--kubeconfig", folder / "config"]
    return run_cli("node", "dispatch", *fixed, *more)


def test_dispatch_cleans_a_node_and_says_so(cluster):
    fake, folder = cluster
    fake.add_node("w1", {SHARED_LABEL: "true"})
    done = dispatch(folder, "--work", "cleanup", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout) == {"nodes": [{"node": "w1", "warnings": []}]}
    assert fake.labels("w1") == {}


def test_dispatch_shows_what_it_would_do_and_does_nothing(cluster):
    fake, folder = cluster
    fake.add_node("w1")
    fake.add_node("cp", taints=[{"key": "control", "effect": "NoSchedule"}])
    done = dispatch(folder, "--dry-run")
    assert done.code == 0, done.stderr
    assert done.stdout == "would install on w1\nwould pass over cp: control:NoSchedule is not tolerated\n"
    assert all(method == "GET" for method, _, _ in fake.requests)


def test_a_failed_node_exits_with_eight_and_says_where_to_look(cluster):
    fake, folder = cluster
    fake.add_node("bad")
    done = dispatch(folder)
    assert done.code == 8
    assert "bad" in done.stderr
    assert "1 of 1" in done.stderr


def test_no_cluster_and_no_template_are_usage_errors(cluster, tmp_path):
    _, folder = cluster
    (folder / "job.yaml").write_text("kind: Pod\n")
    assert dispatch(folder).code == 2
    (folder / "job.yaml").write_text("a: [")
    assert dispatch(folder).code == 2
    (folder / "job.yaml").write_text(yaml.safe_dump(JOB))
    done = run_cli(
        "node", "dispatch", "--template", folder / "job.yaml", "--prefix", "x", KUBECONFIG="", KUBERNETES_SERVICE_HOST=""
    )
    assert done.code == 2
    assert "no Kubernetes API" in done.stderr
