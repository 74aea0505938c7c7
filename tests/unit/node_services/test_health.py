"""The probe server, its port and its state (installer specification §24.1, D18)."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.node import waiter
from kata_bundle.node.config.texts import parse_port
from kata_bundle.node.health import HealthServer, HealthState, bind, render_metrics


@pytest.fixture
def served():
    state = HealthState()
    with HealthServer(state, bind(0)) as server:
        yield state, server


def ask(port: int, request: bytes, address: str = "127.0.0.1") -> bytes:
    with socket.create_connection((address, port), timeout=5) as client:
        client.sendall(request)
        answer = b""
        while data := client.recv(65536):
            answer += data
    return answer


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Connection"] == "close"
    return int(status.split()[1]), headers, body


@pytest.mark.parametrize(
    ("ready", "path", "status", "body"),
    [
        (False, b"/healthz", 200, b"ok installing\n"),
        (True, b"/healthz", 200, b"ok ready\n"),
        (False, b"/readyz", 503, b"not_ready installing\n"),
        (True, b"/readyz", 200, b"ok ready\n"),
        (True, b"/readyz?verbose=1&x=/healthz", 200, b"ok ready\n"),
        (False, b"/other", 404, b"not found\n"),
        (True, b"/", 404, b"not found\n"),
        (True, b"/healthz/", 404, b"not found\n"),
    ],
)
def test_each_path_answers_as_the_probes_expect(served, ready, path, status, body):
    state, server = served
    if ready:
        state.set_ready()
    got, headers, content = split(ask(server.port, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert (got, content, headers["Content-Type"]) == (status, body, "text/plain")


def test_a_request_line_alone_is_enough_even_without_a_newline(served):
    _, server = served
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(b"GET /healthz")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_the_answer_leaves_in_one_write(monkeypatch):
    sent = []

    class Recording:
        def __init__(self, inner):
            self.inner = inner

        def send(self, data):
            sent.append(bytes(data))
            return self.inner.send(data)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    ours, theirs = socket.socketpair()
    with theirs:
        client = waiter._Client(ours.detach())
        client.sock = Recording(client.sock)
        theirs.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        client.step(lambda line: waiter.reply(line, ready=True))
        assert len(sent) == 1
        assert theirs.recv(4096) == sent[0]
        client.sock.close()


def test_unread_headers_never_reset_the_connection(served):
    _, server = served
    for _ in range(20):
        answer = ask(server.port, b"GET /healthz HTTP/1.1\r\nX-Filler: " + b"a" * 20000 + b"\r\n\r\n")
        assert split(answer)[0] == 200


@pytest.mark.parametrize("request_bytes", [b"", b"\r\n", b"   \n", b"x" * 10000])
def test_an_empty_or_endless_request_line_is_closed_silently(served, request_bytes):
    _, server = served
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        try:
            assert client.recv(100) == b""
        except ConnectionResetError:
            assert len(request_bytes) > 8192  # what was not read was thrown away


def test_slow_clients_delay_nobody_and_are_dropped_at_their_limit(served, monkeypatch):
    monkeypatch.setattr(waiter, "READ_LIMIT_S", 0.3)
    _, server = served
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(30)]
    try:
        for client in slow:
            client.sendall(b"GET /hea")
        start = time.monotonic()
        assert split(ask(server.port, b"GET /healthz HTTP/1.1\r\n\r\n"))[0] == 200
        assert time.monotonic() - start < 0.25
        assert all(client.recv(10) == b"" for client in slow)
    finally:
        for client in slow:
            client.close()


def test_more_clients_than_the_limit_cost_the_oldest(served):
    _, server = served
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(waiter._MAX_CLIENTS + 5)]
    try:
        assert clients[0].recv(10) == b""
        clients[-1].sendall(b"GET /healthz\n")
        assert clients[-1].recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for client in clients:
            client.close()


def test_the_listener_answers_on_both_protocol_families(served):
    _, server = served
    for address in ("127.0.0.1", "::1"):
        assert split(ask(server.port, b"GET /healthz HTTP/1.0\r\n\r\n", address))[0] == 200


@pytest.mark.parametrize("refuses", ["socket", "bind"])
def test_without_ipv6_the_listener_is_ipv4(monkeypatch, refuses):
    import errno

    real = socket.socket

    class NoIpv6(real):
        def __init__(self, family=-1, *rest, **more):
            if refuses == "socket" and family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *rest, **more)

        def bind(self, address):
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", NoIpv6)
    listener = bind(0)
    assert listener.family == socket.AF_INET
    listener.close()


def test_a_port_in_use_is_a_fatal_error_that_names_it():
    with bind(0) as first, pytest.raises(HostError, match=str(first.getsockname()[1])) as caught:
        bind(first.getsockname()[1])
    assert "HEALTH_PORT" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "port", "warned"),
    [
        (None, 8090, False),
        ("9000", 9000, False),
        ("1", 1, False),
        ("65535", 65535, False),
        ("", 8090, True),
        ("http", 8090, True),
        ("0", 8090, True),
        ("65536", 8090, True),
        ("-1", 8090, True),
        (" 80", 8090, True),
        ("٨٠", 8090, True),
        ("9" * 5000, 8090, True),
    ],
)
def test_an_invalid_port_is_the_default_with_a_warning(text, port, warned):
    got, warning = parse_port(text)
    assert got == port
    assert (warning is not None) == warned


def test_detaching_finishes_what_was_accepted_and_leaves_the_queue_open():
    state = HealthState()
    server = HealthServer(state, bind(0))
    port = server.port
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=5) as early:
        early.sendall(b"GET /heal")
        time.sleep(0.05)
        finisher = threading.Timer(0.1, early.sendall, [b"thz HTTP/1.1\r\n\r\n"])
        finisher.start()
        descriptor = server.detach()
        answers.append(early.recv(4096))
        finisher.join()
    late = socket.create_connection(("127.0.0.1", port), timeout=5)
    late.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    with HealthServer.adopt(state, descriptor):
        answers.append(late.recv(4096))
    late.close()
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 2
    with pytest.raises(RuntimeError):
        server.detach()
    server.close()


def test_probes_keep_being_answered_while_the_server_is_handed_around():
    state = HealthState()
    listener = bind(0)
    port = listener.getsockname()[1]
    stop, failures, done = threading.Event(), [], []

    def probe():
        while not stop.is_set():
            try:
                done.append(split(ask(port, b"GET /healthz HTTP/1.1\r\n\r\n"))[0])
            except OSError as error:
                failures.append(error)
            time.sleep(0.005)

    probers = [threading.Thread(target=probe) for _ in range(3)]
    for thread in probers:
        thread.start()
    server = HealthServer(state, listener)
    for _ in range(10):
        time.sleep(0.03)
        server = HealthServer.adopt(state, server.detach())
    stop.set()
    for thread in probers:
        thread.join()
    server.close()
    assert failures == []
    assert len(done) > 30
    assert set(done) == {200}


def test_state_starts_as_installing_and_is_one_for_all_who_hold_it():
    state = HealthState()
    assert state.snapshot().word == "installing"
    other = state
    state.set_ready()
    assert other.snapshot().word == "ready"
    other.set_installing()
    assert state.snapshot().word == "installing"


def test_stages_have_durations_and_end_with_the_next_one(monkeypatch):
    now = [10.0]
    monkeypatch.setattr("kata_bundle.core.clock.monotonic", lambda: now[0])
    state = HealthState()
    state.enter("artifacts")
    now[0] = 12.5
    state.enter("cri")
    now[0] = 13.0
    assert [(s.name, s.seconds, s.running) for s in state.snapshot().stages] == [("artifacts", 2.5, False), ("cri", 0.5, True)]
    state.fail("no CRI")
    now[0] = 99.0
    snapshot = state.snapshot()
    assert snapshot.stages[-1].seconds == 0.5
    assert snapshot.last_error == "no CRI"


def test_metrics_are_open_metrics_text(served):
    state, server = served
    state.enter("artifacts")
    state.add_bytes(1000)
    state.add_bytes(24)
    state.enter("cri")
    state.enter("artifacts")
    state.set_generation(42)
    state.fail('broken "quote"\nand \\ line')
    status, headers, body = split(ask(server.port, b"GET /metrics HTTP/1.1\r\n\r\n"))
    assert status == 200
    assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    text = body.decode()
    assert text.endswith("# EOF\n")
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in samples, "a series may stand once"
            samples[name] = float(value)
    assert samples["kata_bundle_payload_bytes"] == 1024
    assert samples["kata_bundle_generation"] == 42
    assert samples["kata_bundle_ready"] == 0
    assert samples['kata_bundle_stage{kata_bundle_stage="cri"}'] == 0
    assert r'kata_bundle_last_error_info{reason="broken \"quote\"\nand \\ line"}' in samples


def test_a_fresh_installer_says_nothing_it_does_not_know():
    text = render_metrics(HealthState().snapshot(), version="1")
    assert "generation" not in text
    assert "last_error" not in text
    assert "stage" not in text


def test_head_gets_the_headers_only():
    answer = waiter.reply(b"HEAD /healthz HTTP/1.1", ready=True)
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 9" in answer
