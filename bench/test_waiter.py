"""What an installed node keeps in memory for weeks: the waiter's resident and private memory, and how fast it answers a probe."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from kata_bundle.node import waiter
from kata_bundle.node.health import bind
from kata_bundle.node.termination import _waiter_file


def test_an_idle_waiter_and_a_probe(benchmark):
    with bind(0) as listener:
        port = listener.getsockname()[1]
        listener.set_inheritable(True)
        environment = {waiter.RUNTIME_VARIABLE: "containerd", waiter.FD_VARIABLE: str(listener.fileno())}
        argv = [sys.executable, "-I", "-S", _waiter_file(), waiter.ACTION, "--", "/bin/true"]
        process = subprocess.Popen(argv, env=environment, pass_fds=[listener.fileno()])

        def probe() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
                return client.recv(4096)

        try:
            assert b"200 OK" in benchmark(probe)
            time.sleep(0.05)
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
            kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
            benchmark.extra_info["rss_mib"] = round(kib["Rss"] / 1024, 2)
            benchmark.extra_info["private_mib"] = round(kib["Private_Dirty"] / 1024, 2)
            benchmark.extra_info["threads"] = len(os.listdir(f"/proc/{process.pid}/task"))
            assert kib["Rss"] <= 9 * 1024
            assert kib["Private_Dirty"] <= 3 * 1024
            assert benchmark.extra_info["threads"] == 1
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
