"""The way to a server: proxies, TLS, and connections that are cut when they hold somebody up."""

from __future__ import annotations

import base64
import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.oci import mediatypes
from kata_bundle.oci.documents import image_index
from kata_bundle.oci.registry import UnreachableError, parse_reference
from tests.support.fakeregistry import FakeRegistry
from tests.support.httpserver import Server, reply
from tests.unit.oci_registry.conftest import layer, limits

INDEX = image_index([])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Certificate and key of ``registry.example``, and a context that shows them."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt-get install openssl)")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=registry.example", "-addext", "subjectAltName=DNS:registry.example,IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


def known(registry: FakeRegistry) -> FakeRegistry:
    registry.add_manifest("kata", INDEX, mediatypes.IMAGE_INDEX, "v1")
    return registry


def test_a_proxy_is_told_who_we_are_and_the_registry_is_not(client, serve):
    proxy = serve(lambda _request: reply(200, INDEX, {"Content-Type": mediatypes.IMAGE_INDEX}))
    one = client(plain_http=True, environment={"HTTP_PROXY": f"http://me:p%40ss@{proxy.host}"})
    assert one.repository(parse_reference("registry.example/kata:v1")).manifest().data == INDEX
    (request,) = proxy.requests
    assert request.target == "http://registry.example/v2/kata/manifests/v1"
    assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert "authorization" not in request.headers


def test_tls_goes_through_a_proxy_as_it_is(client, fake, certificate):
    root, context = certificate
    registry = known(fake(tls=context))
    asked: list[bytes] = []

    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def tunnel(listener):
        connection, _ = listener.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        asked.append(head)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with connection, socket.create_connection(("127.0.0.1", registry.server.port)) as server:
            back = threading.Thread(target=pump, args=(server, connection), daemon=True)
            back.start()
            pump(connection, server)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=tunnel, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        one = client(ca_file=root, environment={"https_proxy": f"http://me:secret@127.0.0.1:{port}"})
        assert one.repository(parse_reference("registry.example/kata:v1")).manifest().data == INDEX
    assert asked[0].startswith(b"CONNECT registry.example:443 ")
    assert b"proxy-authorization: basic " in asked[0].lower()
    assert registry.requests[0].headers.keys().isdisjoint({"proxy-authorization", "authorization"})


def test_a_proxy_that_is_not_there_is_named_as_the_reason(client):
    one = client(plain_http=True, environment={"HTTP_PROXY": "http://me:secret@127.0.0.1:1"}, limits=limits(tries=1))
    with pytest.raises(UnreachableError) as caught:
        one.repository(parse_reference("registry.example/kata:v1")).manifest()
    assert "HTTP_PROXY" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_server_is_trusted_by_its_root_and_its_name(client, fake, certificate):
    root, context = certificate
    registry = known(fake(tls=context))
    reference = parse_reference(f"{registry.host}/kata:v1")
    assert client(ca_file=root).repository(reference).manifest().data == INDEX
    elsewhere = parse_reference(f"localhost:{registry.server.port}/kata:v1")
    with pytest.raises(UnreachableError, match="certificate is not trusted"):
        client(ca_file=root).repository(elsewhere).manifest()


def test_files_that_hold_no_certificate_are_named(client, tmp_path):
    (tmp_path / "none.pem").write_text("none")
    with pytest.raises(UsageError, match=r"none\.pem"):
        client(ca_file=tmp_path / "none.pem").repository(parse_reference("127.0.0.1:1/kata")).manifest()
    folder = tmp_path / "certs.d" / "127.0.0.1:1"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text('server = "https://127.0.0.1:1"\nclient = "none.pem"\n')
    with pytest.raises(HostError, match=r"none\.pem"):
        client(hosts_folders=(tmp_path / "certs.d",)).repository(parse_reference("127.0.0.1:1/kata")).manifest()


