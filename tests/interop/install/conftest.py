from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kata_bundle.oci import Layout
from kata_bundle.oci.registry import RegistryClient, RegistrySettings, parse_reference
from kata_bundle.oci.registry.transfer import copy_from_layout
from tests.fixtures.tcpproxy import Proxy
from tests.support.debian import unpacked_package
from tests.support.framed import framed_bundle

MIB = 1 << 20


@dataclass
class Server:
    """A docker-registry that can be killed and started again on its data."""

    program: Path
    folder: Path
    address: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": self.address, "secret": "test"},
        }
        (self.folder / "config.yml").write_text(json.dumps(config))
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([self.program, "serve", self.folder / "config.yml"], stdout=log, stderr=log)
        log.close()
        host, _, port = self.address.rpartition(":")
        for _ in range(200):
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def server(request, tmp_path_factory):
    program = unpacked_package(Path(request.config.cache.mkdir("debian-packages")), "docker-registry", "docker-registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    made = Server(program, tmp_path_factory.mktemp("registry"), address)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def proxy(server):
    if server.process is None:
        server.start()
    with Proxy(server.address) as found:
        yield found


def content(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


SHIMS = {"qemu": ("kernel", "rootfs-image", "shim-v2-go"), "clh": ("cloud-hypervisor", "shim-v2-go")}
CONFIG = "share/defaults/kata-containers"


def parts(version: str) -> dict[str, dict[str, bytes]]:
    """A release: between two of them a small and one of several large files change."""
    return {
        "kernel": {
            "share/kata-containers/vmlinux": content("kernel", 3 * MIB),
            "share/kata-containers/vmlinuz": content(f"vmlinuz {version}", 2 * MIB),
        },
        "rootfs-image": {"share/kata-containers/kata.img": content("image", 5 * MIB)},
        "shim-v2-go": {
            "bin/containerd-shim-kata-v2": content("shim", 3 * MIB),
            "bin/kata-runtime": content(f"runtime {version}", MIB),
            f"{CONFIG}/configuration-qemu.toml": b"[hypervisor.qemu]\n# %b\n" % version.encode(),
        },
        "cloud-hypervisor": {"bin/cloud-hypervisor": content("clh", 4 * MIB)},
    }


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "v1": framed_bundle(folder / "v1", SHIMS, parts("1")),
        "v2": framed_bundle(folder / "v2", SHIMS, parts("2")),
        "plain": framed_bundle(folder / "plain", SHIMS, parts("1"), framed=False),
    }


@pytest.fixture(scope="session")
def pushed(server, bundles):
    """Tag → digest of what the registry has."""
    found = {}
    with RegistryClient(RegistrySettings(environment={})) as client:
        for tag, folder in bundles.items():
            repository = client.repository(parse_reference(f"{server.address}/kata/bundle:{tag}"))
            copy_from_layout(Layout.open(folder), repository, tags=(tag,), jobs=2)
            found[tag] = repository.resolve(tag).digest
    return found
