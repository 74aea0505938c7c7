"""The agent's call over every transport, and peers that mean no good (installer specification §31.1)."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from kata_bundle.core.errors import BundleError, UsageError
from kata_bundle.node.diagnostics import agent_pb2
from kata_bundle.node.diagnostics.address import Transport, parse_address
from kata_bundle.node.diagnostics.agent import LOG_TYPES, TERMINATION_LOG, LogType, diagnostic_data, log_type
from kata_bundle.node.diagnostics.errors import AgentError, AgentStatusError, AgentTimeoutError
from kata_bundle.node.diagnostics.generate import GENERATED, generate
from kata_bundle.node.diagnostics.termination import (
    PATH_ANNOTATION,
    POLICY_ANNOTATION,
    ContainerSpec,
    load_container_spec,
    message_target,
    save_message,
)
from kata_bundle.node.diagnostics.transport import connect
from kata_bundle.node.diagnostics.ttrpc import MAX_DATA, call
from tests.fixtures.ttrpc_server import MockAgent, frame, listening, read_request, response


def test_the_message_classes_are_what_the_definitions_give(tmp_path):
    pytest.importorskip("grpc_tools", reason="the protocol compiler is a development dependency")
    generate(tmp_path)
    committed = Path(agent_pb2.__file__).parent
    for name in GENERATED:
        made = (tmp_path / "kata_bundle/node/diagnostics" / name).read_text()
        assert made == (committed / name).read_text(), f"run: python -m kata_bundle.node.diagnostics.generate ({name})"


def test_the_vendored_definition_comes_with_its_licence():
    folder = Path(agent_pb2.__file__).parent
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert "Licensed under the Apache License" in (folder / "ttrpc.proto").read_text()[:200]


@pytest.mark.parametrize(
    ("text", "transport", "place"),
    [
        ("vsock://3:1024", Transport.VSOCK, (3, "", 1024)),
        ("vsock://4294967295:0", Transport.VSOCK, (4294967295, "", 0)),
        ("hvsock:///run/vc/vm/a/root/kata.hvsock:1024", Transport.HYBRID_VSOCK, (0, "/run/vc/vm/a/root/kata.hvsock", 1024)),
        ("hvsock:///a:b:7", Transport.HYBRID_VSOCK, (0, "/a:b", 7)),
        ("unix:///run/agent.sock", Transport.UNIX, (0, "/run/agent.sock", 0)),
    ],
)
def test_an_address_is_read_and_written_alike(text, transport, place):
    address = parse_address(text)
    assert address.transport is transport
    assert (address.cid, address.path, address.port) == place
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "vsock://", "vsock://3", "vsock://3:", "vsock://-1:2", "vsock://3:4294967296", "vsock://a:1", "vsock:///x:1",
     "hvsock://run/x:1", "hvsock:///x", "unix://", "unix://x", "unix:///a\0b", "unix:///" + "x" * 107, "tcp://1:2", "vsock://٣:1"],
)  # fmt: skip
def test_anything_else_is_no_address(text):
    with pytest.raises(UsageError, match="is no address of an agent"):
        parse_address(text)


@pytest.fixture
def agent():
    return MockAgent({"box": b"it ended badly\n", "silent": None, "binary": b"\xff" * 4096, "long": "ä".encode() * 4096})


def test_the_text_of_a_container_comes_over_a_unix_socket(tmp_path, agent):
    with listening(tmp_path / "s", agent):
        address = parse_address(f"unix://{tmp_path}/s")
        assert diagnostic_data(address, TERMINATION_LOG, "box") == "it ended badly\n"
        assert diagnostic_data(address, TERMINATION_LOG, "silent") == ""
    assert agent.asked == [("termination_log", "box"), ("termination_log", "silent")]


def test_the_text_comes_through_a_hypervisors_socket(tmp_path, agent):
    with listening(tmp_path / "s", agent, hybrid_ports=(1024,)):
        assert diagnostic_data(parse_address(f"hvsock://{tmp_path}/s:1024"), TERMINATION_LOG, "box") == "it ended badly\n"
        with pytest.raises(AgentError, match="instead of connecting to guest port 9"):
            diagnostic_data(parse_address(f"hvsock://{tmp_path}/s:9"), TERMINATION_LOG, "box")


def test_the_text_comes_over_a_virtual_socket(agent):
    """Over vsock's loopback, where the kernel has it; a guest is another context id on the same socket family."""
    server = socket.socket(socket.AF_VSOCK)
    try:
        server.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
        server.listen()
        port = server.getsockname()[1]
        server.settimeout(5)
        with socket.socket(socket.AF_VSOCK) as trial:
            trial.settimeout(1)
            trial.connect((1, port))
            server.accept()[0].close()
    except OSError as error:
        server.close()
        with pytest.raises(AgentError, match="cannot be reached"):
            diagnostic_data(parse_address("vsock://1:1024"), TERMINATION_LOG, "box", timeout_s=2)
        pytest.skip(f"this kernel has no loopback for virtual sockets ({error}); only the refusal was tried")

    def serve() -> None:
        peer = server.accept()[0]
        with peer:
            request, stream = read_request(peer)
            peer.sendall(frame(agent.answer(request), stream=stream))

    thread = threading.Thread(target=serve)
    thread.start()
    assert diagnostic_data(parse_address(f"vsock://1:{port}"), TERMINATION_LOG, "box") == "it ended badly\n"
    thread.join()
    server.close()