def test_tls_spoken_to_a_server_without_is_an_error_with_a_hint(client, serve, certificate):
    server = serve(lambda _request: reply(200))
    with pytest.raises(UnreachableError) as caught:
        client(ca_file=certificate[0]).repository(parse_reference(f"{server.host}/kata:v1")).manifest()
    assert caught.value.hint == "if it speaks plain HTTP: --plain-http"


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: "])
def test_a_server_that_drips_through_tls_is_cut_too(client, serve, certificate, start):
    root, context = certificate

    def drip(_request):
        yield start
        while True:
            time.sleep(0.02)
            yield b"x"

    server = serve(drip, tls=context)
    one = client(ca_file=root, limits=limits(answer_s=0.3, tries=1))
    with pytest.raises(UnreachableError):
        one.repository(parse_reference(f"{server.host}/kata:v1")).manifest()


def test_connections_are_used_again(fake, client):
    registry = known(fake())
    large = layer(b"x" * 200_000)
    registry.add_blob("kata", b"x" * 200_000)
    opened = client().repository(parse_reference(f"{registry.host}/kata:v1"))
    for _ in range(5):
        opened.manifest()
        opened.referrers(opened.resolve().digest)
        assert opened.has_blob(large)
    assert registry.server.connections == 1


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(fake, client, pauses):
    registry = known(fake())
    opened = client().repository(parse_reference(f"{registry.host}/kata:v1"))
    opened.manifest()
    for connection in list(registry.server._open):
        connection.shutdown(socket.SHUT_RDWR)
    opened.manifest()
    assert registry.server.connections == 2


def test_closing_the_client_ends_what_other_threads_wait_for(serve, client, tmp_path):
    is_asked = threading.Event()
    forever = threading.Event()

    def hang(_request):
        is_asked.set()
        forever.wait(60)

    server = serve(hang)
    one = client(limits=limits(answer_s=60, tries=1))
    errors: list[BaseException] = []

    def download():
        try:
            one.repository(parse_reference(f"{server.host}/kata:v1")).download(layer(b"x"), tmp_path / "blob")
        except UnreachableError as error:
            errors.append(error)

    thread = threading.Thread(target=download)
    thread.start()
    is_asked.wait(10)
    one.close()
    thread.join(30)
    forever.set()
    assert len(errors) == 1


def test_an_interrupt_ends_a_pull_soon_with_130_and_the_next_one_goes_on(fake, tmp_path):
    """The whole command, in a process of its own, with several transfers under way."""
    from kata_bundle.oci import Layout
    from kata_bundle.oci.registry import RegistryClient, RegistrySettings
    from kata_bundle.oci.registry.transfer import copy_from_layout
    from tests.support.bundles import sample_bundle

    sample = sample_bundle(tmp_path / "sample")
    registry = fake()
    with RegistryClient(RegistrySettings(environment={}, hosts_folders=())) as one:
        target = one.repository(parse_reference(f"{registry.host}/kata:v1"))
        copy_from_layout(Layout.open(sample.directory), target, tags=("v1",))
    waiting, forever = threading.Semaphore(0), threading.Event()

    def hang_in_layers(request):
        data = registry.blobs.get(("kata", request.path.rpartition("/")[2]), b"{")
        if data.startswith(b"{"):  # a config
            return None
        waiting.release()
        forever.wait(60)
        return b"drop"

    registry.fault = hang_in_layers
    argv = [sys.executable, "-m", "kata_bundle", "pull", f"{registry.host}/kata:v1", "-o", tmp_path / "out", "--arch", "all"]
    # A shell starts what runs in the background with SIGINT ignored, and what that starts inherits it: these tests, too.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard) as process:
        for _ in range(4):
            assert waiting.acquire(timeout=60)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    forever.set()
    assert process.returncode == 130, words
    assert words.splitlines()[-1] == "error: interrupted"
    assert not (tmp_path / "out/index.json").exists()
    registry.fault = lambda _request: None
    subprocess.run(argv, check=True, capture_output=True)
    assert (tmp_path / "out/index.json").exists()


def test_a_server_class_of_the_tests_lets_nobody_in_after_its_end():
    server = Server(lambda _request: reply(200))
    server.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
