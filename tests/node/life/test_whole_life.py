"""The whole life of an install on a real node, with each containerd: in, again, on, back, out; after every step CRI is asked
what it serves, and the node's whole disk is compared with what the receipts say."""

from __future__ import annotations

import random

import pytest

from tests.fixtures.disk import active, assert_as_recorded, changes, disk
from tests.fixtures.node import forget_records
from tests.fixtures.pod import MARK, SHARED, Pod
from tests.fixtures.ports import free_port
from tests.node.life.conftest import Life

pytestmark = [pytest.mark.root, pytest.mark.node]

HANDLERS = ("kata-clh-runtime-rs", "kata-qemu")
MORE = ("kata-clh", *HANDLERS)
SECOND = {"SHIMS_X86_64": "qemu clh-runtime-rs clh"}
EVERY = ("bookworm", "trixie", "sid")
FEW = [pytest.param(suite, marks=[] if suite == "sid" else [pytest.mark.slow]) for suite in EVERY]
ALL_SLOW = [pytest.param(suite, marks=pytest.mark.slow) for suite in EVERY]
REFUSES = "[Service]\nExecStartPre=/bin/sh -c '! grep -rqs kata-qemu-debug /etc/containerd /opt/kata/containerd'\n"
"""containerd does not start with a handler that only a failing upgrade brings."""


@pytest.mark.parametrize("life", FEW, indirect=True)
def test_install_reinstall_upgrade_failure_rollback_uninstall(life: Life, images):
    node, pod = life.node, life.pod
    pod.add_daemonset()

    # install
    process = pod.install()
    assert pod.handlers() == HANDLERS
    assert pod.labels() == {SHARED: "true", MARK: "true"}
    assert_as_recorded(node, life.before)
    assert active(node).generation == 1
    first, started = disk(node), pod.starts()

    # reinstall: the pod restarts, and neither going nor coming back changes anything
    assert "skip" in pod.end(process)
    assert changes(first, disk(node)) == set()
    process = pod.install()
    assert changes(first, disk(node)) == set()
    assert pod.starts() == started

    # upgrade
    pod.end(process)
    pod.image, pod.variables = images.second, SECOND
    process = pod.install()
    assert pod.handlers() == MORE
    assert_as_recorded(node, life.before)
    assert (active(node).generation, active(node).previous) == (2, 1)
    upgraded = disk(node)

    # an upgrade that containerd refuses: everything comes back by itself
    pod.end(process)
    node.write("/etc/systemd/system/containerd.service.d/refuses.conf", REFUSES)
    node.systemctl("daemon-reload")
    pod.variables = {**SECOND, "DEBUG": "true"}
    code, output = pod.run("install")
    assert code == 10, output
    assert "was taken back" in output
    node.wait_for("containerd")
    (node.root / "etc/systemd/system/containerd.service.d/refuses.conf").unlink()
    node.systemctl("daemon-reload")
    assert changes(upgraded, disk(node)) == set()
    assert pod.handlers() == MORE
    assert pod.labels() == {SHARED: "true", MARK: "true"}

    # rollback, by hand in the pod
    code, output = pod.bundle("rollback")
    assert code == 0, output
    assert active(node).generation == 1
    assert_as_recorded(node, life.before)
    assert pod.handlers() == HANDLERS, "containerd was restarted, and serves what the earlier generation has"

    # uninstall
    pod.image, pod.variables = images.first, {}
    process = pod.install()
    assert pod.handlers() == HANDLERS
    assert_as_recorded(node, life.before)
    pod.remove_daemonset()
    assert "full" in pod.end(process)
    assert changes(life.before, disk(node)) == set()
    assert pod.handlers() == ()
    assert pod.labels() == {}


