"""BuildGrid as cache: another server, with a name for its instance and a limit for batches. Its 200 MB run on demand."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from kata_bundle.build.remote import Guarded, open_cache
from kata_bundle.build.workshop import Workshop
from tests.fixtures.cli import CACHE
from tests.interop.reapi.conftest import free_port, wait_for
from tests.support.debian import running_server

pytestmark = [pytest.mark.interop, pytest.mark.slow]

_RELEASE = "buildgrid==0.4.4"
_CONFIG = """\
server:
  - !channel
    address: 127.0.0.1:{port}
    insecure-mode: true
instances:
  - name: main
    storages:
      - !disk-storage &cas
        path: {folder}
    caches:
      - !lru-action-cache &actions
        storage: *cas
        max-cached-refs: 256
        allow-updates: true
    services:
      - !cas
        storage: *cas
      - !bytestream
        storage: *cas
      - !action-cache
        cache: *actions
"""


@pytest.fixture(scope="session")
def bgd() -> Path:
    place = CACHE / _RELEASE
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            steps = ([sys.executable, "-m", "venv", "--clear", place / "venv"],
                     [place / "venv/bin/python", "-m", "pip", "install", "--quiet", _RELEASE])  # fmt: skip
            for step in steps:
                done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=900)
                if done.returncode:
                    pytest.skip(f"{_RELEASE} cannot be installed: {done.stderr.strip()[-200:]}")
            (place / "done").touch()
    return place / "venv/bin/bgd"


@pytest.fixture
def buildgrid(bgd, tmp_path) -> str:
    port = free_port()
    (tmp_path / "cas").mkdir()
    (tmp_path / "config.yml").write_text(_CONFIG.format(port=port, folder=tmp_path / "cas"))
    with running_server([bgd, "server", "start", tmp_path / "config.yml"], tmp_path / "log", rb"Starting BuildGrid server"):
        assert wait_for(port), (tmp_path / "log").read_text(errors="replace")
        yield f"grpc://127.0.0.1:{port}"


def test_the_second_machine_makes_nothing(buildgrid, store, other, shell, sandbox):
    def run(one, action, **more):
        cache = Guarded(open_cache(buildgrid, instance="main"))
        return Workshop(caches=(cache,), **more).run(one, action, memory_mib=None, is_cancelled=lambda: False)

    action = shell(
        "mkdir -p out/empty; seq 1 900000 > out/large; for n in $(seq 1 50); do echo $n > out/$n; done; : > out/nothing; "
        "cat /proc/sys/kernel/random/uuid > out/id"
    )
    made = run(store, action)
    found = run(other, action, is_remote_only=True)
    assert found.outputs == made.outputs
    assert not other.missing_files(found.outputs)
