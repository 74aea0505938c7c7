"""The hand-over to the waiter and the waiter itself (installer specification §24.3, D19), in real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from kata_bundle.core.errors import InstallError, UsageError
from kata_bundle.node import waiter
from kata_bundle.node.health import bind
from kata_bundle.node.termination import Termination, hand_over, handed_over_listener, write_termination_message

RUNTIME = {waiter.RUNTIME_VARIABLE: "k3s-agent"}

CLEANUP = """
import os, signal
blocked = signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, set())
print("cleaned", os.environ["KATA_DEPLOY_DETECTED_RUNTIME"], "fd" if os.environ["KATA_DEPLOY_HEALTH_FD"] else "", blocked)
"""

INSTALLER = """
    import os, sys, time
    from kata_bundle.node.termination import Termination, hand_over
    from kata_bundle.node.health import HealthServer, HealthState, bind
    termination = Termination()
    state = HealthState()
    listener = bind(0)
    server = HealthServer(state, listener)
    print(server.port, flush=True)
    state.enter("artifacts")
    if termination.wait(WORK_S):
        print("interrupted", flush=True)
        sys.exit(0)
    state.set_ready()
    metrics = server.metrics()
    descriptor = server.detach()
    time.sleep(GAP_S)
    hand_over(runtime="containerd", listener=descriptor, metrics=metrics, then=[sys.executable, "-c", CLEANUP])
