"""D-Bus to systemd without a systemd: a peer says what systemd would (installer specification §17)."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from jeepney.low_level import Endianness, Header, HeaderFields, MessageType
from jeepney.low_level import Message as Raw

from kata_bundle.core.errors import HostError
from kata_bundle.node.systemd import (
    Connection,
    DBusCallError,
    DBusSystemd,
    SystemctlSystemd,
    SystemdError,
    SystemdTimeoutError,
    SystemdUnavailableError,
    UnitError,
    job_succeeded,
    open_systemd,
    unit_name,
    wire,
)

JOB = "/org/freedesktop/systemd1/job/7"


def message(kind: MessageType, fields: dict, signature: str = "", body: tuple = (), serial: int = 1) -> bytes:
    if signature:
        fields = {**fields, HeaderFields.signature: signature}
    return Raw(Header(Endianness.little, kind, 0, 1, -1, serial, fields), body).serialise(serial)


def signal_bytes(member: str, signature: str = "", body: tuple = ()) -> bytes:
    fields = {HeaderFields.path: wire.MANAGER_PATH, HeaderFields.interface: wire.MANAGER_INTERFACE, HeaderFields.member: member}
    return message(MessageType.signal, fields, signature, body)


def job_removed(job: str = JOB, result: str = "done") -> bytes:
    return signal_bytes("JobRemoved", "uoss", (7, job, "containerd.service", result))


class Peer:
    """Answers calls from a table: member → list of frames, ``None`` for no answer."""

    def __init__(self, sock: socket.socket, answers) -> None:
        self.sock, self.answers, self.calls = sock, answers, []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        data = b""
        try:
            while True:
                while len(data) < 16 or len(data) < wire.frame_size(data[:16]):
                    more = self.sock.recv(4096)
                    if not more:
                        return
                    data += more
                size = wire.frame_size(data[:16])
                call, data = wire.decode(data[:size]), data[size:]
                self.calls.append(call)
                for answer in self.answers(call) or ():
                    self.sock.sendall(answer)
        except OSError:
            pass
        finally:
            self.sock.close()


def returns(call: wire.Message, signature: str = "", *body: object) -> bytes:
    return message(MessageType.method_return, {HeaderFields.reply_serial: call.serial}, signature, body)


def refuses(call: wire.Message, name: str, text: str) -> bytes:
    fields = {HeaderFields.reply_serial: call.serial, HeaderFields.error_name: name}
    return message(MessageType.error, fields, "s", (text,))


@contextmanager
def talking(answers, timeout_s: float = 5.0):
    ours, theirs = socket.socketpair()
    peer = Peer(theirs, answers)
    with Connection(ours, timeout_s=timeout_s) as connection:
        yield connection, peer
    peer.thread.join(5)


def systemd(answers, *, job_timeout_s: float = 5.0) -> tuple[DBusSystemd, list[wire.Message]]:
    calls: list[wire.Message] = []

    def connect() -> Connection:
        ours, theirs = socket.socketpair()
        peer = Peer(theirs, answers)
        peer.calls = calls
        return Connection(ours, timeout_s=5)

    return DBusSystemd(connect, job_timeout_s=job_timeout_s), calls


def manager(*, state: str = "active", result: str = "done", since: int = 1_700_000_000_000_000, before: bytes = b""):
    properties = {"ActiveState": ("s", state), "LoadState": ("s", "loaded"), "SubState": ("s", "running")}
    properties["ActiveEnterTimestamp"] = ("t", since)
    properties["Result"] = ("s", "exit-code")

    def answer(call: wire.Message):
        if call.member == "GetUnit":
            return [returns(call, "o", wire.MANAGER_PATH + "/unit/x")]
        if call.member == "Get":
            return [returns(call, "v", properties[call.body[1]])]
        if call.member in {"RestartUnit", "StopUnit"}:
            return [before, returns(call, "o", JOB), job_removed("/other", "failed"), job_removed(result=result)]
        if call.member == "Reload":
            return []
        if call.member == "GetDefaultTarget":
            return [returns(call, "s", "multi-user.target")]
        return [returns(call)]

    return answer


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("containerd", "containerd.service"),
        ("containerd.service", "containerd.service"),
        ("kata.socket", "kata.socket"),
        ("snap.microk8s.daemon-containerd", "snap.microk8s.daemon-containerd.service"),
        ("nydus-for-kata-tee-v1.2", "nydus-for-kata-tee-v1.2.service"),
        (".service", ".service.service"),
    ],
)
def test_only_a_unit_type_keeps_a_name_from_becoming_a_service(name, unit):
    assert unit_name(name) == unit


def test_a_call_is_marshalled_as_the_manager_expects_it():
    data = wire.encode_call("EnableUnitFiles", (["x.service"], False, True), signature="asbb", serial=9)
    call = wire.decode(data)
    assert (call.kind, call.member, call.signature, call.serial, call.flags) == ("method_call", "EnableUnitFiles", "asbb", 9, 0)
    assert (call.path, call.interface, call.destination) == (wire.MANAGER_PATH, wire.MANAGER_INTERFACE, wire.MANAGER_NAME)
    assert call.body == (["x.service"], False, True)
    assert wire.frame_size(data[:16]) == len(data)


def test_arguments_that_do_not_fit_the_signature_are_an_error():
    with pytest.raises(SystemdError, match="StopUnit"):
        wire.encode_call("StopUnit", (1, 2), signature="ss", serial=1)


@pytest.mark.parametrize(
    "prefix",
    [b"x" * 16, b"HTTP/1.1 400 Bad", b"l\1\0\1" + (128 << 20).to_bytes(4, "little") + b"\1\0\0\0" + b"\xff\0\0\0", b"\0" * 16],
)
def test_what_is_no_message_or_too_large_is_refused_before_it_is_read(prefix):
    with pytest.raises(SystemdError):
        wire.frame_size(prefix)


def test_big_endian_peers_are_understood():
    fields = {HeaderFields.path: "/", HeaderFields.interface: "a.b", HeaderFields.member: "M", HeaderFields.signature: "s"}
    data = Raw(Header(Endianness.big, MessageType.signal, 0, 1, -1, 3, fields), ("x",)).serialise(3)
    assert wire.frame_size(data[:16]) == len(data)
    assert wire.decode(data).body == ("x",)


@pytest.mark.parametrize("damage", [b"l\2\0\1\4\0\0\0\1\0\0\0\0\0\0\0abc", b"l\x09\0\1\0\0\0\0\1\0\0\0\0\0\0\0"])
def test_malformed_messages_are_an_error_not_a_crash(damage):
    with pytest.raises(SystemdError, match="malformed"):
        wire.decode(damage)


def test_signals_that_come_before_a_reply_are_kept():
    with talking(lambda call: [job_removed(), returns(call, "o", JOB)]) as (connection, _):
        assert connection.call("RestartUnit", ("x", "replace"), "ss") == (JOB,)
        assert connection.wait_signal("JobRemoved", deadline_s=0.01)[1] == JOB


def test_at_most_sixty_four_signals_are_kept_the_newest():
    frames = [signal_bytes("JobRemoved", "uoss", (n, JOB, "x", "done")) for n in range(100)]
    with talking(lambda call: [*frames, returns(call)]) as (connection, _):
        connection.call("Subscribe")
        got = [connection.wait_signal("JobRemoved", deadline_s=0.05)[0]]
        assert got == [36]


def test_waiting_for_one_signal_keeps_the_others():
    with talking(lambda call: [signal_bytes("UnitNew"), signal_bytes("Reloading"), job_removed(), returns(call)]) as (
        connection,
        _,
    ):
        connection.call("Subscribe")
        connection.wait_signal("JobRemoved", deadline_s=1)
        connection.wait_signal("UnitNew", deadline_s=0.01)
        connection.wait_signal("Reloading", deadline_s=0.01)


def test_a_signal_wait_outlives_read_time_outs_until_its_own_deadline():
    ours, theirs = socket.socketpair()
    with theirs, Connection(ours, timeout_s=0.05) as connection:
        data = job_removed()
        timers = [threading.Timer(0.15, theirs.sendall, [data[:20]]), threading.Timer(0.3, theirs.sendall, [data[20:]])]
        for timer in timers:
            timer.start()
        assert connection.wait_signal("JobRemoved", deadline_s=5)[1] == JOB


def test_a_signal_that_never_comes_is_a_time_out_that_names_it():
    ours, theirs = socket.socketpair()
    start = time.monotonic()
    with theirs, Connection(ours) as connection, pytest.raises(SystemdTimeoutError, match="JobRemoved") as caught:
        connection.wait_signal("JobRemoved", deadline_s=0.1)
    assert 0.09 < time.monotonic() - start < 2
    assert caught.value.retryable


def test_a_reply_that_never_comes_is_a_time_out():
    with talking(lambda call: None, timeout_s=0.1) as (connection, _), pytest.raises(SystemdTimeoutError, match="GetUnit"):
        connection.call("GetUnit", ("x",), "s")


def test_replies_to_other_calls_are_passed_over():
    def answer(call):
        return [message(MessageType.method_return, {HeaderFields.reply_serial: 999}), returns(call, "s", "right")]

    with talking(answer) as (connection, _):
        assert connection.call("GetDefaultTarget") == ("right",)


def test_an_error_reply_carries_its_name():
    with talking(lambda call: [refuses(call, "a.b.Denied", "no")]) as (connection, _):
        with pytest.raises(DBusCallError, match=r"Reexecute.*no") as caught:
            connection.call("Reexecute")
        assert caught.value.name == "a.b.Denied"


def test_a_connection_that_closes_is_an_error():
    ours, theirs = socket.socketpair()
    theirs.close()
    with Connection(ours) as connection, pytest.raises(SystemdError):
        connection.call("Subscribe")


def test_restart_waits_for_its_own_job_and_looks_at_the_unit_afterwards():
    client, calls = systemd(manager(before=job_removed()))
    client.restart("containerd")
    assert [call.member for call in calls][:2] == ["Subscribe", "RestartUnit"]
    assert calls[1].body == ("containerd.service", "replace")
    assert calls[1].signature == "ss"


@pytest.mark.parametrize("result", ["failed", "timeout", "canceled", "dependency", "assert", ""])
def test_any_other_end_of_a_job_is_an_error(result):
    client, _ = systemd(manager(result=result))
    with pytest.raises(UnitError, match=r"containerd\.service"):
        client.restart("containerd")


def test_a_unit_that_was_only_started_too_often_is_started_all_the_same():
    results = iter(["failed", "done"])
    plain = manager()

    def answer(call: wire.Message):
        if call.member == "RestartUnit":
            return [returns(call, "o", JOB), job_removed(result=next(results))]
        if call.member == "Get" and call.body[1] == "Result":
            assert call.body[0] == "org.freedesktop.systemd1.Service"
            return [returns(call, "v", ("s", "start-limit-hit"))]
        return plain(call)

    client, calls = systemd(answer)
    client.restart("containerd")
    assert [call.member for call in calls if call.member in {"RestartUnit", "ResetFailedUnit"}] == [
        "RestartUnit",
        "ResetFailedUnit",
        "RestartUnit",
    ]


def test_a_skipped_job_is_a_success():
    assert job_succeeded("skipped")
    client, _ = systemd(manager(result="skipped"))
    client.restart("containerd")


def test_a_unit_that_is_failed_after_its_restart_is_an_error():
    client, _ = systemd(manager(state="failed"))
    with pytest.raises(UnitError, match="failed after its restart"):
        client.restart("containerd")
    client.stop("containerd")


def test_reload_wants_no_reply():
    client, calls = systemd(manager())
    client.daemon_reload()
    assert (calls[0].member, calls[0].flags, calls[0].signature) == ("Reload", 1, "")


def test_enable_and_disable_have_their_signatures():
    client, calls = systemd(manager())
    client.enable("nydus-for-kata-tee")
    client.disable("nydus-for-kata-tee", now=True)
    seen = {call.member: (call.signature, call.body) for call in calls}
    assert seen["EnableUnitFiles"] == ("asbb", (["nydus-for-kata-tee.service"], False, False))
    assert seen["DisableUnitFiles"] == ("asb", (["nydus-for-kata-tee.service"], False))
    assert [call.member for call in calls if call.member in {"StopUnit", "DisableUnitFiles"}] == ["StopUnit", "DisableUnitFiles"]


def test_a_unit_state_has_its_times_in_microseconds():
    state = systemd(manager())[0].unit_state("containerd")
    assert (state.is_active, state.active_since_us, state.load_state) == (True, 1_700_000_000_000_000, "loaded")
    state = systemd(manager(state="activating", since=0))[0].unit_state("containerd")
    assert (state.is_active, state.active_since_us) == (False, None)


def test_an_unknown_unit_is_an_answer_and_another_error_is_none():
    unknown = "org.freedesktop.systemd1.NoSuchUnit"
    state = systemd(lambda call: [refuses(call, unknown, "not loaded")])[0].unit_state("k3s")
    assert (state.is_active, state.load_state) == (False, "not-found")
    with pytest.raises(DBusCallError):
        systemd(lambda call: [refuses(call, "org.freedesktop.DBus.Error.AccessDenied", "no")])[0].unit_state("k3s")

    def answer(call):
        return [refuses(call, unknown, "not loaded")] if call.member == "StopUnit" else [returns(call)]

    systemd(answer)[0].stop("gone")


@pytest.mark.parametrize("reply", [("", ()), ("u", (1,))])
def test_nonsense_replies_are_errors(reply):
    with pytest.raises(SystemdError):
        systemd(lambda call: [returns(call, reply[0], *reply[1])])[0].unit_state("x")


@contextmanager
def listening(path, serve):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)

        def run():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                serve(client)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_the_greeting_is_external_with_the_hex_of_the_decimal_uid(tmp_path):
    heard = []

    def serve(client):
        line = client.recv(100)
        heard.append(line)
        client.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
        time.sleep(0.05)
        heard.append(client.recv(100))
        client.close()

    start = time.monotonic()
    with listening(tmp_path / "private", serve), Connection.open(str(tmp_path / "private"), timeout_s=5):
        # Nothing may follow BEGIN before the peer has read it.
        assert time.monotonic() - start >= 0.05
    for _ in range(100):
        if len(heard) == 2:
            break
        time.sleep(0.01)
    assert heard == [b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n", b"BEGIN\r\n"]


@pytest.mark.parametrize("answer", [b"REJECTED EXTERNAL\r\n", b"x" * 9000])
def test_a_refused_greeting_means_unavailable(tmp_path, answer):
    def serve(client):
        with client:
            client.recv(100)
            client.sendall(answer)

    with listening(tmp_path / "private", serve), pytest.raises(SystemdUnavailableError, match="greeting"):
        Connection.open(str(tmp_path / "private"), timeout_s=5)


def test_a_peer_that_never_answers_is_a_time_out(tmp_path):
    start = time.monotonic()
    kept = []
    with listening(tmp_path / "private", kept.append), pytest.raises(SystemdTimeoutError):
        Connection.open(str(tmp_path / "private"), timeout_s=0.2)
    assert time.monotonic() - start < 2
    for client in kept:
        client.close()


def test_no_systemd_at_all_is_an_error_that_names_every_way_tried(tmp_path):
    with pytest.raises(SystemdUnavailableError) as caught:
        open_systemd(str(tmp_path))
    assert isinstance(caught.value, HostError)
    assert "/run/systemd/private" in str(caught.value)
    assert "/run/dbus/system_bus_socket" in str(caught.value)
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/private").write_text("no socket")
    with pytest.raises(SystemdUnavailableError, match="is no socket"):
        open_systemd(str(tmp_path))


SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$0.log"
case "$*" in
  *show*Result*often*) echo start-limit-hit ;;
  *show*gone*) printf 'LoadState=not-found\\nActiveState=inactive\\nSubState=dead\\nActiveEnterTimestampMonotonic=0\\n' ;;
  *show*mute*) echo ;;
  *show*flop*) printf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\nActiveEnterTimestampMonotonic=5\\n' ;;
  *show*) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\nActiveEnterTimestampMonotonic=1000000\\n' ;;
  *reset-failed*often*) touch "$0.reset" ;;
  *restart*often*) [ -e "$0.reset" ] || { echo "start of often.service repeated too quickly" >&2; exit 1; } ;;
  *refused*) echo "Job for refused.service failed." >&2; exit 1 ;;
  *slow*) sleep 5 ;;
esac
"""


