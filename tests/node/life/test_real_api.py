"""``kata-deploy`` on a node against a real Kubernetes API server, with the rights that the chart gives it.

Runs where ``KATA_BUNDLE_TEST_KUBECONFIG`` names a server whose user may do everything. ``KATA_BUNDLE_TEST_KUBE_RESTART`` is a
command that restarts that server.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from kata_bundle.node.cri_api.values import CriError
from tests.fixtures.containerds import packaged
from tests.fixtures.disk import Disk, assert_as_recorded, changes, disk
from tests.fixtures.fake_kube import FakeKube, Fault
from tests.fixtures.pod import MARK, SHARED, Pod
from tests.fixtures.ports import free_port
from tests.fixtures.real_kube import KUBECONFIG, NAMESPACE, RealKube, real_kube
from tests.fixtures.throwaway_node import Node, running_node
from tests.node.life.conftest import CONFIG_3

pytestmark = [
    pytest.mark.root,
    pytest.mark.node,
    pytest.mark.slow,
    pytest.mark.skipif(not KUBECONFIG, reason="KATA_BUNDLE_TEST_KUBECONFIG names no real API server"),
]

HANDLERS = ("kata-clh-runtime-rs", "kata-qemu")
SERVING = {SHARED: "true", MARK: "true"}
RESTART = os.environ.get("KATA_BUNDLE_TEST_KUBE_RESTART")


@dataclass
class Cluster:
    node: Node
    pod: Pod
    kube: RealKube
    before: Disk

    def renew(self) -> None:
        """Give the pod a new token."""
        (self.pod.folder / "token").write_text(self.kube.token())


@pytest.fixture
def cluster(throwaway_tree, images, tmp_path) -> Iterator[Cluster]:
    release = packaged("sid")
    with running_node(throwaway_tree, tmp_path) as node, real_kube(release.string) as kube:
        node.use_containerd(release.folder, release.version)
        node.write("/etc/containerd/config.toml", CONFIG_3)
        node.restart("containerd")
        node.wait_for("containerd")
        pod = Pod(node, FakeKube(), images.first, tmp_path, free_port())
        pod.kubeconfig = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": NAMESPACE}}],
            "clusters": [{"name": "k", "cluster": {"server": kube.url}}],
            "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        }
        pod.prepare()
        made = Cluster(node, pod, kube, disk(node))
        made.renew()
        try:
            yield made
        finally:
            pod.close()


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def served(pod: Pod) -> tuple[str, ...]:
    """Return what is served; nothing while containerd restarts."""
    try:
        return pod.handlers()
    except CriError:
        return ()


def test_from_install_to_uninstall_with_the_charts_rights(cluster: Cluster):
    pod, kube = cluster.pod, cluster.kube
    kube.add_daemonset()
    process = pod.install()
    assert pod.handlers() == HANDLERS
    assert kube.labels() == SERVING
    assert_as_recorded(cluster.node, cluster.before)
    done = disk(cluster.node)
    # A restart of the pod, with another token than it began with: nothing happens.
    old = kube.secret
    cluster.renew()
    new, kube.secret = kube.secret, old
    kube.revoke()
    kube.secret = new
    assert "skip" in pod.end(process)
    assert (changes(done, disk(cluster.node)), kube.labels()) == (set(), SERVING)
    process = pod.install()
    kube.remove_daemonset()
    assert "full" in pod.end(process)
    assert changes(cluster.before, disk(cluster.node)) == set()
    assert pod.handlers() == ()
    assert kube.labels() == {}


def test_a_rival_that_resets_the_labels_is_outlasted(cluster: Cluster):
    pod, kube = cluster.pod, cluster.kube
    resets = 0

    def rival() -> None:
        nonlocal resets
        until(lambda: kube.labels() == SERVING)
        for key, value in ((SHARED, "false"), (MARK, None), (SHARED, None)):
            kube.set_label(key, value)
            resets += 1
            until(lambda: kube.labels() == SERVING)

    thread = threading.Thread(target=rival)
    thread.start()
    process = pod.install(180)
    thread.join()
    assert resets == 3
    assert kube.labels() == SERVING
    pod.end(process)
    assert kube.labels() == {}


def test_busy_broken_and_slow_answers_and_cut_connections_are_waited_through(cluster: Cluster):
    pod, kube = cluster.pod, cluster.kube
    kube.faults = [
        Fault(times=2, status=429, headers={"Retry-After": "1"}),
        Fault(times=2, status=500),
        Fault(times=1, delay_s=3),
        Fault(times=2, drop=True),
        Fault(times=1, status=500, method="PATCH"),
        Fault(times=1, drop=True, method="PATCH"),
    ]
    process = pod.install(180)
    assert all(fault.times == 0 for fault in kube.faults)
    assert {0, 200, 429, 500} <= {status for _, _, status in kube.requests}
    assert kube.labels() == SERVING
    kube.faults = [Fault(times=1, status=503), Fault(times=1, drop=True), Fault(times=1, status=429, method="PATCH")]
    pod.end(process)
    assert kube.labels() == {}
    assert changes(cluster.before, disk(cluster.node)) == set()


def test_a_conflict_on_release_is_decided_again(cluster: Cluster):
    pod, kube = cluster.pod, cluster.kube
    process = pod.install()
    other = "kata-deploy.katacontainers.io/other"
    kube.set_label(other, "true")
    # Between reading the node and the guarded patch somebody changes it: the first patch is slow, and comes too late.
    kube.faults = [Fault(times=1, delay_s=2, method="PATCH")]
    seen = len(kube.requests)
    process.terminate()
    until(lambda: kube.faults[0].times == 0)
    kube.set_label(other, "false")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    patches = [status for method, _, status in kube.requests[seen:] if method == "PATCH"]
    assert patches[0] in {409, 422}
    assert patches[-1] == 200
    assert kube.labels() == {SHARED: "false"}, "the other install is being dismantled too"
    kube.set_label(other, None)
    kube.set_label(SHARED, None)


def test_a_daemonset_deleted_mid_way_means_a_cleanup(cluster: Cluster):
    pod, kube = cluster.pod, cluster.kube
    kube.add_daemonset(finalizers=("example.org/wait",))
    process = pod.start()
    until(lambda: kube.labels() == {SHARED: "false", MARK: "false"})
    kube.remove_daemonset()  # being deleted, and still there
    output = pod.end(process)
    assert "deleting" in output
    kube.let_go()
    assert kube.labels() == {}
    assert changes(cluster.before, disk(cluster.node)) == set()


def test_rights_that_are_missing_stop_the_cleanup_before_any_change(cluster: Cluster):
    pod, kube = cluster.pod, cluster.kube
    process = pod.install()
    done = disk(cluster.node)
    kube.unbind()
    time.sleep(1)  # until the server has seen it
    assert "forbidden" in pod.end(process).lower()
    assert (changes(done, disk(cluster.node)), kube.labels()) == (set(), SERVING)
    kube.bind()
    time.sleep(1)
    assert pod.run("cleanup")[0] == 0
    assert changes(cluster.before, disk(cluster.node)) == set()


@pytest.mark.skipif(not RESTART, reason="KATA_BUNDLE_TEST_KUBE_RESTART names no command that restarts the server")
def test_an_api_server_that_restarts_is_waited_for(cluster: Cluster):
    assert RESTART is not None
    pod, kube = cluster.pod, cluster.kube
    process = pod.start()
    until(lambda: kube.labels() == {SHARED: "false", MARK: "false"})
    until(lambda: served(pod) == HANDLERS)
    subprocess.run(shlex.split(RESTART), check=True, timeout=60)
    process = pod.waiting(process, 180)
    assert kube.labels() == SERVING
    assert 0 in {status for _, _, status in kube.requests}, "it was away for a while"
    pod.end(process)
    assert kube.labels() == {}