@pytest.mark.parametrize("life", [pytest.param(suite, marks=pytest.mark.slow) for suite in ("trixie", "sid")], indirect=True)
def test_two_suffixes_live_side_by_side(life: Life):
    node, pod = life.node, life.pod
    if life.schema == 2:
        pod.variables = {"MULTI_INSTALL_SUFFIX": "b"}
        code, output = pod.run("install")
        assert code == 9, output
        assert "suffix" in output
        assert changes(life.before, disk(node)) <= {"opt/kata-b"}, "1.x has no drop-ins: two installs cannot be told apart"
        return
    second = Pod(node, life.kube, pod.image, pod.folder / "b", free_port(), module=pod.module, processes=pod.processes)
    second.folder.mkdir()
    second.variables = {"MULTI_INSTALL_SUFFIX": "b", "DAEMONSET_NAME": "kata-deploy-b"}
    second.prepare()
    nothing = disk(node)
    process = pod.install()
    alone = disk(node)
    other = second.install()
    both = tuple(sorted((*HANDLERS, *(f"{name}-b" for name in HANDLERS))))
    assert pod.handlers() == both
    assert_as_recorded(node, nothing, ("/opt/kata", "/opt/kata-b"))
    assert "instance" in second.end(other)
    assert changes(alone, disk(node)) == set()
    assert pod.handlers() == HANDLERS
    assert pod.labels() == {SHARED: "true", MARK: "true"}
    # The first one goes while the second is there.
    other = second.install()
    assert "instance" in pod.end(process)
    assert_as_recorded(node, nothing, ("/opt/kata-b",))
    assert pod.handlers() == tuple(f"{name}-b" for name in HANDLERS)
    second.end(other)
    assert changes(nothing, disk(node)) == set()
    assert pod.handlers() == ()
    assert pod.labels() == {}


@pytest.mark.parametrize("life", ALL_SLOW, indirect=True)
def test_what_the_reference_installer_left_is_taken_over(life: Life):
    node, pod = life.node, life.pod
    pod.add_daemonset()
    pod.end(pod.install())
    forget_records(node.overlay)
    assert pod.handlers() == HANDLERS
    process = pod.install()
    assert pod.handlers() == HANDLERS
    assert (active(node).generation, active(node).previous) == (1, 0)
    pod.remove_daemonset()
    pod.end(process)
    assert pod.handlers() == ()
    left = {path for path in changes(life.before, disk(node)) if not (node.overlay / path).is_dir()}
    assert left == set(), "empty directories stay: nobody knows by now who made them"


@pytest.mark.parametrize("life", ALL_SLOW, indirect=True)
def test_commands_by_hand_restart_and_ask_the_runtime_too(life: Life, images):
    node, pod = life.node, life.pod
    pod.variables = {"CONTAINER_RUNTIME_VERSION": life.release.string}

    def install(image) -> tuple[int, str]:
        return pod.bundle("install", str(image), "--from-environment", "--runtime", "containerd")

    assert install(images.first)[0] == 0
    assert pod.handlers() == HANDLERS
    assert_as_recorded(node, life.before)
    started = pod.starts()
    assert install(images.first)[0] == 0
    assert pod.starts() == started
    node.write("/etc/systemd/system/containerd.service.d/refuses.conf", REFUSES)
    node.systemctl("daemon-reload")
    pod.variables |= {"DEBUG": "true"}
    code, output = install(images.second)
    assert code == 10, output
    (node.root / "etc/systemd/system/containerd.service.d/refuses.conf").unlink()
    node.systemctl("daemon-reload")
    node.wait_for("containerd")
    assert pod.handlers() == HANDLERS
    code, output = pod.bundle("uninstall")
    assert code == 0, output
    assert pod.handlers() == ()
    assert changes(life.before, disk(node)) == set()


@pytest.mark.parametrize("life", ALL_SLOW, indirect=True)
def test_sigterm_in_the_middle_leaves_nothing_behind(life: Life):
    node, pod = life.node, life.pod
    chance = random.Random(life.release.version)
    for _ in range(6):
        process = pod.start()
        for _ in range(chance.randint(15, 70)):
            if "waiting for SIGTERM" in process.stdout.readline():
                break
        output = pod.end(process)
        assert "cleanup:" not in output
        assert changes(life.before, disk(node)) == set(), output
        node.wait_for("containerd")
        assert pod.handlers() == ()
        assert pod.labels() == {}
