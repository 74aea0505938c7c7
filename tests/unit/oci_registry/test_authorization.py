"""Tokens and passwords: sent when asked for, to whom they are for, and renewed; against a MOCK registry with a token service."""

from __future__ import annotations

import io
import json

import pytest

from kata_bundle.oci.registry import DeniedError, ProtocolError, UnreachableError
from kata_bundle.oci.registry.auth import is_related
from kata_bundle.oci.registry.challenge import Challenge, parse_challenges
from tests.support.fakeregistry import INDEX
from tests.support.httpserver import reply
from tests.unit.oci_registry.conftest import layer

DOCUMENT = b'{"schemaVersion":2,"manifests":[]}'


@pytest.fixture
def login(tmp_path):
    def make(server, **members):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps({"auths": {server.host: members}}))
        return path

    return make


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (['Bearer realm="https://a/b",service="s, t",scope="r:x:pull,push"'],
         [("bearer", {"realm": "https://a/b", "service": "s, t", "scope": "r:x:pull,push"})]),
        (['Basic realm="a b", Bearer realm=c , service="d\\"e"'],
         [("basic", {"realm": "a b"}), ("bearer", {"realm": "c", "service": 'd"e'})]),
        (["Negotiate", "Basic"], [("negotiate", {}), ("basic", {})]),
        (['Bearer realm="open'], [("bearer", {})]),
        (["", '"', ",,,", "=" * 100_000], []),
        (["Bearer a=1,a=2"], [("bearer", {"a": "1"})]),
    ],
)  # fmt: skip
def test_challenges_are_read_as_far_as_they_make_sense(values, expected):
    found = [(c.scheme, dict(c.parameters)) for c in parse_challenges(values)]
    assert found[: len(expected)] == expected
    assert all(isinstance(c, Challenge) for c in parse_challenges(values))


@pytest.mark.parametrize(
    ("registry", "service", "expected"),
    [
        ("registry.example", "registry.example", True), ("a.b.example", "auth.b.example", True),
        ("a.b.example", "b.example", True),
        ("b.example", "auth.b.example", True), ("b.example", "c.example", False), ("a.b.example", "xb.example", False),
        ("one.co.uk", "two.co.uk", False), ("a.one.co.uk", "auth.one.co.uk", True), ("10.0.0.1", "10.0.0.2", False),
        ("[fd00::1]", "[fd00::2]", False), ("example", "evil", False),
    ],
)  # fmt: skip
def test_only_neighbours_under_a_domain_of_their_own_share_a_login(registry, service, expected):
    assert is_related(registry, service) is expected


def test_nothing_is_sent_before_it_is_asked_for(fake, repository, login):
    registry = fake(login=("user", "password"))
    registry.add_manifest("kata", DOCUMENT, INDEX, "v1")
    opened = repository(registry, auth_file=login(registry, username="user", password="password"))
    opened.manifest()
    opened.manifest()
    assert ["authorization" in request.headers for request in registry.requests] == [False, True, True]


def test_no_login_and_a_wrong_one_are_told_apart_and_say_what_to_do(fake, repository, login):
    registry = fake(login=("user", "password"))
    with pytest.raises(DeniedError, match="there is none for it") as caught:
        repository(registry).manifest()
    assert "--auth-file" in caught.value.hint
    with pytest.raises(DeniedError, match="status 401"):
        repository(registry, auth_file=login(registry, username="user", password="wrong")).manifest()


@pytest.mark.parametrize("members", [{"username": "user", "password": "password"}, {"identitytoken": "password"}])
def test_a_token_is_fetched_once_for_what_it_allows(fake, repository, login, members):
    registry = fake(login=("user", "password"), tokens=True)
    registry.add_manifest("kata", DOCUMENT, INDEX, "v1")
    opened = repository(registry, auth_file=login(registry, **members))
    opened.manifest()
    opened.tags()
    assert opened.upload(layer(b"x"), lambda: io.BytesIO(b"x"))
    opened.manifest()
    asked = [request for request in registry.requests if request.path == "/token"]
    assert sorted(registry.issued.values()) == ["repository:kata:pull", "repository:kata:pull,push"]
    assert {request.method for request in asked} == ({"POST"} if "identitytoken" in members else {"GET"})
    assert not any("password" in request.target for request in registry.requests)


