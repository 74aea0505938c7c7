from __future__ import annotations

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.record import replace
from kata_bundle.oci import Descriptor, mediatypes
from kata_bundle.oci.registry import Limits, RegistryClient, RegistrySettings, parse_reference
from tests.support.fakeregistry import FakeRegistry
from tests.support.httpserver import Server

QUICK = Limits(connect_s=5, send_s=5, answer_s=5, slow_s=5, tries=3)


def layer(data: bytes) -> Descriptor:
    return Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=digest_bytes(data), size_bytes=len(data))


@pytest.fixture
def home(tmp_path):
    """An environment in which nobody has logged in or configured anything."""
    folder = tmp_path / "home"
    folder.mkdir()
    return {"HOME": str(folder), "PATH": "/usr/bin:/bin", "KATA_BUNDLE_REGISTRY_HOSTS": str(folder / "certs.d")}


@pytest.fixture
def fake():
    """Make mock registries (see its docstring for why); all are closed at the end."""
    made: list[FakeRegistry] = []

    def make(**settings) -> FakeRegistry:
        made.append(FakeRegistry(**settings))
        return made[-1]

    yield make
    for registry in made:
        registry.close()


@pytest.fixture
def serve():
    """Run servers whose answers a test makes byte for byte."""
    made: list[Server] = []

    def make(handle, **settings) -> Server:
        made.append(Server(handle, **settings))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def client(home, pauses):
    """Make clients with short limits that note their pauses instead of waiting."""
    made: list[RegistryClient] = []

    def make(*, limits: Limits = QUICK, progress=None, **settings) -> RegistryClient:
        environment = {**home, **settings.pop("environment", {})}
        given = RegistrySettings(environment=environment, limits=limits, **settings)
        more = {} if progress is None else {"progress": progress}
        made.append(RegistryClient(given, pause=pauses.append, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def repository(client):
    """Make a repository object for a mock or scripted server."""

    def make(server, name="kata", **settings):
        target = settings.pop("target", ":v1")
        return client(**settings).repository(parse_reference(f"{server.host}/{name}{target}"))

    return make


def limits(**changes) -> Limits:
    return replace(QUICK, **changes)
