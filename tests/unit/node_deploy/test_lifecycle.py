"""The program from start to end in real processes: install, hand-over, SIGTERM, cleanup (§1, §24, §25)."""

from __future__ import annotations

import os
import random
import socket
import threading
import time

import pytest

from kata_bundle.archive.durable import _AT_ONCE
from tests.fixtures.fake_kube import Fault
from tests.fixtures.ports import free_port
from tests.unit.node_deploy.conftest import MARK, SHARED, World

HANDLERS = {"kata-qemu", "kata-clh-runtime-rs"}


def test_an_install_is_served_labelled_and_waits_and_sigterm_takes_all_of_it_away(world: World):
    before = world.files()
    process = world.install()
    assert set(world.host.served()) == HANDLERS
    assert (world.root / "opt/kata/bin/containerd-shim-kata-v2").exists()
    assert (world.root / "opt/kata/versions.yaml").read_bytes() == b"assets: {}\n"
    assert world.labels() == {SHARED: "true", MARK: "true"}
    output = world.end(process)
    assert "cleanup of node node1: full" in output
    assert world.files() == before
    assert world.host.served() == []
    assert world.labels() == {}
    assert world.host.restarts() == 2


def test_a_pod_that_restarts_leaves_everything_and_installs_again_without_a_restart(world: World):
    world.add_daemonset()
    process = world.install()
    done = world.files()
    assert "cleanup of node node1: skip" in world.end(process)
    assert world.files() == done
    assert world.labels() == {SHARED: "true", MARK: "true"}
    process = world.install()
    assert world.host.restarts() == 1, "nothing changed, so the runtime is left alone"
    assert world.files() == done
    world.remove_daemonset()
    world.end(process)
    assert world.labels() == {}
    assert not (world.root / "opt").exists()


def test_a_runtime_that_refuses_gets_its_old_configuration_back_by_itself(world: World):
    before = world.files()
    (world.root / "refuses").touch()
    code, output = world.run("install")
    assert code == 10, output
    assert "was taken back" in output
    assert world.files() == before
    assert world.host.configured() == set()
    assert world.labels() == {SHARED: "false", MARK: "false"}, "claimed, and nothing is scheduled here"
    (world.root / "refuses").unlink()
    process = world.install()
    assert set(world.host.served()) == HANDLERS
    world.end(process)


def test_another_install_on_the_node_keeps_the_shared_label_and_its_own_files(world: World):
    process = world.install()
    ours = world.files()
    world.variables = {"MULTI_INSTALL_SUFFIX": "b", "HEALTH_PORT": str(free_port()), "DAEMONSET_NAME": "kata-deploy-b"}
    second = world.install()
    assert set(world.host.served()) == HANDLERS | {f"{name}-b" for name in HANDLERS}
    assert "instance" in world.end(second)
    assert world.labels() == {SHARED: "true", MARK: "true"}
    assert world.files() == ours
    assert set(world.host.served()) == HANDLERS
    world.end(process)
    assert world.labels() == {}


def test_an_api_that_refuses_stops_the_cleanup_before_any_change(world: World):
    process = world.install()
    done = world.files()
    world.kube.faults = [Fault(times=1000, status=403)]
    assert "error: cleanup:" in world.end(process)
    assert world.files() == done


def test_a_configuration_that_cannot_be_is_refused_before_anything_is_touched(world: World):
    before = world.files()
    world.variables = {"DEFAULT_SHIM_X86_64": "clh"}
    code, output = world.run("install")
    assert code == 2
    assert "DEFAULT_SHIM_X86_64" in output
    assert world.files() == before
    assert world.kube.patches() == []


def get(port: int, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while data := client.recv(4096):
            answer += data
    return answer.decode()


def test_no_probe_fails_at_twenty_a_second_through_the_install_and_the_hand_over(world: World):
    world.variables = {"TEST_DELAY_S": "0.6"}
    liveness: list[str] = []
    readiness: list[str] = []
    threads: set[int] = set()
    stop = threading.Event()
    process = world.start()

    def probe() -> None:
        while not stop.is_set():
            threads.add(len(os.listdir(f"/proc/{process.pid}/task")))
            try:
                liveness.append(get(world.port, "/healthz").split("\r\n")[0])
                readiness.append(get(world.port, "/readyz").split("\r\n")[0])
            except OSError as error:
                if liveness:  # the port is bound: from now on nothing may fail
                    liveness.append(repr(error))
            time.sleep(0.05)

    thread = threading.Thread(target=probe)
    thread.start()
    world.until_waiting(process)
    time.sleep(0.5)
    stop.set()
    thread.join()
    assert max(threads) <= 2 + _AT_ONCE, "one works, one answers, few unpack or flush; how many does not follow the machine"
    assert len(os.listdir(f"/proc/{process.pid}/task")) == 1, "the waiter is alone"
    assert "kata_bundle_generation 1" in get(world.port, "/metrics")
    world.end(process)
    assert len(liveness) > 20
    assert set(liveness) == {"HTTP/1.1 200 OK"}
    first = readiness.index("HTTP/1.1 200 OK")
    assert set(readiness[:first]) <= {"HTTP/1.1 503 Service Unavailable"}
    assert set(readiness[first:]) == {"HTTP/1.1 200 OK"}, "once ready, never again not ready"


def at_a_random_moment(world: World, chance: random.Random) -> None:
    """Send SIGTERM at some moment; the node must be clean, or, with the DaemonSet there, whole after the next start.

    The moment is told by how much the program has said so far, and a little more: a busy machine then sees the same moments.
    """
    world.port = free_port()
    stays = chance.random() < 0.5
    before = world.files()
    if stays:
        world.add_daemonset()
    process = world.start()
    assert process.stdout is not None
    for _ in range(chance.randint(1, LINES)):
        if "waiting for SIGTERM" in process.stdout.readline():
            break
    time.sleep(chance.uniform(0, 0.05))
    process.terminate()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "cleanup:" not in output
    if not stays:
        assert world.files() == before, output
        assert world.host.configured() == set()
        assert world.host.served() == []
        assert world.labels() == {}
        return
    assert set(world.host.served()) in (set(), HANDLERS), output
    assert world.host.configured() == set(world.host.served()), output
    process = world.install()
    assert set(world.host.served()) == HANDLERS
    assert world.labels() == {SHARED: "true", MARK: "true"}
    world.remove_daemonset()
    world.end(process)
    assert world.files() == before


LINES = 60
"""More lines than an install says."""
VARIABLE = "KATA_BUNDLE_SIGTERM_MOMENTS"


@pytest.mark.parametrize("seed", range(3))
def test_sigterm_at_any_moment_leaves_the_node_clean_or_whole(world: World, seed):
    at_a_random_moment(world, random.Random(seed))


@pytest.mark.slow
def test_sigterm_at_hundreds_of_moments_leaves_the_node_clean_or_whole(world: World):
    rounds = int(os.environ.get(VARIABLE, "0"))
    if not rounds:
        pytest.skip(f"{VARIABLE} says how many moments to try; 500 take half an hour")
    for seed in range(1000, 1000 + rounds):
        try:
            at_a_random_moment(world, random.Random(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
