"""``kata-deploy`` on nodes laid out as the distributions lay theirs out, in both modes; see ``fixtures/distributions``."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.containerds import packaged
from tests.fixtures.disk import active, assert_as_recorded, changes, disk
from tests.fixtures.distributions import PLACES, Place, lay_out_on
from tests.fixtures.fake_kube import FakeKube
from tests.fixtures.pod import MARK, SHARED, Pod
from tests.fixtures.ports import free_port
from tests.fixtures.suites import package_tree
from tests.fixtures.throwaway_node import Node, running_node
from tests.node.life.conftest import QUICK, Life, add_node

pytestmark = [pytest.mark.root, pytest.mark.node]

HANDLERS = ("kata-clh-runtime-rs", "kata-qemu")
SUITE = "sid"


@pytest.fixture
def distribution(request, throwaway_tree, images, tmp_path) -> Iterator[tuple[Node, Pod, Place]]:
    """A node of the distribution that is named, with the pod on it."""
    place, release = PLACES[request.param], packaged(SUITE)
    with running_node(throwaway_tree, tmp_path) as node, FakeKube() as kube:
        if place.socket:
            node.use_containerd(release.folder, release.version)
        add_node(kube, lay_out_on(node, place, release))
        pod = Pod(node, kube, images.first, tmp_path, free_port(), module=QUICK, config_dir=place.config_dir)
        if place.socket:
            folder = "/" + place.socket.rpartition("/")[0]
            pod.sockets = {folder: folder}
        pod.prepare()
        try:
            yield node, pod, place
        finally:
            pod.close()


def served(pod: Pod, place: Place) -> tuple[str, ...]:
    """Return what the distribution's runtime serves; where none can run, what its files would make it serve."""
    if place.socket:
        return pod.handlers(place.socket)
    found: set[str] = set()
    for file in sorted((pod.node.root / "etc/crio/crio.conf.d").iterdir()):
        found |= set(tomllib.loads(file.read_text()).get("crio", {}).get("runtime", {}).get("runtimes", {}))
    return tuple(sorted(found))


def settled(node: Node, place: Place) -> None:
    """Wait until a distribution that restarts containerd by itself has done so."""
    if place.watches:
        end = time.monotonic() + 20
        while node.systemctl("is-active", f"{place.unit}-watch.service", check=False) != "inactive" and time.monotonic() < end:
            time.sleep(0.05)
        node.wait_for(place.unit)


ALL = [pytest.param(name, marks=pytest.mark.slow) for name in PLACES]


@pytest.mark.parametrize("distribution", ALL, indirect=True)
def test_each_distribution_from_install_to_uninstall(distribution, images):
    node, pod, place = distribution
    before = disk(node)
    pod.add_daemonset()
    process = pod.install()
    settled(node, place)
    assert served(pod, place) == HANDLERS
    assert pod.labels() == {SHARED: "true", MARK: "true"}
    done, started = disk(node), pod.starts(place.unit)
    pod.end(process)
    process = pod.install()
    assert (changes(done, disk(node)), pod.starts(place.unit)) == (set(), started)
    pod.end(process)
    pod.image, pod.variables = images.second, {"SHIMS_X86_64": "qemu clh"}
    process = pod.install()
    settled(node, place)
    assert served(pod, place) == ("kata-clh", "kata-qemu")
    assert active(node).generation == 2
    pod.remove_daemonset()
    pod.end(process)
    settled(node, place)
    assert changes(before, disk(node)) == set()
    assert served(pod, place) == ()
    assert pod.labels() == {}


STAGES = ("install-stage-host-check", "install-stage-artifacts", "install-stage-cri")
BACK = ("cleanup-stage-revert-cri", "cleanup-stage-remove-artifacts")


def stage(pod: Pod, action: str) -> str:
    code, output = pod.run(action)
    assert code == 0, output
    return output


