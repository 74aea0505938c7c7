"""Every action in this process: stages of job mode, reset, convergence, and nodes that another installer set up."""

from __future__ import annotations

import json

import pytest

from kata_bundle.core.errors import HostError, InstallRestoredError, UsageError
from kata_bundle.node.actions import Action
from kata_bundle.node.cleanup import CleanupError
from kata_bundle.node.cri_api.values import CriStatus
from kata_bundle.node.deploy import install, removal
from kata_bundle.node.deploy.run import describe, run
from kata_bundle.node.deploy.session import Session
from kata_bundle.node.hostcheck import HostCheckError
from kata_bundle.node.kube import window
from kata_bundle.node.kube.errors import KubeError
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.site import Site
from kata_bundle.node.state import load_state
from tests.fixtures import deploy
from tests.fixtures.node import forget_records
from tests.unit.node_deploy.conftest import MARK, NODE, SHARED, World

HANDLERS = {"kata-qemu", "kata-clh-runtime-rs"}
VERSION = {"CONTAINER_RUNTIME_VERSION": deploy.VERSION}


class Calm:
    """Nobody asks the process to end."""

    requested = False

    def wait(self, seconds: float) -> bool:
        del seconds
        return False


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(window, "INTERVAL_S", 0.0)
    monkeypatch.setattr(install, "_SERVES_WITHIN_S", 0.0)


@pytest.fixture
def job(world: World) -> World:
    """A pod of job mode: no way to the API, the version given."""
    world.variables = {**VERSION, "KUBECONFIG": "/no/such/file"}
    return world


def around(world: World, **more) -> deploy.FakeAround:
    return deploy.FakeAround(
        environment=world.environment, log=deploy.Lines(), root=str(world.root), payload=str(world.image), host=world.host, **more
    )


def act(world: World, action: Action, **more) -> deploy.Lines:
    """Run an action and return what it said."""
    surroundings = around(world, **more)
    assert run(action, surroundings, Calm()) == 0
    return surroundings.log


def session(world: World, **more) -> Session:
    from kata_bundle.node.config import from_environment
    from kata_bundle.node.hostedit import HostDirectory

    effective = from_environment(world.environment, "x86_64", HostDirectory(str(world.root)))
    return Session(around=around(world, **more), effective=effective, facts=load_facts())


def test_the_stages_of_job_mode_install_and_remove_without_the_api(job):
    before = job.files()
    act(job, Action.STAGE_HOST_CHECK)
    assert job.files() == before
    act(job, Action.STAGE_ARTIFACTS)
    assert (job.root / "opt/kata/bin/containerd-shim-kata-v2").exists()
    assert job.host.configured() == set(), "what the runtime loads is the next stage's business"
    assert job.host.calls() == []
    act(job, Action.STAGE_CRI)
    assert set(job.host.served()) == HANDLERS
    act(job, Action.STAGE_REVERT_CRI)
    assert job.host.served() == []
    assert (job.root / "opt/kata/bin/containerd-shim-kata-v2").exists()
    act(job, Action.STAGE_REMOVE_ARTIFACTS)
    assert job.files() == before
    assert job.host.restarts() == 2
    assert job.kube.requests == []


def test_repeated_stages_change_nothing_and_restart_nothing(job):
    for _ in range(2):
        act(job, Action.STAGE_ARTIFACTS)
        act(job, Action.STAGE_CRI)
    done = job.files()
    act(job, Action.STAGE_CRI)
    assert job.files() == done
    assert job.host.restarts() == 1
    for _ in range(2):
        act(job, Action.STAGE_REVERT_CRI)
    for _ in range(2):
        act(job, Action.STAGE_REMOVE_ARTIFACTS)
    assert job.host.restarts() == 2
    assert not (job.root / "opt").exists()


def test_a_cri_stage_that_failed_is_done_whole_by_the_next_try(job):
    act(job, Action.STAGE_ARTIFACTS)
    (job.root / "refuses").touch()
    with pytest.raises(InstallRestoredError):
        act(job, Action.STAGE_CRI)
    assert job.host.configured() == set()
    (job.root / "refuses").unlink()
    act(job, Action.STAGE_CRI)
    assert set(job.host.served()) == HANDLERS