"""


def start_installer(*, work_s: float = 0.0, gap_s: float = 0.0) -> tuple[subprocess.Popen[str], int]:
    code = (
        textwrap.dedent(INSTALLER).replace("WORK_S", str(work_s)).replace("GAP_S", str(gap_s)).replace("CLEANUP", repr(CLEANUP))
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def get(port: int, path: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        answer = b""
        while data := client.recv(4096):
            answer += data
    return answer.decode()


def is_waiter(pid: int) -> bool:
    return waiter.ACTION.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def until_waiter(pid: int) -> None:
    for _ in range(1000):
        if is_waiter(pid):
            return
        time.sleep(0.005)
    pytest.fail("the installer did not become the waiter")


def test_the_waiter_serves_ready_waits_for_sigterm_and_becomes_the_cleanup():
    process, port = start_installer()
    until_waiter(process.pid)
    assert "200 OK" in get(port, "/readyz")
    metrics = get(port, "/metrics")
    assert "kata_bundle_ready 1" in metrics
    assert metrics.endswith("# EOF\n")
    process.terminate()
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert output == "cleaned containerd fd True\n", "SIGTERM stays blocked: a second one must not kill the cleanup"


def test_no_probe_fails_through_install_and_hand_over():
    process, port = start_installer(work_s=0.2, gap_s=0.1)
    results: list[str] = []
    stop = threading.Event()

    def probe():
        while not stop.is_set():
            try:
                results.append(get(port, "/healthz").split("\r\n", 1)[0])
            except OSError as error:
                results.append(repr(error))
            time.sleep(0.01)

    thread = threading.Thread(target=probe)
    thread.start()
    until_waiter(process.pid)
    time.sleep(0.2)
    stop.set()
    thread.join()
    process.kill()
    process.communicate()
    assert len(results) > 10
    assert set(results) == {"HTTP/1.1 200 OK"}


@pytest.mark.parametrize("moment", range(20))
def test_sigterm_at_any_moment_leads_to_cleanup_or_to_an_interrupted_install(moment):
    process, _ = start_installer(work_s=0.02, gap_s=0.01)
    time.sleep(moment * 0.006)
    process.terminate()
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert output.startswith(("interrupted", "cleaned containerd"))


@pytest.mark.root
@pytest.mark.parametrize("moment", range(8))
def test_the_first_process_of_a_container_loses_no_sigterm(moment):
    if os.geteuid() != 0:
        pytest.skip("a process namespace needs root")
    code = textwrap.dedent(INSTALLER).replace("WORK_S", "0.02").replace("GAP_S", "0.01").replace("CLEANUP", repr(CLEANUP))
    argv = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", code]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if not process.stdout.readline():
        process.wait()
        pytest.skip(f"process namespaces cannot be made here: {process.stderr.read()}")
    first = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    time.sleep(moment * 0.012)
    os.kill(first, signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert output.startswith(("interrupted", "cleaned containerd"))


def block_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def run_waiter(arguments: list[str], environment: dict[str, str], **more) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", waiter.__file__, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=False, **more)


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([waiter.ACTION, "--", "/bin/true"], {}, waiter.RUNTIME_VARIABLE),
        ([waiter.ACTION, "--", "/bin/true"], {waiter.RUNTIME_VARIABLE: ""}, waiter.RUNTIME_VARIABLE),
        ([waiter.ACTION, "--", "/bin/true"], {**RUNTIME, waiter.FD_VARIABLE: "seven"}, "seven"),
        ([waiter.ACTION, "--", "/bin/true"], {**RUNTIME, waiter.FD_VARIABLE: "-1"}, "-1"),
        ([waiter.ACTION, "--", "/bin/true"], {**RUNTIME, waiter.FD_VARIABLE: "99"}, "99"),
        ([waiter.ACTION, "--", "/bin/true"], {**RUNTIME, waiter.FD_VARIABLE: "9" * 40}, "no open socket"),
        ([waiter.ACTION, "--", "/bin/true"], {**RUNTIME, waiter.FD_VARIABLE: "0"}, "no open socket"),
        ([waiter.ACTION, "--"], RUNTIME, "usage"),
        (["install"], RUNTIME, "usage"),
    ],
)
def test_a_bad_hand_over_is_an_error_at_once(arguments, environment, said):
    done = run_waiter(arguments, environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("text", [None, ""])
def test_without_a_socket_the_waiter_warns_and_still_waits(text):
    environment = RUNTIME if text is None else {**RUNTIME, waiter.FD_VARIABLE: text}
    command = [sys.executable, "-I", "-S", waiter.__file__, waiter.ACTION, "--", "/bin/echo", "cleaned"]
    # Blocked beforehand, as the installer does: the signal below may come before the waiter is ready for it.
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=block_sigterm,  # noqa: PLW1509 - one thread here
    )
    process.terminate()
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (0, "cleaned\n")
    assert "warning" in errors


def test_a_cleanup_command_that_cannot_run_is_an_error():
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            'kill -TERM $$; exec "$@"',
            "sh",
            sys.executable,
            "-I",
            "-S",
            waiter.__file__,
            waiter.ACTION,
            "--",
            "/no",
        ],
        env=RUNTIME,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        preexec_fn=block_sigterm,
    )
    assert done.returncode == 1
    assert "/no: No such file or directory" in done.stderr


def test_the_waiter_imports_no_python_module_beyond_the_interpreters_own_start():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); b = set(sys.modules); import waiter; print(sorted(set(sys.modules) - b))"
    )
    folder = str(Path(waiter.__file__).parent)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, folder], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.replace("'", '"'))
    assert set(loaded) <= {"__future__", "_signal", "_socket", "errno", "posix", "select", "time", "waiter"}


def memory_kib(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def test_the_idle_waiter_stays_within_nine_mebibytes_of_which_three_are_its_own():
    process, port = start_installer()
    try:
        until_waiter(process.pid)
        for _ in range(50):
            get(port, "/readyz")
        memory = memory_kib(process.pid)
        assert memory["Rss"] <= 9 * 1024
        assert memory["Private_Dirty"] <= 3 * 1024
    finally:
        process.kill()
        process.communicate()


def test_a_failed_exec_is_an_error_and_the_socket_stays_private(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with bind(0) as listener:
        with pytest.raises(InstallError, match="/no/such/python"):
            hand_over(runtime="crio", listener=listener.fileno(), metrics="", then=["/bin/true"])
        assert not os.get_inheritable(listener.fileno())


def test_a_listener_is_taken_over_once_it_is_a_socket():
    with bind(0) as listener:
        listener.set_inheritable(True)
        assert handed_over_listener({waiter.FD_VARIABLE: str(listener.fileno())}) == listener.fileno()
        assert not os.get_inheritable(listener.fileno())
    assert handed_over_listener({}) is None
    assert handed_over_listener({waiter.FD_VARIABLE: ""}) is None
    for text in ("x", "-3", "0", "12345", "9" * 30):
        with pytest.raises(UsageError, match="no open socket"):
            handed_over_listener({waiter.FD_VARIABLE: text})


def in_child(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pending_sigterm_is_seen_without_being_used_up():
    assert (
        in_child(
            """
        import os, signal
        from kata_bundle.node.termination import Termination
        termination = Termination()
        print(termination.requested, termination.wait(0.01), end=" ")
        os.kill(os.getpid(), signal.SIGTERM)
        print(termination.requested, termination.requested, signal.SIGTERM in signal.sigpending(), end=" ")
        print(termination.wait(60), termination.requested, termination.wait(60))
        """
        )
        == "False False True True True True True True\n"
    )


def test_threads_must_not_exist_before_sigterm_is_blocked():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError):
            Termination()
    finally:
        stop.set()
        thread.join()


def test_the_termination_message_is_the_end_of_the_text_and_made_only_where_a_pod_has_one(tmp_path):
    path = tmp_path / "termination-log"
    assert not write_termination_message("reason", str(path))
    path.write_text("old")
    assert write_termination_message("reason", str(path))
    assert path.read_text() == "reason"
    assert write_termination_message("é" * 5000 + "the end", str(path))
    data = path.read_bytes()
    assert len(data) <= 4096
    assert data.decode().endswith("éthe end")
    assert not write_termination_message("reason", str(tmp_path))
