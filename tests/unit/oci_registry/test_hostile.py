"""Servers that break, lie, stall and never end: each is refused with one clear error, and nothing wrong gets a name."""

from __future__ import annotations

import gzip
import itertools
import json
import time

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.oci import mediatypes
from kata_bundle.oci.registry import ProtocolError, RegistryError, RegistryStatusError, UnreachableError
from tests.support.httpserver import reply
from tests.unit.oci_registry.conftest import layer, limits

DATA = bytes(range(256)) * 1024
BLOB = layer(DATA)
BOMB = gzip.compress(b"0" * (1 << 20))
INDEX = {"Content-Type": mediatypes.IMAGE_INDEX}


def endless(head: bytes):
    def parts():
        yield head
        yield from itertools.repeat(b"x" * 65536)

    return parts()


def dripping(start: bytes = b"", drop: bytes = b"x"):
    def parts():
        yield start
        while True:
            time.sleep(0.02)
            yield drop

    return parts()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda: endless(b"HTTP/1.1 200 OK\r\n\r\n"), ProtocolError, "more than the"),
        (lambda: endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8000000\r\n"), ProtocolError, "more than the"),
        (lambda: reply(200, b"{}", INDEX, length=99 << 20), ProtocolError, "more than the"),
        (lambda: reply(200, b"{}", {**INDEX, "Content-Encoding": "gzip"}), ProtocolError, "not asked for"),
        (lambda: reply(200, BOMB, {**INDEX, "Content-Encoding": "gzip"}), ProtocolError, "not asked for"),
        (lambda: reply(200, b"{}"), ProtocolError, "does not say what it is"),
        (lambda: reply(200, b"{}", {"Content-Type": "x" * 999}), ProtocolError, "does not say what it is"),
        (lambda: reply(200, b"{}", {**INDEX, "Docker-Content-Digest": digest_bytes(b"?")}), IntegrityError, "expected sha256:"),
        (lambda: [reply(200, b"{", INDEX, length=5)], UnreachableError, "broke off"),
        (lambda: endless(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200), UnreachableError, "cannot be reached"),
        (lambda: [b"rubbish\r\n\r\n"], UnreachableError, "cannot be reached"),
        (lambda: None, UnreachableError, "cannot be reached"),
        (lambda: reply(404, b"<html>\x1b[31m" + b"y" * 100), RegistryStatusError, "status 404"),
        (lambda: endless(b"HTTP/1.1 403 No\r\n\r\n"), RegistryStatusError, "status 403"),
        (lambda: reply(302, headers={"Location": "/v2/kata/manifests/v1"}), ProtocolError, "more than 5 redirects"),
        (lambda: reply(302, headers={"Location": "ftp://example/x"}), ProtocolError, "http or https address"),
        (lambda: reply(302, headers={"Location": "http://user:pw@127.0.0.1/x"}), ProtocolError, "http or https address"),
        (lambda: reply(302), ProtocolError, "http or https address"),
        (lambda: reply(401, headers={"WWW-Authenticate": "Bearer " * 5000}), RegistryStatusError, "status 401"),
    ],
)  # fmt: skip
def test_a_manifest_is_refused(serve, repository, answer, error, words):
    server = serve(lambda _request: answer())
    with pytest.raises(error) as caught:
        repository(server).manifest()
    assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert caught.value.exit_code in {7, 8}


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_server_that_sends_a_byte_now_and_then_holds_nobody(serve, repository, start, drop):
    server = serve(lambda _request: dripping(start, drop))
    with pytest.raises(UnreachableError):
        repository(server, limits=limits(answer_s=0.3, tries=1)).manifest()


