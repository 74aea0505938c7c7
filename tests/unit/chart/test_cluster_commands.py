"""``kata-bundle node release`` and ``node await``: what the chart's own jobs do."""

from __future__ import annotations

import json

import pytest
import yaml

from kata_bundle.core.errors import RemoteError
from kata_bundle.node.kube.chart import await_rollout, release_rights, rights
from kata_bundle.node.kube.client import KubeClient
from tests.fixtures.cli import run_cli
from tests.fixtures.fake_kube import FakeKube, Fault

PODS = "/api/v1/namespaces/kube-system/pods"
DAEMONSET = "/apis/apps/v1/namespaces/kube-system/daemonsets/kata-deploy-dev"


@pytest.fixture
def fake():
    with FakeKube() as found:
        for path in (*rights("kube-system", "dev"), *rights("kube-system", None)):
            found.put(path, {"metadata": {}})
        yield found


@pytest.fixture
def client(fake):
    with KubeClient(fake.access(), pause=lambda _s: False, tries=1) as found:
        yield found


def pause_that(action):
    def pause(_seconds):
        action()
        return False

    return pause


def test_rights_go_only_after_the_last_pod(fake, client):
    pod = {"metadata": {"labels": {"name": "kata-deploy-dev"}}}
    fake.put(f"{PODS}/one", pod)
    fake.put(f"{PODS}/other", {"metadata": {"labels": {"name": "kata-deploy"}}})
    pauses = []

    def wait():
        assert rights("kube-system", "dev")[0] in fake.objects, "nothing goes while a pod is there"
        pauses.append(1)
        if len(pauses) == 3:
            fake.objects.pop(f"{PODS}/one")

    gone = release_rights(client, pods="name=kata-deploy-dev", suffix="dev", within_s=60, pause=pause_that(wait))
    assert gone == rights("kube-system", "dev")
    assert set(rights("kube-system", None)) <= set(fake.objects), "another install's stay"
    assert len(pauses) == 3


def test_pods_that_cannot_be_listed_count_as_there(fake, client):
    fake.faults.append(Fault(times=1000, status=403, method="GET"))
    with pytest.raises(RemoteError, match="cannot be listed"):
        release_rights(client, pods="name=x", suffix="dev", within_s=0.05, pause=lambda _s: False)
    assert set(rights("kube-system", "dev")) <= set(fake.objects)


def test_what_is_gone_already_is_fine_and_a_refusal_is_not(fake, client):
    fake.objects.pop(rights("kube-system", "dev")[1])
    assert len(release_rights(client, pods="name=x", suffix="dev", within_s=0, pause=lambda _s: False)) == 2
    fake.faults.append(Fault(times=1, status=403, method="DELETE"))
    with pytest.raises(RemoteError):
        release_rights(client, pods="name=x", suffix=None, within_s=0, pause=lambda _s: False)


def status(desired, updated, ready, generation=1):
    return {
        "metadata": {"generation": 1},
        "status": {
            "observedGeneration": generation,
            "desiredNumberScheduled": desired,
            "updatedNumberScheduled": updated,
            "numberReady": ready,
        },
    }


@pytest.mark.parametrize("early", [status(2, 1, 2), status(2, 2, 1), status(2, 2, 2, generation=0), status(0, 0, 0), None])
def test_a_rollout_is_over_when_all_pods_are_of_the_newest_revision_and_ready(fake, client, early):
    if early is not None:
        fake.put(DAEMONSET, early)
    assert (
        await_rollout(client, "kata-deploy-dev", within_s=60, pause=pause_that(lambda: fake.put(DAEMONSET, status(2, 2, 2)))) == 2
    )


def test_a_rollout_that_does_not_come_says_how_far_it_came(fake, client):
    fake.put(DAEMONSET, status(3, 2, 1))
    with pytest.raises(RemoteError, match="1 of 3 pods are ready, 2 are of the newest revision"):
        await_rollout(client, "kata-deploy-dev", within_s=0, pause=lambda _s: False)


def test_the_commands_do_it_and_exit_with_eight_when_they_cannot(fake, tmp_path):
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "kube-system"}}],
        "clusters": [{"name": "k", "cluster": {"server": fake.url}}],
        "users": [{"name": "u", "user": {}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    fake.put(DAEMONSET, status(2, 2, 2))
    done = run_cli("node", "await", "--daemonset", "kata-deploy-dev", "--kubeconfig", path, "--json")
    assert json.loads(done.stdout)["pods"] == 2
    late = run_cli("node", "await", "--daemonset", "missing", "--within", "0", "--kubeconfig", path)
    assert late.code == 8
    done = run_cli("node", "release", "--pods", "name=x", "--suffix", "dev", "--kubeconfig", path, "--json")
    assert json.loads(done.stdout)["deleted"] == list(rights("kube-system", "dev"))