def test_a_token_of_no_one_is_enough_where_the_service_gives_it(fake, repository):
    registry = fake(tokens=True)
    registry.add_manifest("kata", DOCUMENT, INDEX, "v1")
    assert repository(registry).manifest().data == DOCUMENT


def test_a_token_that_expires_or_is_taken_back_is_renewed(fake, repository, monkeypatch):
    from kata_bundle.core import clock

    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    registry = fake(tokens=True)
    registry.add_manifest("kata", DOCUMENT, INDEX, "v1")
    opened = repository(registry)
    opened.manifest()
    now[0] += 295
    opened.manifest()
    assert len(registry.issued) == 2, "renewed before it is refused"
    assert registry.count("GET", "manifests") == 3
    registry.issued.clear()
    opened.manifest()
    assert len(registry.issued) == 1


def test_a_service_that_refuses_a_login_is_named(fake, repository, login):
    registry = fake(login=("user", "password"), tokens=True)
    with pytest.raises(DeniedError, match="refused the login") as caught:
        repository(registry, auth_file=login(registry, username="user", password="hunter22")).manifest()
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX-Evil: 1"}', b'{"token": "geheim"', b"[]"])
def test_what_is_no_token_is_not_used_and_not_shown(fake, repository, body):
    registry = fake(tokens=True)
    registry.fault = lambda request: reply(200, body) if request.path == "/token" else None
    with pytest.raises(ProtocolError, match="holds no token") as caught:
        repository(registry).manifest()
    assert "geheim" not in str(caught.value)


def test_a_login_goes_to_no_token_service_on_another_host_unless_it_is_named(fake, repository, login, serve):
    elsewhere = serve(lambda _request: reply(200, b'{"token": "t"}'))
    registry = fake(login=("user", "password"), tokens=True)
    registry.realm = f"http://localhost:{elsewhere.port}/token"
    registry.add_manifest("kata", DOCUMENT, INDEX, "v1")
    auth_file = login(registry, username="user", password="password")
    with pytest.raises(ProtocolError, match="is not sent there") as caught:
        repository(registry, auth_file=auth_file).manifest()
    assert caught.value.hint == "if that host is right: --token-host localhost"
    assert elsewhere.requests == []
    registry.issued["t"] = "repository:kata:pull"
    assert repository(registry, auth_file=auth_file, token_hosts=frozenset({"localhost"})).manifest().data == DOCUMENT
    assert elsewhere.requests[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_token_service_that_leads_elsewhere_is_not_followed(fake, repository, serve, status):
    elsewhere = serve(lambda _request: reply(200, b'{"token": "t"}'))
    registry = fake(tokens=True)
    registry.fault = lambda request: (
        reply(status, headers={"Location": f"http://{elsewhere.host}/"}) if request.path == "/token" else None
    )
    with pytest.raises(ProtocolError, match="leads elsewhere"):
        repository(registry).manifest()
    assert elsewhere.requests == []


def test_blobs_elsewhere_are_fetched_without_what_is_the_registrys(fake, repository, login, serve, tmp_path):
    data = b"blob" * 1000
    storage = serve(lambda _request: reply(200, data))
    registry = fake(login=("user", "password"))
    auth_file = login(registry, username="user", password="password")

    def lead_away(request):
        if "authorization" in request.headers and "/blobs/" in request.path:
            return reply(307, headers={"Location": f"http://localhost:{storage.port}/b?signature=abc"})
        return None

    registry.fault = lead_away
    repository(registry, auth_file=auth_file).download(layer(data), tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == data
    assert [set(request.headers) & {"authorization", "cookie"} for request in storage.requests] == [set()]
    assert storage.requests[0].query == {"signature": "abc"}


def test_a_signature_in_an_address_is_in_no_message(fake, repository, serve, tmp_path):
    storage = serve(lambda _request: reply(403, b"denied"))
    registry = fake()
    registry.fault = lambda request: reply(307, headers={"Location": f"http://{storage.host}/b?signature=abc"})
    with pytest.raises(DeniedError) as caught:
        repository(registry).download(layer(b"x"), tmp_path / "blob")
    assert "signature" not in f"{caught.value} {caught.value.hint}"
    storage.close()
    with pytest.raises(UnreachableError) as broken:
        repository(registry).download(layer(b"x"), tmp_path / "blob")
    assert "signature" not in f"{broken.value} {broken.value.hint} {broken.value.__cause__}"