def test_a_blob_that_moves_too_slowly_is_given_up(serve, repository, tmp_path):
    server = serve(lambda _request: dripping(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA)))
    slow = limits(slow_bytes=100_000, slow_s=0.2, tries=1)
    with pytest.raises(UnreachableError, match="fewer than 100000 bytes"):
        repository(server, limits=slow).download(BLOB, tmp_path / "blob")
    assert not (tmp_path / "blob").exists()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda: reply(200, DATA[:-1] + b"?"), IntegrityError, "content with digest"),
        (lambda: reply(200, DATA + b"?"), IntegrityError, "expected 262144"),
        (lambda: reply(200, DATA[:100]), IntegrityError, "expected 262144"),
        (lambda: [reply(200, DATA[:100], length=len(DATA))], UnreachableError, "broke off"),
        (lambda: endless(b"HTTP/1.1 200 OK\r\n\r\n"), IntegrityError, "more than its"),
        (lambda: reply(206, DATA, {"Content-Range": "bytes 0-5/6"}), ProtocolError, "asked for bytes"),
        (lambda: reply(206, DATA), ProtocolError, "asked for bytes"),
        (lambda: reply(200, gzip.compress(DATA), {"Content-Encoding": "gzip"}), (ProtocolError, IntegrityError), ""),
        (lambda: reply(200, DATA, {"Content-Encoding": "br"}), ProtocolError, "not asked for"),
        (lambda: reply(200, b"", length=-1), ProtocolError, "no number"),
    ],
)  # fmt: skip
def test_a_blob_is_refused_and_leaves_no_file_with_its_name(serve, repository, tmp_path, answer, error, words):
    server = serve(lambda _request: answer())
    with pytest.raises(error) as caught:
        repository(server).download(BLOB, tmp_path / "blob")
    assert words in str(caught.value)
    assert not (tmp_path / "blob").exists()
    if isinstance(caught.value, IntegrityError):
        assert list(tmp_path.glob("blob*")) == [], "what was wrong is not taken up again"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: reply(206, DATA[10:20], {"Content-Range": f"bytes 11-20/{len(DATA)}"}), ProtocolError),
        (lambda: reply(206, DATA[10:20], {"Content-Range": "bytes 10-19/7"}), ProtocolError),
        (lambda: reply(206, DATA[10:21], {"Content-Range": f"bytes 10-19/{len(DATA)}"}), ProtocolError),
        (lambda: reply(206, DATA[10:15], {"Content-Range": f"bytes 10-19/{len(DATA)}"}), ProtocolError),
        (lambda: [reply(206, DATA[10:15], {"Content-Range": f"bytes 10-19/{len(DATA)}"}, length=10)], UnreachableError),
        (lambda: reply(416), RegistryStatusError),
        (lambda: reply(200, DATA[:15]), UnreachableError),
    ],
)
def test_a_range_is_exactly_what_was_asked_for_or_refused(serve, repository, answer, error):
    server = serve(lambda _request: answer())
    with pytest.raises(error):
        repository(server).read_range(BLOB, 10, 10)


def test_a_range_of_a_registry_without_ranges_is_cut_out_of_the_whole(serve, repository):
    server = serve(lambda _request: reply(200, DATA))
    assert repository(server).read_range(BLOB, 10, 10) == DATA[10:20]


@pytest.mark.parametrize(
    "pages",
    [
        lambda n: ({"tags": [f"t{n}"]}, f'</v2/kata/tags/list?n=1000&last={n}>; rel="next"'),
        lambda n: ({"tags": []}, '</v2/kata/tags/list?n=1000>; rel="next"'),
        lambda n: ({"tags": [f"t{n}"]}, '</v2/other/tags/list>; rel="next"'),
        lambda n: ({"tags": [f"t{n}"]}, '<http://127.0.0.1:9/v2/kata/tags/list>; rel="next"'),
        lambda n: ({"tags": ["a/../b"]}, ""),
        lambda n: ({"tags": {"a": 1}}, ""),
        lambda n: ([], ""),
        lambda n: ({"tags": [f"{n}-{i}" for i in range(400)]}, f"</v2/kata/tags/list?last={n}>; rel=next"),
    ],
)  # fmt: skip
def test_a_list_of_tags_without_end_or_sense_is_refused(serve, repository, pages):
    numbers = itertools.count()

    def handle(_request):
        document, link = pages(next(numbers))
        return reply(200, json.dumps(document).encode(), {"Link": link} if link else {})

    with pytest.raises(ProtocolError):
        repository(serve(handle), limits=limits(pages=20, names=1000)).tags()


def test_json_that_is_none_and_json_too_deep_are_refused(serve, repository):
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"tags": [], "tags": []}'):
        with pytest.raises(RegistryError):
            repository(serve(lambda _request, body=body: reply(200, body))).tags()


def test_no_redirect_leads_from_tls_to_none(serve):
    from kata_bundle.oci.registry.hosts import Origin
    from kata_bundle.oci.registry.locations import resolve_location

    here = Origin(scheme="https", host="registry.example", port=443)
    with pytest.raises(ProtocolError, match="TLS"):
        resolve_location(here, "/v2/", "http://blobs.example/x", what="x")
    assert resolve_location(here, "/v2/", "http://registry.example/y?z=1", what="x") == (here, "/y?z=1")


def test_the_error_of_a_server_that_repeats_a_password_does_not(fake, repository, home, tmp_path):
    registry = fake(login=("user", "hunter22"))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"username": "user", "password": "hunter22"}}}))

    def echo(request):
        sent = request.headers.get("authorization")
        return None if sent is None else reply(400, f"bad header {sent} for hunter22".encode())

    registry.fault = echo
    with pytest.raises(RegistryStatusError) as caught:
        repository(registry, auth_file=tmp_path / "config.json").manifest()
    assert "bad header" in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert "dXNlcjpodW50ZXIyMg" not in str(caught.value)