def test_no_more_than_the_limit_is_kept_and_no_character_is_cut(tmp_path, agent):
    with listening(tmp_path / "s", agent):
        address = parse_address(f"unix://{tmp_path}/s")
        assert diagnostic_data(address, TERMINATION_LOG, "long") == "ä" * 2048
        assert diagnostic_data(address, TERMINATION_LOG, "binary") == "\N{REPLACEMENT CHARACTER}" * (4096 // 3)


def test_a_refusal_has_the_agents_code_and_words(tmp_path, agent):
    with listening(tmp_path / "s", agent):
        address = parse_address(f"unix://{tmp_path}/s")
        with pytest.raises(AgentStatusError, match="invalid container id") as refused:
            diagnostic_data(address, TERMINATION_LOG, "nobody")
        assert refused.value.code == "INVALID_ARGUMENT"
        with pytest.raises(AgentStatusError) as refused:
            diagnostic_data(address, LogType(name="future_log", about="", limit_bytes=10), "box")
        assert refused.value.code == "INVALID_ARGUMENT"
        with connect(address, timeout_s=5) as connection, pytest.raises(AgentStatusError) as refused:
            call(connection, "grpc.AgentService", "Older", b"")
        assert refused.value.code == "UNIMPLEMENTED"


def test_the_registry_knows_its_types():
    assert log_type("termination_log") is TERMINATION_LOG
    assert list(LOG_TYPES) == ["termination_log"]
    with pytest.raises(UsageError, match="is no type of diagnostic text"):
        log_type("journal")


def hang(peer: socket.socket) -> None:
    read_request(peer)
    peer.recv(1)


def never_accepts_the_request(peer: socket.socket) -> None:
    threading.Event().wait(3)


def drip(peer: socket.socket) -> None:
    read_request(peer)
    peer.sendall(frame(b"", length=4000))
    while True:
        peer.sendall(b"\n")
        time.sleep(0.05)


def drips_the_handshake(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"O")
        time.sleep(0.05)


@pytest.mark.parametrize("talk", [hang, never_accepts_the_request, drip])
def test_a_peer_that_does_not_finish_is_given_up_at_the_deadline(tmp_path, talk):
    with listening(tmp_path / "s", talk), pytest.raises(AgentTimeoutError, match="did not answer in time"):
        diagnostic_data(parse_address(f"unix://{tmp_path}/s"), TERMINATION_LOG, "box", timeout_s=0.3)


def test_a_handshake_that_goes_on_is_cut(tmp_path):
    with listening(tmp_path / "s", drips_the_handshake), pytest.raises(AgentError):
        diagnostic_data(parse_address(f"hvsock://{tmp_path}/s:1"), TERMINATION_LOG, "box", timeout_s=0.5)


def says(data: bytes):
    def talk(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(data)

    return talk


GOOD = response(agent_pb2.GetDiagnosticDataResponse(data="x").SerializeToString())


@pytest.mark.parametrize(
    ("data", "trouble"),
    [
        (b"", "hung up after 0 of 10 bytes"),
        (b"\0\0\0", "hung up after 3 of 10 bytes"),
        (frame(GOOD)[:-1], "hung up"),
        (frame(b"", length=0xFFFFFFFF), "is announced with 4294967295 bytes"),
        (frame(b"", length=MAX_DATA + 1), "is announced with"),
        (frame(b"", length=20000), "is announced with 20000 bytes"),
        (frame(GOOD, stream=3), "a frame of type 2 for stream 3"),
        (frame(GOOD, stream=2), "for stream 2"),
        (frame(GOOD, kind=3), "a frame of type 3"),
        (frame(GOOD, kind=1), "a frame of type 1"),
        (frame(b"\xff" * 20), "is no response of the protocol"),
        (frame(response(b"\xff" * 20)), "something else than diagnostic data"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is announced with"),
        (struct.pack("!IIBB", 12, 1, 2, 0) + b"\x12\x0a" + b"\x0a\x08" + b"\xff" * 8, "diagnostic data"),
    ],
)
def test_a_peer_that_talks_nonsense_is_an_error_that_says_what(tmp_path, data, trouble):
    with listening(tmp_path / "s", says(data)), pytest.raises(AgentError, match=trouble):
        diagnostic_data(parse_address(f"unix://{tmp_path}/s"), TERMINATION_LOG, "box", timeout_s=5)


def test_a_long_refusal_is_cut(tmp_path):
    with listening(tmp_path / "s", says(frame(response(code=2, message="x" * 9000)))), pytest.raises(AgentStatusError) as refused:
        diagnostic_data(parse_address(f"unix://{tmp_path}/s"), TERMINATION_LOG, "box")
    assert len(str(refused.value)) < 600
    assert refused.value.code == "UNKNOWN"


def test_nobody_there_is_an_error(tmp_path):
    with pytest.raises(AgentError, match="cannot be reached: No such file"):
        diagnostic_data(parse_address(f"unix://{tmp_path}/none"), TERMINATION_LOG, "box")
    for container in ("", "x" * 257):
        with pytest.raises(UsageError):
            diagnostic_data(parse_address(f"unix://{tmp_path}/none"), TERMINATION_LOG, container)


# the host's side of the termination message


SPEC = ContainerSpec(
    annotations={PATH_ANNOTATION: "/dev/termination-log", POLICY_ANNOTATION: "File"},
    mounts={"/dev/termination-log": "/var/lib/kubelet/pods/p/containers/c/0"},
)


@pytest.mark.parametrize(
    ("shared_fs", "annotations", "target"),
    [
        ("none", {}, "/var/lib/kubelet/pods/p/containers/c/0"),
        ("virtio-fs", {}, None),
        ("none", {POLICY_ANNOTATION: "FallbackToLogsOnError"}, None),
        ("none", {POLICY_ANNOTATION: ""}, None),
        ("none", {PATH_ANNOTATION: ""}, None),
        ("none", {PATH_ANNOTATION: "/elsewhere"}, None),
        ("none", {PATH_ANNOTATION: "/dev//termination-log"}, "/var/lib/kubelet/pods/p/containers/c/0"),
    ],
)
def test_a_message_is_fetched_only_where_nothing_is_shared_and_the_policy_is_file(shared_fs, annotations, target):
    spec = ContainerSpec(annotations={**SPEC.annotations, **annotations}, mounts=SPEC.mounts)
    assert message_target(spec, shared_fs=shared_fs) == target


def test_a_container_spec_is_read_from_an_oci_configuration(tmp_path):
    document = {
        "ociVersion": "1.1.0",
        "annotations": dict(SPEC.annotations),
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev/shm", "type": "tmpfs"},
            {"destination": "/dev/termination-log", "type": "bind", "source": "/var/lib/kubelet/pods/p/containers/c/0"},
        ],
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    assert load_container_spec(str(tmp_path / "config.json")).mounts["/dev/termination-log"].endswith("/c/0")
    (tmp_path / "config.json").write_text("{}")
    assert load_container_spec(str(tmp_path / "config.json")) == ContainerSpec(annotations={}, mounts={})
    (tmp_path / "config.json").write_text('{"annotations": 3}')
    with pytest.raises(BundleError):
        load_container_spec(str(tmp_path / "config.json"))


def test_a_message_is_written_to_the_very_file_that_was_mounted(tmp_path, agent):
    root = tmp_path / "root"
    target = root / "pods/c/0"
    target.parent.mkdir(parents=True)
    target.write_text("something much longer than the message\n")
    inode = target.stat().st_ino
    warned: list[str] = []
    with listening(tmp_path / "root/s", agent):
        address = parse_address("unix:///s")
        assert save_message(address, "box", "/pods/c/0", root=str(root), warn=warned.append)
        assert save_message(address, "box", "/pods/c/1", root=str(root), warn=warned.append)
    assert (target.read_text(), target.stat().st_ino, target.stat().st_mode & 0o777) == ("it ended badly\n", inode, 0o644)
    assert (root / "pods/c/1").read_text() == "it ended badly\n"
    assert warned == []


def test_whatever_goes_wrong_is_only_a_warning_and_leaves_the_file(tmp_path, agent):
    (tmp_path / "message").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "message")
    warned: list[str] = []
    with listening(tmp_path / "s", agent):
        for address, container, target in (
            (f"unix://{tmp_path}/s", "nobody", "message"),
            (f"unix://{tmp_path}/none", "box", "message"),
            (f"unix://{tmp_path}/s", "box", "missing/folder"),
            (f"unix://{tmp_path}/s", "box", "link"),
            (f"unix://{tmp_path}/s", "box", "s"),
        ):
            assert not save_message(parse_address(address), container, f"{tmp_path}/{target}", warn=warned.append)
    assert len(warned) == 5
    assert (tmp_path / "message").read_text() == "before"
