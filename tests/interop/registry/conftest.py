"""Real registries on the loopback interface, and other people's clients to compare with."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kata_bundle.oci.registry import Limits, RegistryClient, RegistrySettings, parse_reference
from tests.fixtures.suites import package_tree
from tests.support.bundles import sample_bundle
from tests.support.debian import running_server, unpacked_package

QUICK = Limits(connect_s=10, answer_s=30, slow_s=30, tries=6)
USER, PASSWORD = "kata", "hunter22"
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuZ6QNu0NKXZkZHC5hsQUItfxcGamvB8i\n"
"""Hash of the password above (bcrypt, the only kind that docker-registry takes)."""


@dataclass
class DockerRegistry:
    """A docker-registry that can be killed and started again on its data and address."""

    program: Path
    folder: Path
    settings: dict[str, object]
    address: str = "127.0.0.1:0"
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        http = {"addr": self.address, "secret": "test", **self.settings.get("http", {})}  # type: ignore[dict-item]
        storage = {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}}
        config = {"version": 0.1, "storage": storage, **self.settings, "http": http}
        (self.folder / "config.yml").write_text(json.dumps(config))
        log = self.folder / "log"
        with log.open("wb") as sink:
            self.process = subprocess.Popen([self.program, "serve", self.folder / "config.yml"], stdout=sink, stderr=sink)
        end = time.monotonic() + 60
        while (found := re.search(rb"listening on (127\.0\.0\.1:\d+)", log.read_bytes())) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"docker-registry did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.02)
        self.address = found[1].decode()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def docker_registry(request, tmp_path_factory) -> Callable[..., DockerRegistry]:
    """Start docker-registries with further settings; all are ended with the session."""
    program = unpacked_package(Path(request.config.cache.mkdir("debian-packages")), "docker-registry", "docker-registry")
    with ExitStack() as stack:

        def start(**settings: object) -> DockerRegistry:
            made = DockerRegistry(program, tmp_path_factory.mktemp("registry"), settings)
            made.start()
            stack.callback(made.kill)
            return made

        yield start


@pytest.fixture(scope="session")
def registry(docker_registry) -> DockerRegistry:
    return docker_registry()


@pytest.fixture(scope="session")
def crane() -> Path:
    return package_tree("sid", "crane") / "usr/bin/crane"


@pytest.fixture(scope="session")
def crane_registry(crane, tmp_path_factory) -> str:
    """The address of the registry that crane has built in: a second implementation, strict about ranges of uploads."""
    folder = tmp_path_factory.mktemp("crane")
    (folder / "data").mkdir()
    argv = [crane, "registry", "serve", "--address", "127.0.0.1:0", "--disk", folder / "data"]
    with running_server(argv, folder / "log", rb"serving on port (\d+)") as found:
        yield f"127.0.0.1:{found[1].decode()}"


@pytest.fixture(scope="session")
def oras() -> Path:
    return package_tree("sid", "oras") / "usr/bin/oras"


@dataclass
class Skopeo:
    policy: Path

    def __call__(self, *arguments: str | Path) -> bytes:
        return run("skopeo", "--policy", self.policy, *arguments)


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory) -> Skopeo:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed (apt-get install skopeo)")
    policy = tmp_path_factory.mktemp("skopeo") / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    return Skopeo(policy)


def run(*argv: str | Path, **environment: str) -> bytes:
    import os

    done = subprocess.run(argv, capture_output=True, check=False, timeout=120, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return sample_bundle(tmp_path_factory.mktemp("sample"))


@pytest.fixture
def client(tmp_path):
    """Make clients that know only what a test gives them."""
    made: list[RegistryClient] = []

    def make(*, limits: Limits = QUICK, environment: dict[str, str] | None = None, **settings) -> RegistryClient:
        given = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **(environment or {})}
        made.append(RegistryClient(RegistrySettings(environment=given, limits=limits, hosts_folders=(), **settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def repository(client):
    def make(address: str, name: str, **settings):
        return client(**settings).repository(parse_reference(f"{address}/{name}"))

    return make


@pytest.fixture
def auth_file(tmp_path):
    def make(address: str, user: str = USER, password: str = PASSWORD) -> Path:
        path = tmp_path / "config.json"
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        path.write_text(json.dumps({"auths": {address: {"auth": auth}}}))
        return path

    return make


@dataclass
class Certificates:
    """A root of our own, and what it signed."""

    folder: Path

    def make(self, name: str, *, server: bool) -> tuple[Path, Path]:
        """Return certificate and key."""
        key, request, certificate = (self.folder / f"{name}.{ending}" for ending in ("key", "csr", "crt"))
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request)  # fmt: skip
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n" if server else "extendedKeyUsage=clientAuth\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.folder / "root.key", "-CAcreateserial",
            "-days", "2", "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key

    @property
    def root(self) -> Path:
        return self.folder / "root.crt"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt-get install openssl)")
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test root",
        "-keyout", made.folder / "root.key", "-out", made.root)  # fmt: skip
    return made
