"""Addresses, instances and tokens of servers."""

from __future__ import annotations

import pytest

from kata_bundle.build.remote import open_cache
from kata_bundle.build.remote.settings import TOKEN_VARIABLE, parse_server, read_token
from kata_bundle.core.errors import HostError, UsageError

SECRET = "s3cret-of-nobody"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("grpc://127.0.0.1:50052", ("127.0.0.1", 50052, False)),
        ("grpcs://cache.example", ("cache.example", 443, True)),
        ("grpcs://cache.example:8980/", ("cache.example", 8980, True)),
        ("grpc://[::1]:1", ("::1", 1, False)),
    ],
)
def test_what_an_address_means(url, expected):
    found = parse_server(url)
    assert (found.host, found.port, found.tls) == expected
    assert found.url == url.rstrip("/") + ("" if found.port != 443 else ":443")


@pytest.mark.parametrize(
    "url",
    ["", "cache.example:80", "http://cache.example", "grpc://cache.example", "grpc://:80", "grpc://h:70000", "grpcs://h/instance",
     "grpcs://h?x=y", "grpc://h:x"],
)  # fmt: skip
def test_what_is_no_address(url):
    with pytest.raises(UsageError, match=r"server|has no port"):
        open_cache(url)


def test_a_password_in_an_address_is_not_repeated():
    with pytest.raises(UsageError) as caught:
        parse_server(f"grpcs://me:{SECRET}@cache.example")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("instance", ["a//b", "/a", "a/blobs/b", "uploads", "a b", "compressed-blobs"])
def test_names_that_no_instance_can_have(instance):
    with pytest.raises(UsageError, match="instance"):
        parse_server("grpcs://cache.example", instance=instance)


def test_a_token_never_crosses_a_network_in_the_clear():
    with pytest.raises(UsageError, match="without encryption"):
        parse_server("grpc://cache.example:80", token=SECRET)
    assert parse_server("grpc://127.0.0.1:80", token=SECRET).token == SECRET


def test_a_token_is_not_shown():
    assert SECRET not in repr(parse_server("grpcs://cache.example", token=SECRET))


def test_a_token_from_a_file_or_the_environment(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    assert read_token(path, {}) == SECRET
    assert read_token(None, {TOKEN_VARIABLE: SECRET}) == SECRET
    assert read_token(None, {}) is None
    path.write_text("two words")
    with pytest.raises(UsageError) as caught:
        read_token(path, {})
    assert "two words" not in str(caught.value)
    with pytest.raises(HostError, match="cannot be read"):
        read_token(tmp_path / "none", {})


def test_a_cache_in_a_registry_is_a_repository():
    assert open_cache("oci://registry.example/kata/cache").name == "oci://registry.example/kata/cache"
    with pytest.raises(UsageError, match="one thing"):
        open_cache("oci://registry.example/kata/cache:tag")
