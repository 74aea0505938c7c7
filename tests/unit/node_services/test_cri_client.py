"""A CRI client against a small CRI server, and the host services over both clients (installer specification §21)."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from kata_bundle.core.errors import InstallError
from kata_bundle.node.cri_api import api_pb2
from kata_bundle.node.cri_api.client import CriClient
from kata_bundle.node.cri_api.generate import GENERATED, generate
from kata_bundle.node.cri_api.values import (
    CriCondition,
    CriError,
    CriSandbox,
    CriStatus,
    configured_handlers,
    cri_socket,
    our_sandboxes,
)
from kata_bundle.node.hostservices import HostServices, NotServingError, confirm_cri, wait_unit_active
from kata_bundle.node.machine import Knowledge
from kata_bundle.node.pause import StopRequestedError
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.systemd import SystemdError, UnitError, UnitState


def test_the_message_classes_are_what_the_definition_gives(tmp_path):
    pytest.importorskip("grpc_tools", reason="the protocol compiler is a development dependency")
    generate(tmp_path)
    committed = Path(api_pb2.__file__).parent
    for name in GENERATED:
        made = (tmp_path / "kata_bundle/node/cri_api" / name).read_text()
        assert made == (committed / name).read_text(), f"run: python -m kata_bundle.node.cri_api.generate ({name})"


def test_the_definition_comes_with_its_licence():
    folder = Path(api_pb2.__file__).parent
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert "The Kubernetes Authors" in (folder / "api.proto").read_text()[:200]


class Service:
    """RuntimeService as far as it is asked; ``answers`` maps a method to a reply or an exception."""

    def __init__(self, answers) -> None:
        self.answers = answers

    def __mapping__(self):
        from grpclib.const import Cardinality, Handler

        def handler(method, request_type, reply_type):
            async def handle(stream):
                await stream.recv_message()
                answer = self.answers[method]
                if callable(answer):
                    answer = answer()
                if isinstance(answer, float):
                    await asyncio.sleep(answer)
                    return
                if isinstance(answer, Exception):
                    raise answer
                await stream.send_message(answer)

            return Handler(handle, Cardinality.UNARY_UNARY, request_type, reply_type)

        return {
            f"/runtime.v1.RuntimeService/{name}": handler(
                name, getattr(api_pb2, f"{name}Request"), getattr(api_pb2, f"{name}Response")
            )
            for name in ("Version", "Status", "ListPodSandbox")
        }


@contextmanager
def serving(path, **answers):
    from grpclib.server import Server

    loop = asyncio.new_event_loop()
    started = threading.Event()
    server = None

    async def start():
        nonlocal server
        server = Server([Service(answers)])
        await server.start(path=str(path))
        started.set()

    async def stop():
        server.close()
        await server.wait_closed()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    assert started.wait(5)
    try:
        yield CriClient(str(path), timeout_s=2)
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def status(*handlers: str, ready: bool = True, info=None) -> api_pb2.StatusResponse:
    condition = api_pb2.RuntimeCondition(
        type="RuntimeReady", status=ready, reason="" if ready else "Broken", message="plugin failed"
    )
    network = api_pb2.RuntimeCondition(type="NetworkReady", status=False)
    return api_pb2.StatusResponse(
        status=api_pb2.RuntimeStatus(conditions=[condition, network]),
        info=info or {},
        runtime_handlers=[api_pb2.RuntimeHandler(name=name) for name in handlers],
    )


def test_version_status_and_sandboxes_are_read(tmp_path):
    version = api_pb2.VersionResponse(runtime_name="containerd", runtime_version="2.1.9", runtime_api_version="v1")
    sandbox = api_pb2.PodSandbox(
        id="abc",
        metadata=api_pb2.PodSandboxMetadata(name="p", namespace="default"),
        state=api_pb2.SANDBOX_NOTREADY,
        created_at=1_700_000_000_500_000_000,
        runtime_handler="kata-qemu",
    )
    listing = api_pb2.ListPodSandboxResponse(items=[sandbox])
    with serving(tmp_path / "s", Version=version, Status=status("", "runc", "kata-qemu"), ListPodSandbox=listing) as cri:
        assert cri.version().runtime_version == "2.1.9"
        found = cri.status()
        assert found.is_ready
        assert found.handlers == ("kata-qemu", "runc")
        assert cri.sandboxes() == (
            CriSandbox(
                sandbox_id="abc",
                pod="p",
                namespace="default",
                handler="kata-qemu",
                is_ready=False,
                created_at=1_700_000_000.5,
            ),
        )


def test_an_older_containerd_tells_its_handlers_in_its_configuration(tmp_path):
    info = {"config": '{"containerd": {"runtimes": {"runc": {}, "kata-qemu": {}}}}'}
    with serving(tmp_path / "s", Status=status(info=info)) as cri:
        assert cri.status().handlers == ("kata-qemu", "runc")


@pytest.mark.parametrize("info", [{}, {"config": "no json"}, {"config": "[]"}, {"config": "{}"}, {"config": '{"containerd": 1}'}])
def test_a_runtime_that_tells_nothing_is_told_apart_from_one_without_handlers(info):
    assert configured_handlers(info) is None
    assert configured_handlers({"config": '{"containerd": {"runtimes": {}}}'}) == ()


def test_a_refusal_a_silence_and_an_absence_are_errors(tmp_path):
    from grpclib.const import Status
    from grpclib.exceptions import GRPCError

    with serving(tmp_path / "s", Status=GRPCError(Status.UNAVAILABLE, "cri plugin failed"), Version=30.0) as cri:
        with pytest.raises(CriError, match="cri plugin failed"):
            cri.status()
        start = time.monotonic()
        with pytest.raises(CriError, match="Version"):
            CriClient(str(tmp_path / "s"), timeout_s=0.2).version()
        assert time.monotonic() - start < 2
    with pytest.raises(CriError, match="does not answer"):
        CriClient(str(tmp_path / "absent")).version()


def test_a_socket_that_is_no_cri_is_an_error(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(5)

        def run():
            client, _ = server.accept()
            with client:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                time.sleep(0.05)

        thread = threading.Thread(target=run)
        thread.start()
        with pytest.raises(CriError):
            CriClient(path, timeout_s=1).status()
        thread.join()


def test_each_distribution_has_its_socket():
    sockets = {runtime: cri_socket(runtime) for runtime in Runtime}
    assert sockets[Runtime.CONTAINERD] == "/run/containerd/containerd.sock"
    assert sockets[Runtime.CRIO] == "/run/crio/crio.sock"
    assert sockets[Runtime.RKE2_AGENT] == sockets[Runtime.K3S] == "/run/k3s/containerd/containerd.sock"
    assert sockets[Runtime.K0S_WORKER] == "/run/k0s/containerd.sock"
    assert sockets[Runtime.MICROK8S].startswith("/var/snap/microk8s/")


# the host's services


class FakeSystemd:
    def __init__(self, states=(), fails=()) -> None:
        self.states, self.fails, self.calls = list(states), set(fails), []

    def unit_state(self, unit):
        seen = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(seen, Exception):
            raise seen
        return UnitState(name=unit, load_state="loaded", active_state=seen, sub_state="x", active_since_us=None)

    def __getattr__(self, verb):
        def call(*arguments):
            self.calls.append((verb, *arguments))
            if verb in self.fails:
                raise UnitError("will not")

        return call


class FakeCri:
    def __init__(self, *answers, sandboxes=()) -> None:
        self.answers, self.found = list(answers), sandboxes

    def status(self):
        seen = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def sandboxes(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def cri_status(*handlers: str, ready: bool = True, tells: bool = True) -> CriStatus:
    condition = CriCondition(kind="RuntimeReady", is_true=ready, reason="R", message="m")
    return CriStatus(conditions=(condition,), handlers=handlers if tells else None)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def pause(self, seconds: float) -> bool:
        self.now += seconds
        return False

    @property
    def arguments(self):
        return {"pause": self.pause, "now": lambda: self.now}


def test_success_means_that_the_cri_serves_every_handler():
    clock = Time()
    answers = [CriError("refused"), cri_status(ready=False), cri_status("kata-qemu"), cri_status("kata-qemu", "kata-clh")]
    confirm_cri(FakeCri(*answers), ("kata-qemu", "kata-clh"), **clock.arguments)
    assert clock.now == 6
    confirm_cri(FakeCri(cri_status(tells=False)), ("kata-qemu",), **clock.arguments)
    confirm_cri(FakeCri(cri_status()), (), **clock.arguments)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (CriError("no such file"), "no such file"),
        (cri_status(ready=False), "R: m"),
        (CriStatus(conditions=(), handlers=()), "no RuntimeReady"),
        (cri_status("runc"), "kata-qemu"),
    ],
)
def test_what_was_missing_last_is_said(answer, said):
    with pytest.raises(NotServingError, match=said) as caught:
        confirm_cri(FakeCri(answer), ("kata-qemu",), within_s=10, **Time().arguments)
    assert isinstance(caught.value, InstallError)


def test_a_unit_is_waited_for_while_systemd_itself_is_away():
    clock = Time()
    wait_unit_active(FakeSystemd([SystemdError("reloading"), "activating", "active"]), "containerd.service", **clock.arguments)
    assert clock.now == 4
    with pytest.raises(NotServingError, match="failed"):
        wait_unit_active(FakeSystemd(["failed"]), "containerd.service", **Time().arguments)
    with pytest.raises(StopRequestedError):
        wait_unit_active(FakeSystemd(["failed"]), "containerd.service", pause=lambda _: True)


class Notes:
    def __init__(self) -> None:
        self.lines = []

    def note(self, line):
        self.lines.append(line)


def services(systemd, cri=None, **more) -> HostServices:
    return HostServices(systemd=systemd, cri=cri or FakeCri(cri_status()), unit="containerd.service", **more)


def test_unit_calls_are_carried_out_and_some_may_fail():
    systemd = FakeSystemd(["active"], fails={"stop"})
    notes = Notes()
    host = services(systemd, progress=notes)
    host.call({"verb": "daemon-reload", "unit": "", "may_fail": False})
    for verb in ("restart", "enable", "disable"):
        host.call({"verb": verb, "unit": "x.service"})
    host.call({"verb": "stop", "unit": "x.service", "may_fail": True})
    assert systemd.calls == [
        ("daemon_reload",),
        ("restart", "x.service"),
        ("enable", "x.service"),
        ("disable", "x.service"),
        ("stop", "x.service"),
    ]
    assert "will not" in notes.lines[0]
    with pytest.raises(UnitError):
        host.call({"verb": "stop", "unit": "x.service", "may_fail": False})
    with pytest.raises(InstallError, match="mask"):
        host.call({"verb": "mask", "unit": "x.service", "may_fail": True})
    host.confirm()


def sandbox(handler: str, created_at: float) -> CriSandbox:
    return CriSandbox(sandbox_id=str(created_at), pod="p", namespace="n", handler=handler, is_ready=True, created_at=created_at)


def test_the_oldest_sandbox_of_ours_is_found_and_unreachable_is_not_none():
    found = (sandbox("runc", 5), sandbox("kata-qemu", 1_700_000_300), sandbox("kata-old", 1_700_000_100))
    host = services(
        FakeSystemd(["active"]), FakeCri(sandboxes=found), handlers=("kata-qemu",), our_handlers=frozenset({"kata-old"})
    )
    assert host.sandboxes().oldest == "2023-11-14T22:15:00Z"
    assert services(FakeSystemd(["active"]), FakeCri(sandboxes=found)).sandboxes().none_runs
    notes = Notes()
    gone = services(FakeSystemd(["active"]), FakeCri(sandboxes=CriError("refused")), progress=notes)
    assert gone.sandboxes().knowledge is Knowledge.UNREACHABLE
    assert not gone.sandboxes().none_runs
    assert [s.handler for s in our_sandboxes(found, {"kata-qemu", "kata-old"})] == ["kata-old", "kata-qemu"]
