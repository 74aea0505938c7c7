from __future__ import annotations

from pathlib import Path

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import UsageError
from kata_bundle.oci.registry import Reference, is_reference, parse_place, parse_reference
from kata_bundle.oci.registry.reference import is_loopback

DIGEST = digest_bytes(b"x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example/kata", Reference(host="registry.example", repository="kata")),
        ("registry.example:5000/a/b-c:v1", Reference(host="registry.example:5000", repository="a/b-c", tag="v1")),
        ("localhost/kata:v1", Reference(host="localhost", repository="kata", tag="v1")),
        (f"127.0.0.1:1/kata@{DIGEST}", Reference(host="127.0.0.1:1", repository="kata", digest=DIGEST)),
        (f"[::1]:5000/k:t@{DIGEST}", Reference(host="[::1]:5000", repository="k", tag="t", digest=DIGEST)),
        ("docker://Registry.Example/kata:V1", Reference(host="registry.example", repository="kata", tag="V1")),
        ("oci://registry.example/a__b/c.d", Reference(host="registry.example", repository="a__b/c.d")),
    ],
)
def test_a_reference_is_read_and_written_back(text, expected):
    found = parse_reference(text)
    assert found == expected
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no name of content"),
        ("kata:v1", "does not begin with the host"),
        ("kata/payload:v1", "does not begin with the host"),
        ("registry.example/", "repository"),
        ("registry.example/Kata", "repository"),
        ("registry.example/a//b", "repository"),
        ("registry.example/../x", "repository"),
        ("registry.example/kata:", "tag"),
        ("registry.example/kata:-x", "tag"),
        ("registry.example/kata:" + "x" * 129, "tag"),
        ("registry.example/kata@sha256:12", "no sha256 digest"),
        ("registry.example/kata@", "no sha256 digest"),
        ("registry.example:0/kata", "host of a registry is expected"),
        ("registry.example:99999/kata", "host of a registry is expected"),
        ("user:secret@registry.example/kata", "no sha256 digest"),
        ("registry.example/ka ta", "no name of content"),
        ("registry.example/kata\nx: y", "no name of content"),
        ("régistry.example/kata", "no name of content"),
        ("registry.example/" + "x" * 2000, "no name of content"),
        ("-x.example/kata", "host of a registry is expected"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_part_that_is_wrong(text, words):
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value).replace(text, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", False), ("./out", False), ("../out/x", False), ("/tmp/out", False), ("a/b", False), ("~/x", False),
        ("oci:registry.example/x", False), ("registry.example", False), ("registry.example/", False), (".hidden/x", False),
        ("registry.example/x", True), ("host:5000/x", True), ("localhost/x", True), ("docker://x", True), ("oci://a.b/c", True),
    ],
)  # fmt: skip
def test_paths_and_references_are_told_apart_by_their_spelling(text, expected):
    assert is_reference(text) is expected


def test_a_place_is_a_folder_or_a_reference():
    assert parse_place("out/bundle") == Path("out/bundle")
    assert parse_place("oci:registry.example/x") == Path("registry.example/x")
    assert parse_place("registry.example/x:v1") == Reference(host="registry.example", repository="x", tag="v1")
    for text in ("", "oci:"):
        with pytest.raises(UsageError):
            parse_place(text)


def test_what_a_reference_asks_for():
    bare = parse_reference("registry.example/x")
    assert (bare.target, bare.is_bare) == ("latest", True)
    pinned = bare.tagged("v1").at(DIGEST)
    assert (pinned.target, pinned.is_bare, str(pinned)) == (DIGEST, False, f"registry.example/x:v1@{DIGEST}")
    assert pinned.tagged("v2").target == "v2"
    with pytest.raises(UsageError):
        bare.tagged("a/b")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("localhost:5000", True), ("127.0.0.1:80", True), ("127.9.9.9", True), ("[::1]:5", True),
        ("localhost.example", False), ("127.0.0.1.example:80", False), ("10.0.0.1", False), ("[::2]:5", False),
    ],
)  # fmt: skip
def test_loopback_is_known_by_its_spelling_alone(host, expected):
    assert is_loopback(host) is expected
