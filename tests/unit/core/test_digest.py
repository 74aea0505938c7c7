from __future__ import annotations

import hashlib
import io

import pytest

from kata_bundle.core.digest import HashingReader, HashingWriter, digest_bytes, digest_stream, hex_part, parse_digest
from kata_bundle.core.errors import IntegrityError

EMPTY = "sha256:" + hashlib.sha256(b"").hexdigest()


def test_a_digest_is_sha256_in_ocis_spelling():
    assert digest_bytes(b"") == EMPTY
    assert hex_part(digest_bytes(b"")) == EMPTY[7:]
    assert parse_digest(EMPTY) == EMPTY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY.upper(),
        "sha512:" + "0" * 128,
        "sha256:../../" + "0" * 58,
        EMPTY + "\n",
        EMPTY.replace(":", "/"),
        7,
        None,
        b"sha256",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(IntegrityError, match="not a sha256 digest"):
        parse_digest(text)


def test_a_long_wrong_digest_is_shortened_in_the_message():
    with pytest.raises(IntegrityError) as caught:
        parse_digest("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_streams_hash_what_passed_through_them():
    assert digest_stream([b"ab", b"", b"c"]) == (digest_bytes(b"abc"), 3)
    reader = HashingReader(io.BytesIO(b"abcdef"))
    assert reader.read(2) == b"ab"
    assert reader.digest == digest_bytes(b"ab")
    reader.drain()
    assert (reader.digest, reader.size_bytes) == (digest_bytes(b"abcdef"), 6)
    sink = io.BytesIO()
    writer = HashingWriter(sink)
    assert writer.write(memoryview(b"xyz")) == 3
    assert (writer.digest, writer.size_bytes, sink.getvalue()) == (digest_bytes(b"xyz"), 3, b"xyz")