@pytest.fixture
def systemctl(tmp_path):
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    return program


def test_the_program_answers_like_the_bus(systemctl):
    client = SystemctlSystemd(str(systemctl), job_timeout_s=0.3)
    state = client.unit_state("containerd")
    boot_us = (time.time() - time.monotonic()) * 1e6
    assert state.is_active
    assert abs(state.active_since_us - (boot_us + 1_000_000)) < 1_000_000
    gone = client.unit_state("gone")
    assert (gone.load_state, gone.is_active, gone.active_since_us) == ("not-found", False, None)
    client.restart("containerd")
    client.stop("gone")
    client.enable("x")
    client.disable("x", now=True)
    client.daemon_reload()
    log = [
        line.removeprefix("--no-pager --no-ask-password ")
        for line in (systemctl.parent / "systemctl.log").read_text().splitlines()
    ]
    assert "restart -- containerd.service" in log
    assert "stop -- gone.service" not in log
    assert "stop -- x.service" in log
    assert "disable --quiet -- x.service" in log
    assert "daemon-reload" in log
    client.restart("often")
    with pytest.raises(UnitError, match="Job for refused"):
        client.restart("refused")
    with pytest.raises(UnitError, match="failed after its restart"):
        client.restart("flop")
    with pytest.raises(SystemdUnavailableError, match="did not end"):
        client.restart("slow")
    with pytest.raises(SystemdError, match="does not say"):
        client.unit_state("mute")


def test_a_program_that_cannot_ask_is_an_error_not_an_inactive_unit(tmp_path):
    broken = tmp_path / "systemctl"
    broken.write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SystemdUnavailableError, match="not been booted"):
        SystemctlSystemd(str(broken)).unit_state("containerd")
    with pytest.raises(SystemdUnavailableError, match="not installed"):
        SystemctlSystemd(str(tmp_path / "absent")).unit_state("containerd")


def test_a_connection_that_has_signals_already_can_run_another_job():
    plain = manager()

    def answers(call: wire.Message):
        if call.member == "Subscribe":
            return [refuses(call, "org.freedesktop.systemd1.AlreadySubscribed", "Client is already subscribed.")]
        return plain(call)

    client, calls = systemd(answers)
    client.restart("containerd.service")
    assert "RestartUnit" in [call.member for call in calls]


def test_another_refusal_of_signals_is_an_error():
    client, _ = systemd(lambda call: [refuses(call, "org.freedesktop.DBus.Error.AccessDenied", "no")])
    with pytest.raises(SystemdError, match="refused Subscribe"):
        client.restart("containerd.service")
