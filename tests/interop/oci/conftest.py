from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.functional.conftest import shared_store  # noqa: F401 - a fixture
from tests.support.bundles import sample_bundle
from tests.support.debian import running_server, unpacked_package


@pytest.fixture(scope="session")
def packages(request):
    return Path(request.config.cache.mkdir("debian-packages"))


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return sample_bundle(tmp_path_factory.mktemp("sample"))


@dataclass
class Skopeo:
    program: str
    policy: Path

    def __call__(self, *arguments: str | Path) -> bytes:
        done = subprocess.run([self.program, "--policy", self.policy, *arguments], capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory):
    program = shutil.which("skopeo")
    if program is None:
        pytest.skip("skopeo is not installed (apt-get install skopeo)")
    policy = tmp_path_factory.mktemp("skopeo") / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    return Skopeo(program, policy)


@pytest.fixture(scope="session")
def registry(packages, tmp_path_factory):
    """The address of a running Docker registry on the loopback interface."""
    program = unpacked_package(packages, "docker-registry", "docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": "127.0.0.1:0", "secret": "test"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    ready = rb"listening on (127\.0\.0\.1:\d+)"
    with running_server([program, "serve", folder / "config.yml"], folder / "log", ready) as found:
        yield found[1].decode()