@pytest.mark.parametrize("life", ["trixie", pytest.param("sid", marks=pytest.mark.slow)], indirect=True)
def test_job_mode_installs_and_removes_in_stages_without_the_api(life: Life):
    node, pod = life.node, life.pod
    machine_id = (node.root / "etc/machine-id").read_text().strip()
    pod.variables = {"CONTAINER_RUNTIME_VERSION": life.release.string, "KATA_DEPLOY_NODE_MACHINE_ID": machine_id}
    pod.kubeconfig = {"nothing": "in it"}
    assert changes(life.before, disk(node)) == set()
    stage(pod, STAGES[0])
    assert changes(life.before, disk(node)) == set()
    for already in ((), HANDLERS):
        stage(pod, STAGES[1])
        assert pod.handlers() == already, "what the runtime loads is the next stage's business"
        stage(pod, STAGES[2])
        assert pod.handlers() == HANDLERS
        assert_as_recorded(node, life.before)
    done, started = disk(node), pod.starts()
    stage(pod, STAGES[2])
    assert (changes(done, disk(node)), pod.starts()) == (set(), started)
    pod.variables["KATA_DEPLOY_NODE_MACHINE_ID"] = "another"
    assert pod.run(BACK[0])[0] == 9
    assert pod.handlers() == HANDLERS
    pod.variables["KATA_DEPLOY_NODE_MACHINE_ID"] = machine_id
    stage(pod, BACK[0])
    assert pod.handlers() == ()
    stage(pod, BACK[1])
    assert changes(life.before, disk(node)) == set()
    assert life.kube.requests == []


def with_nydus(image: Path, folder: Path) -> Path:
    """Return a copy of ``image`` with the snapshotter's programs, which are real."""
    programs = package_tree("trixie", "nydus-snapshotter") / "usr/bin"
    (folder / "nydus-snapshotter").mkdir(parents=True)
    for path in image.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name in ("containerd-nydus-grpc", "nydus-overlayfs"):
        (folder / "nydus-snapshotter" / name).write_bytes((programs / name).read_bytes())
    return folder


@pytest.mark.parametrize("life", ["sid", pytest.param("trixie", marks=pytest.mark.slow)], indirect=True)
def test_the_nydus_snapshotter_runs_serves_containerd_and_leaves_its_data(life: Life, images, tmp_path):
    node, pod = life.node, life.pod
    ctr = f"/opt/containerd-{life.release.version}/ctr"
    pod.image = with_nydus(images.first, tmp_path / "nydus")
    pod.variables = {"EXPERIMENTAL_SETUP_SNAPSHOTTER": "nydus", "SNAPSHOTTER_HANDLER_MAPPING_X86_64": "qemu:nydus"}
    pod.add_daemonset()
    process = pod.install()
    name = "nydus-for-kata-tee"
    assert pod.handlers() == HANDLERS
    node.wait_for(name)
    assert node.systemctl("is-enabled", name) == "enabled"
    # containerd asks the snapshotter itself, over its socket.
    assert "KEY" in node.run(ctr, "-n", "k8s.io", "snapshots", "--snapshotter", name, "ls").stdout
    wants = f"etc/systemd/system/containerd.service.wants/{name}.service"
    data = f"var/lib/{name}"
    theirs = {path for path in disk(node) if path == data or path.startswith(f"{data}/")}
    assert theirs
    assert_as_recorded(node, life.before, extra=(wants, wants.rpartition("/")[0], *theirs))
    done, started = disk(node), (pod.starts(), pod.starts(name))
    pod.end(process)
    process = pod.install()
    assert (changes(done, disk(node)) - theirs, (pod.starts(), pod.starts(name))) == (set(), started)
    # No longer wanted: the service goes, what containerd's records speak of stays.
    pod.end(process)
    pod.variables = {}
    process = pod.install()
    assert node.systemctl("is-active", name, check=False) != "active"
    assert not (node.root / wants).exists()
    pod.remove_daemonset()
    pod.end(process)
    left = {path for path in changes(life.before, disk(node)) if not path.startswith(data)}
    assert left <= {wants.rpartition("/")[0]}, "the empty directory of links is systemd's"
    assert (node.root / data).is_dir()