def test_a_stage_refuses_to_run_on_another_machine(job):
    job.variables |= {"KATA_DEPLOY_NODE_MACHINE_ID": "meant"}
    (job.root / "host-machine-id").write_text("other\n")
    with pytest.raises(HostError, match="nothing was changed"):
        act(job, Action.STAGE_ARTIFACTS)
    (job.root / "host-machine-id").write_text("meant\n")
    act(job, Action.STAGE_ARTIFACTS)


def test_the_host_check_names_every_problem(job, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/shim-components.json").write_bytes((job.image / "shim-components.json").read_bytes())
    job.variables |= {"EXPERIMENTAL_SETUP_SNAPSHOTTER": "erofs", "CONTAINER_RUNTIME_VERSION": "containerd://1.7.2"}
    job.image = tmp_path / "empty"
    with pytest.raises(HostCheckError) as caught:
        act(job, Action.STAGE_HOST_CHECK)
    assert {p.kind for p in caught.value.problems} >= {"archive_missing", "containerd_too_old", "mkfs_erofs_missing"}


def test_a_runtime_whose_version_nobody_knows_is_refused(job):
    del job.variables["CONTAINER_RUNTIME_VERSION"]
    with pytest.raises(HostError, match="version"):
        act(job, Action.STAGE_HOST_CHECK)


def test_a_runtime_that_has_not_loaded_what_is_there_is_restarted(job):
    act(job, Action.STAGE_ARTIFACTS)
    act(job, Action.STAGE_CRI)
    (job.host.state / "loaded.json").write_text("[]")
    act(job, Action.STAGE_CRI)
    assert set(job.host.served()) == HANDLERS
    assert job.host.restarts() == 2
    # Serving every handler proves nothing where our file is newer than the running process.
    (job.host.state / "since").write_text("5")
    act(job, Action.STAGE_CRI)
    assert job.host.restarts() == 3


def test_without_the_cri_socket_the_unit_alone_decides(job):
    (job.root / "mute").touch()
    act(job, Action.STAGE_ARTIFACTS, has_cri=False)
    said = act(job, Action.STAGE_CRI, has_cri=False)
    assert "not mounted" in said.text
    assert job.host.configured() == HANDLERS
    act(job, Action.STAGE_REVERT_CRI, has_cri=False)
    assert job.host.configured() == set()


def test_cleanup_removes_everything_and_repeats_as_nothing(world):
    before = world.files()
    install.install_node(session(world))
    assert world.labels() == {SHARED: "true", MARK: "true"}
    act(world, Action.CLEANUP)
    assert world.files() == before
    assert world.labels() == {}
    restarts = world.host.restarts()
    act(world, Action.CLEANUP)
    assert world.host.restarts() == restarts


def test_the_runtime_is_restarted_after_the_artifacts_are_gone(world, monkeypatch):
    install.install_node(session(world))
    seen = []
    restart = world.host.restart

    def watched(unit: str) -> None:
        seen.append((world.root / "opt/kata/bin").exists())
        restart(unit)

    monkeypatch.setattr(world.host, "restart", watched)
    act(world, Action.CLEANUP)
    assert seen == [False], "on k3s the restart ends this very pod"


def test_a_failed_step_of_the_cleanup_keeps_no_other_from_happening(world, monkeypatch):
    install.install_node(session(world))

    def broken(*_: object, **__: object) -> None:
        msg = "ordered"
        raise KubeError(msg)

    monkeypatch.setattr(removal, "release_node", broken)
    with pytest.raises(CleanupError, match="release_labels: ordered"):
        act(world, Action.CLEANUP)
    assert not (world.root / "opt").exists()
    assert world.host.served() == []


def test_a_handler_that_is_still_served_is_taken_out_by_a_restart(world):
    install.install_node(session(world))
    act(world, Action.CLEANUP)
    (world.host.state / "loaded.json").write_text(json.dumps(["kata-qemu", "other"]))
    act(world, Action.CLEANUP)
    assert world.host.served() == []


def test_what_an_installer_without_receipts_left_is_removed(world):
    own = world.root / "opt/kata/containerd/config.d/kata-deploy.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu]\nruntime_type = "x"\n')
    shim = world.root / "opt/kata/bin/containerd-shim-kata-v2"
    shim.parent.mkdir()
    shim.touch()
    (world.root / "opt/kata/share/defaults/kata-containers").mkdir(parents=True)
    config = world.root / "etc/containerd/config.toml"
    config.write_text('imports = ["/opt/kata/containerd/config.d/kata-deploy.toml"]\n' + deploy.CONFIG)
    world.host.restart("containerd.service")
    act(world, Action.CLEANUP)
    assert world.host.configured() == set()
    assert world.host.served() == []
    assert not shim.exists()
    assert "kata-deploy" not in config.read_text()


def test_a_tree_that_the_reference_installer_wrote_is_taken_over_and_uninstalled_with_its_edits(world):
    config = (world.root / "etc/containerd/config.toml").read_bytes()
    before = world.files()
    install.install_node(session(world))
    forget_records(world.root)
    world.host.restart("containerd.service")
    install.install_node(session(world))
    receipt = load_state(Site(str(world.root), "/opt/kata")).receipt
    assert receipt is not None
    assert receipt.previous == 0, "the tree that was found is generation 0"
    assert set(world.host.served()) == HANDLERS
    act(world, Action.CLEANUP)
    assert (world.root / "etc/containerd/config.toml").read_bytes() == config
    assert world.host.served() == []
    after = world.files()
    # Directories that the other installer made: nobody knows by now that they were not there before.
    empty = {path for path, what in after.items() if path not in before and what[0][0] == "directory"}
    assert {path: what for path, what in after.items() if path not in empty} == before
    assert empty <= {"opt", "opt/kata", "opt/kata/containerd", "opt/kata/containerd/config.d"}


def test_reset_restarts_the_runtime_and_the_kubelet_and_gives_the_labels_up(world):
    install.install_node(session(world))
    done = world.files()
    act(world, Action.RESET)
    assert world.labels() == {}
    assert world.host.calls()[-2:] == ["restart containerd.service", "restart kubelet.service"]
    assert world.files() == done


def test_reset_labels_the_node_again_where_the_daemonset_stays(world):
    install.install_node(session(world))
    world.add_daemonset()
    act(world, Action.RESET)
    assert world.labels() == {SHARED: "true", MARK: "true"}


def test_reset_leaves_the_runtime_alone_while_another_install_serves(world):
    install.install_node(session(world))
    world.kube.set_label(NODE, "kata-deploy.katacontainers.io/b", "true")
    restarts = world.host.restarts()
    act(world, Action.RESET)
    assert world.host.restarts() == restarts
    assert world.labels() == {SHARED: "true", "kata-deploy.katacontainers.io/b": "true"}


def test_a_failed_install_tells_kubernetes_why(world):
    (world.root / "refuses").touch()
    (world.root / "dev").mkdir()
    (world.root / "dev/termination-log").touch()
    world.variables = {"KATA_BUNDLE_EVENTS": "true"}
    with pytest.raises(InstallRestoredError):
        act(world, Action.INSTALL)
    assert "was taken back" in (world.root / "dev/termination-log").read_text()
    events = [o for p, o in world.kube.objects.items() if "/events/" in p]
    assert [event["reason"] for event in events] == ["KataInstallFailed"]


def test_proxy_credentials_are_not_logged(job):
    job.variables |= {"AGENT_HTTPS_PROXY": "http://user:secret@proxy:3128"}
    said = act(job, Action.STAGE_HOST_CHECK)
    assert "proxy:3128" in said.text
    assert "secret" not in said.text


@pytest.mark.parametrize("text", ["", "docker"])
def test_the_wait_needs_the_runtime_that_was_found(world, text):
    world.variables = {"KATA_DEPLOY_DETECTED_RUNTIME": text}
    with pytest.raises(UsageError, match="KATA_DEPLOY_DETECTED_RUNTIME"):
        act(world, Action.POST_INSTALL_WAIT)


def test_an_error_is_told_with_the_whole_chain_of_its_causes():
    error = HostError("outer")
    error.__cause__ = OSError(2, "No such file")
    assert describe(error) == "outer: [Errno 2] No such file"


def test_the_status_of_the_stand_in_is_that_of_a_ready_runtime(world):
    found = world.host.status()
    assert isinstance(found, CriStatus)
    assert found.is_ready
