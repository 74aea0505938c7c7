"""The ttrpc client against the real thing: the server that every containerd has for its shims' events."""

from __future__ import annotations

import pytest

from kata_bundle.node.diagnostics.address import parse_address
from kata_bundle.node.diagnostics.agent import TERMINATION_LOG, diagnostic_data
from kata_bundle.node.diagnostics.errors import AgentError, AgentStatusError
from kata_bundle.node.diagnostics.transport import connect
from kata_bundle.node.diagnostics.ttrpc import MAX_DATA, call
from tests.fixtures.containerds import release  # noqa: F401 - a fixture

pytestmark = [pytest.mark.root, pytest.mark.node, pytest.mark.net, pytest.mark.interop]

EVENTS = "containerd.services.events.ttrpc.v1.Events"


def field(number: int, data: bytes) -> bytes:
    """Return a length-delimited field of a protocol buffer; everything here is shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(data)]) + data


def envelope(topic: bytes) -> bytes:
    """Return a request to forward an event: time, namespace, topic, and an event of a type that nobody knows."""
    event = field(1, b"example.test/Event") + field(2, b"")
    return field(1, field(1, b"\x08\x01") + field(2, b"default") + field(3, topic) + field(4, event))


@pytest.fixture
def address(release, tmp_path):  # noqa: F811
    (tmp_path / "host/etc/containerd").mkdir(parents=True)
    (tmp_path / "host/etc/containerd/config.toml").write_text("version = 2\n")
    with release.running(tmp_path / "host", tmp_path / "c") as daemon:
        yield parse_address(f"unix://{daemon.socket}.ttrpc")


def test_containerd_answers_calls_and_refuses_them_in_words(address):
    with connect(address, timeout_s=20) as connection:
        assert call(connection, EVENTS, "Forward", envelope(b"/test")) == b""
    with connect(address, timeout_s=20) as connection, pytest.raises(AgentStatusError) as refused:
        call(connection, EVENTS, "Forward", envelope(b"not a topic"))
    assert refused.value.code == "INVALID_ARGUMENT"
    for service, method in ((EVENTS, "Backward"), ("no.such.Service", "Forward")):
        with connect(address, timeout_s=20) as connection, pytest.raises(AgentStatusError) as refused:
            call(connection, service, method, b"")
        assert refused.value.code == "UNIMPLEMENTED"
    # It is no guest agent, and says so the way an agent without the call would.
    with pytest.raises(AgentStatusError, match="GetDiagnosticData was refused") as refused:
        diagnostic_data(address, TERMINATION_LOG, "box", timeout_s=20)
    assert refused.value.code == "UNIMPLEMENTED"


def test_a_frame_that_is_too_long_is_not_even_sent(address):
    with connect(address, timeout_s=20) as connection, pytest.raises(AgentError, match="does not fit a frame"):
        call(connection, EVENTS, "Forward", bytes(MAX_DATA))
