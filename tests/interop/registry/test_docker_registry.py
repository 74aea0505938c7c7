"""Push, list, pull, copy and remove with a real docker-registry: whole, interrupted, throttled, and with logins and TLS."""

from __future__ import annotations

import base64
import io
import json
import random
import threading
import time
from pathlib import Path

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.oci import Descriptor, Layout, mediatypes, open_bundle, verify_layout
from kata_bundle.oci.registry import DeniedError, Limits, RegistryError, RegistryStatusError, UnreachableError, open_remote_bundle
from kata_bundle.oci.registry.listing import list_tags
from kata_bundle.oci.registry.pull import pull_bundle
from kata_bundle.oci.registry.removal import plan_removal, remove
from kata_bundle.oci.registry.transfer import copy_between, copy_from_layout
from tests.fixtures.cli import call_cli, run_cli
from tests.fixtures.tcpproxy import Proxy
from tests.interop.registry.conftest import HTPASSWD, PASSWORD, USER, run
from tests.support.httpserver import Server, reply

pytestmark = [pytest.mark.interop, pytest.mark.net]
MIB = 1 << 20


def blob(seed: str, size: int) -> tuple[Descriptor, bytes]:
    data = random.Random(seed).randbytes(size)
    return Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=digest_bytes(data), size_bytes=size), data


# The commands


def test_a_bundle_goes_there_and_comes_back_by_the_commands(registry, sample, tmp_path):
    def cli(*argv):
        return run_cli(*argv, cwd=tmp_path, HOME=str(tmp_path))

    name = f"{registry.address}/kata/commands"
    would = json.loads(cli("push", sample.directory, f"{name}:v1", "--dry-run", "--json").ok())
    done = json.loads(cli("push", sample.directory, f"{name}:v1", "--tag", "v1.0", "--json").ok())
    assert would["moved_bytes"] == done["moved_bytes"] == done["total_bytes"] > 0
    assert (done["reference"], done["tags"]) == (f"{name}:v1@{sample.digest}", ["v1", "v1.0"])
    again = cli("push", sample.directory, f"{name}:v1")
    assert again.ok().splitlines()[0] == "all blobs were there, none was moved"

    listed = json.loads(cli("ls", name, "--json").ok())
    assert [(tag["name"], tag["kind"], tag["digest"]) for tag in listed["tags"]] == [
        ("v1", "bundle", sample.digest), ("v1.0", "bundle", sample.digest),
    ]  # fmt: skip
    assert "linux/s390x" in cli("ls", f"{name}:v1").ok()

    part = json.loads(cli("pull", f"{name}:v1", "-o", "part", "--arch", "x86_64", "--shim", "clh", "--json").ok())
    assert (part["digest"], part["blobs"]) == (sample.digest, 4)
    assert "qemu" not in cli("show", "./part").ok()
    cli("pull", f"{name}@{sample.digest}", "-o", "whole", "--arch", "all").ok()
    assert verify_layout(tmp_path / "whole") == []
    assert sorted(p.name for p in (tmp_path / "whole/blobs/sha256").iterdir()) == sorted(
        p.name for p in (sample.directory / "blobs/sha256").iterdir()
    )

    copied = json.loads(cli("copy", f"{name}:v1", f"{registry.address}/kata/commands2:v2", "--json").ok())
    assert (copied["moved_bytes"], copied["mounted_bytes"]) == (0, copied["total_bytes"])
    refused = cli("rm", f"{name}:v1")
    assert (refused.code, "v1.0" in refused.stderr) == (2, True)
    cli("rm", f"{name}:v1", "--all-tags").ok()
    assert json.loads(cli("ls", name, "--json").ok())["tags"] == []
    missing = cli("pull", f"{name}:v1", "-o", "none")
    assert missing.code == 8
    assert not (tmp_path / "none").exists()
    assert missing.stderr.splitlines()[-1].endswith("MANIFEST_UNKNOWN: manifest unknown")


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["push", "nowhere", "127.0.0.1:1/kata:v1"], 2), (["pull", "kata:v1", "-o", "x"], 2),
        (["copy", "./a", "./b"], 2), (["rm", "127.0.0.1:1/kata"], 2), (["ls", "127.0.0.1:1/kata", "--ca-file", "none"], 2),
    ],
)  # fmt: skip
def test_wrong_use_ends_with_one_error(argv, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call_cli(*argv)
    assert done.code == code, done.stderr
    assert done.stderr.splitlines()[0].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_registry_that_forbids_removal_is_said_so(docker_registry, repository, sample):
    strict = docker_registry(storage={"inmemory": {}})
    opened = repository(strict.address, "kata:v1")
    copy_from_layout(Layout.open(sample.directory), opened, tags=("v1",))
    with pytest.raises(RegistryStatusError, match="UNSUPPORTED") as caught:
        remove(opened, plan_removal(opened))
    assert "does not let manifests be removed" in caught.value.hint
    assert opened.tags() == ("v1",)


# Interruptions


def test_a_push_goes_on_when_the_registry_is_killed_and_started_again(docker_registry, repository):
    server = docker_registry()
    descriptor, data = blob("push", 24 * MIB)
    half = threading.Event()
    is_killed = threading.Event()

    class Source(io.BytesIO):
        """Content that waits in its middle, the first time, until the registry is gone."""

        def read(self, size=-1):
            if self.tell() > len(data) // 2 and not is_killed.is_set():
                half.set()
                is_killed.wait(60)
            return super().read(size)

    def kill_and_start():
        half.wait(60)
        server.kill()
        is_killed.set()
        server.start()

    thread = threading.Thread(target=kill_and_start)
    thread.start()
    opened = repository(server.address, "kata/killed")
    assert opened.upload(descriptor, lambda: Source(data))
    thread.join()
    assert opened.has_blob(descriptor)
    assert opened.read_range(descriptor, 13 * MIB, 100) == data[13 * MIB : 13 * MIB + 100]


def test_a_pull_goes_on_when_the_registry_is_killed_and_started_again(docker_registry, repository, tmp_path):
    server = docker_registry()
    descriptor, data = blob("pull", 24 * MIB)
    repository(server.address, "kata/killed").upload(descriptor, lambda: io.BytesIO(data))
    with Proxy(server.address) as proxy:
        proxy.set(bytes_per_s=64 * MIB)

        def kill_and_start():
            while proxy.passed < 8 * MIB:
                time.sleep(0.005)
            server.kill()
            proxy.drop()
            server.start()
            proxy.faults.bytes_per_s = None

        thread = threading.Thread(target=kill_and_start)
        thread.start()
        repository(proxy.address, "kata/killed").download(descriptor, tmp_path / "blob")
        thread.join()
        assert (tmp_path / "blob").read_bytes() == data
        assert proxy.passed < 24 * MIB + 4 * MIB, "what had come was not sent again"


def test_a_pull_that_is_cut_again_and_again_sends_nothing_twice(registry, repository, tmp_path):
    descriptor, data = blob("cut", 6 * MIB)
    repository(registry.address, "kata/cut").upload(descriptor, lambda: io.BytesIO(data))
    with Proxy(registry.address) as proxy:
        proxy.set(cut_after=MIB, cuts=5)
        opened = repository(proxy.address, "kata/cut")
        opened.client.transport._pause = lambda _seconds: None
        opened.download(descriptor, tmp_path / "blob")
        assert (tmp_path / "blob").read_bytes() == data
        assert proxy.passed < 7 * MIB


def test_a_byte_changed_on_the_way_is_found_before_it_gets_a_name(registry, repository, sample, tmp_path):
    copy_from_layout(Layout.open(sample.directory), repository(registry.address, "kata/lie:v1"), tags=("v1",))
    descriptor, data = blob("lie", 2 * MIB)
    repository(registry.address, "kata/lie").upload(descriptor, lambda: io.BytesIO(data))
    with Proxy(registry.address) as proxy:
        proxy.set(lie_after=MIB)
        with pytest.raises(IntegrityError, match="content with digest"):
            repository(proxy.address, "kata/lie").download(descriptor, tmp_path / "blob")
        assert list(tmp_path.glob("blob*")) == []


@pytest.mark.parametrize("at", range(0, 12_000, 997))
def test_wherever_a_byte_is_changed_the_bundle_is_the_same_or_refused(registry, repository, sample, tmp_path, at):
    """In the head of an answer, a document or a layer."""
    copy_from_layout(Layout.open(sample.directory), repository(registry.address, "kata/lies:v1"), tags=("v1",))
    with Proxy(registry.address) as proxy:
        proxy.set(lie_after=at)
        opened = repository(proxy.address, "kata/lies:v1", limits=Limits(tries=1, answer_s=2))
        try:
            pull_bundle(open_remote_bundle(opened), tmp_path / "out", is_whole=True, jobs=1)
        except (IntegrityError, RegistryError):
            return
        assert open_bundle(tmp_path / "out").digest == sample.digest
        assert verify_layout(tmp_path / "out") == []


def test_a_throttled_registry_is_slow_and_right_and_one_that_stalls_is_given_up(registry, repository, tmp_path):
    descriptor, data = blob("slow", MIB)
    repository(registry.address, "kata/slow").upload(descriptor, lambda: io.BytesIO(data))
    with Proxy(registry.address) as proxy:
        proxy.set(bytes_per_s=2 * MIB)
        repository(proxy.address, "kata/slow").download(descriptor, tmp_path / "blob")
        assert (tmp_path / "blob").read_bytes() == data
        proxy.set(bytes_per_s=20_000)
        impatient = Limits(tries=1, slow_bytes=200_000, slow_s=0.5)
        with pytest.raises(UnreachableError, match="fewer than 200000 bytes"):
            repository(proxy.address, "kata/slow", limits=impatient).download(descriptor, tmp_path / "second")
        assert not (tmp_path / "second").exists()


# Logins and TLS


@pytest.fixture(scope="module")
def guarded(docker_registry, tmp_path_factory):
    file = tmp_path_factory.mktemp("htpasswd") / "htpasswd"
    file.write_text(HTPASSWD)
    return docker_registry(auth={"htpasswd": {"realm": "test", "path": str(file)}})


def test_a_password_opens_a_guarded_registry(guarded, repository, auth_file, sample):
    with pytest.raises(DeniedError, match="asks for a login"):
        repository(guarded.address, "kata:v1").manifest()
    with pytest.raises(DeniedError, match="status 401"):
        repository(guarded.address, "kata:v1", auth_file=auth_file(guarded.address, USER, "wrong")).tags()
    opened = repository(guarded.address, "kata:v1", auth_file=auth_file(guarded.address))
    copy_from_layout(Layout.open(sample.directory), opened, tags=("v1",))
    assert opened.tags() == ("v1",)


def test_a_helper_opens_it_too_and_no_process_shows_the_password(guarded, sample, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    helper = folder / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\nprintf \'{{"Username":"{USER}","Secret":"{PASSWORD}"}}\'\n')
    helper.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": {guarded.address: "test"}}))
    environment = {"HOME": str(tmp_path), "PATH": f"{folder}:/usr/bin:/bin"}
    done = run_cli("push", sample.directory, f"{guarded.address}/helped:v1", "-j", "2", "--json", **environment)
    assert json.loads(done.ok())["tags"] == ["v1"]
    assert PASSWORD not in done.stdout + done.stderr
    wrong = run_cli("-v", "ls", f"{guarded.address}/helped", **{**environment, "HOME": "/nonexistent"})
    assert wrong.code == 8
    assert "--auth-file" in wrong.stderr


def token_service(certificates, folder: Path) -> Server:
    """A MOCK of the token service that companies run beside their registry; the registry that checks its tokens is real."""
    certificate = run("openssl", "x509", "-in", certificates.root, "-outform", "DER")

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def handle(request):
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {wanted}":
            return reply(401, b"{}")
        access = []
        for scope in [value for key, value in request_query(request) if key == "scope"]:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        head = {"alg": "RS256", "typ": "JWT", "x5c": [base64.b64encode(certificate).decode()]}
        claims = {"iss": "mock", "sub": USER, "aud": request.query["service"], "exp": now + 300, "nbf": now - 60, "iat": now,
                  "jti": "1", "access": access}  # fmt: skip
        signed = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
        (folder / "signed").write_text(signed)
        signature = run("openssl", "dgst", "-sha256", "-sign", certificates.folder / "root.key", folder / "signed")
        return reply(200, json.dumps({"access_token": f"{signed}.{encoded(signature)}", "expires_in": 300}).encode())

    return Server(handle)


def request_query(request):
    from urllib.parse import parse_qsl, urlsplit

    return parse_qsl(urlsplit(request.target).query)


def test_tokens_open_a_registry_for_what_they_allow(docker_registry, certificates, repository, auth_file, sample, tmp_path):
    with token_service(certificates, tmp_path) as service:
        token = {
            "realm": f"http://{service.host}/token",
            "service": "test",
            "issuer": "mock",
            "rootcertbundle": str(certificates.root),
        }
        server = docker_registry(auth={"token": token})
        with pytest.raises(DeniedError):
            repository(server.address, "kata/tokens:v1").manifest()
        login = auth_file(server.address)
        opened = repository(server.address, "kata/tokens:v1", auth_file=login)
        copy_from_layout(Layout.open(sample.directory), opened, tags=("v1",))
        second = opened.client.repository(opened.reference.tagged("v2"))
        other = repository(server.address, "kata/mounted:v1", auth_file=login)
        done = copy_between(second.client.repository(opened.reference), other, tags=("v1",))
        assert (done.moved_bytes, done.mounted_bytes) == (0, done.total_bytes), "a token for both repositories"
        opened.delete_manifest(sample.digest)
        assert opened.tags() == ()
        assert len(list_tags(other)) == 1
        asked = {value for request in service.requests for key, value in request_query(request) if key == "scope"}
        assert "repository:kata/tokens:delete,pull,push" in asked


def test_tls_is_checked_against_the_roots_given_and_a_certificate_shown(docker_registry, certificates, repository, tmp_path):
    from kata_bundle.oci.registry import RegistryClient, RegistrySettings, parse_reference

    certificate, key = certificates.make("server", server=True)
    mine, my_key = certificates.make("client", server=False)
    tls = {"certificate": str(certificate), "key": str(key), "clientcas": [str(certificates.root)]}
    server = docker_registry(http={"tls": tls})
    folder = tmp_path / "certs.d" / server.address
    folder.mkdir(parents=True)

    def opened(text: str | None, **settings):
        if text is not None:
            (folder / "hosts.toml").write_text(text)
        given = RegistrySettings(environment={}, hosts_folders=(tmp_path / "certs.d",), **settings)
        return RegistryClient(given).repository(parse_reference(f"{server.address}/kata:v1"))

    base = f'server = "https://{server.address}"\n'
    with pytest.raises(UnreachableError, match="certificate is not trusted") as caught:
        opened(base).manifest()
    assert "--ca-file" in caught.value.hint
    with pytest.raises(UnreachableError, match=r"TLS failed|broke"):
        opened(base + f'ca = "{certificates.root}"\n').manifest()
    with pytest.raises(RegistryStatusError, match="MANIFEST_UNKNOWN"):
        opened(base + f'ca = "{certificates.root}"\nclient = [["{mine}", "{my_key}"]]\n').manifest()
    (folder / "hosts.toml").unlink()
    for name, source in (("ca.crt", certificates.root), ("me.cert", mine), ("me.key", my_key)):
        (folder / name).write_bytes(source.read_bytes())
    with pytest.raises(RegistryStatusError, match="MANIFEST_UNKNOWN"):
        opened(None, ca_file=certificates.root).manifest()
    with pytest.raises(RegistryStatusError) as plain:
        repository(server.address, "kata:v1").manifest()
    assert "it speaks TLS there" in plain.value.hint
