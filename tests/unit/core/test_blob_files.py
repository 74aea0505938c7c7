"""Reading and placing files named by their content, on a real disk."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from kata_bundle.core.blobs import link_or_copy, open_blob_file, verifying_stream
from kata_bundle.core.digest import CHUNK_SIZE, digest_bytes
from kata_bundle.core.errors import IntegrityError

BIG = os.urandom(CHUNK_SIZE * 2 + 77)


def stream_of(path, digest, **more):
    return verifying_stream(open_blob_file(path, what="blob"), digest, what="blob", **more)


@pytest.mark.parametrize("data", [b"", b"x", BIG])
@pytest.mark.parametrize("step", [1000, CHUNK_SIZE, 1 << 24, -1])
def test_content_that_matches_is_read_whole(tmp_path, data, step):
    (tmp_path / "f").write_bytes(data)
    with stream_of(tmp_path / "f", digest_bytes(data), size_bytes=len(data)) as stream:
        found = b""
        while chunk := stream.read(step):
            found += chunk
    assert found == data


@pytest.mark.parametrize("way", ["read", "read_exactly", "readinto", "readline", "read_steps", "raw_read", "raw_readall"])
def test_no_way_of_reading_hands_out_the_end_of_corrupt_content(tmp_path, way):
    (tmp_path / "f").write_bytes(BIG[:-1] + bytes([BIG[-1] ^ 1]))
    stream = stream_of(tmp_path / "f", digest_bytes(BIG))
    buffer = bytearray(len(BIG))
    ways = {
        "read": stream.read,
        "read_exactly": lambda: stream.read(len(BIG)),
        "readinto": lambda: [stream.readinto(buffer) for _ in range(4)],
        "readline": lambda: list(stream),
        "read_steps": lambda: [stream.read(4096) for _ in range(len(BIG) // 4096 + 1)],
        "raw_read": lambda: [stream.raw.read(CHUNK_SIZE) for _ in range(4)],
        "raw_readall": stream.raw.readall,
    }
    with stream:
        with pytest.raises(IntegrityError, match="digest"):
            ways[way]()
        with pytest.raises(IntegrityError):  # and not an end of file the second time
            stream.raw.read(1)


def test_an_empty_file_under_another_digest_is_refused_at_once(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(IntegrityError, match="digest"):
        stream_of(tmp_path / "f", digest_bytes(b"x"))


def test_a_wrong_size_is_refused_before_reading(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    with pytest.raises(IntegrityError, match="3 bytes, expected 4"):
        stream_of(tmp_path / "f", digest_bytes(b"abc"), size_bytes=4)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    (tmp_path / "f").write_bytes(BIG)
    with stream_of(tmp_path / "f", digest_bytes(BIG)) as stream:
        stream.read(10)
        os.truncate(tmp_path / "f", 100)
        with pytest.raises(IntegrityError, match="shorter"):
            stream.read()


def test_a_file_that_grows_while_it_is_read_keeps_its_content(tmp_path):
    (tmp_path / "f").write_bytes(BIG)
    with stream_of(tmp_path / "f", digest_bytes(BIG)) as stream:
        first = stream.read(10)
        with open(tmp_path / "f", "ab") as other:
            other.write(b"more")
        assert first + stream.read() == BIG


def test_a_stream_that_is_not_read_to_its_end_leaks_no_descriptor(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    before = len(os.listdir("/proc/self/fd"))
    stream_of(tmp_path / "f", digest_bytes(b"abc")).close()
    with pytest.raises(IntegrityError):
        stream_of(tmp_path / "f", digest_bytes(b"abc"), size_bytes=1)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "socket", "directory", "device"])
def test_only_regular_files_are_opened_and_nothing_blocks(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    path = tmp_path / "f"
    match kind:
        case "symlink":
            (tmp_path / "real").write_bytes(b"")
            path.symlink_to("real")
        case "dangling":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("f")
        case "directory":
            path.mkdir()
        case "device":
            path = "/dev/zero"
    with pytest.raises(IntegrityError, match=r"expected a regular file|not a regular file"):
        open_blob_file(path, what="blob")


def test_placing_links_where_it_can_and_replaces_what_is_there(tmp_path):
    (tmp_path / "s").write_bytes(b"abc")
    (tmp_path / "t").write_bytes(b"old")
    assert link_or_copy(tmp_path / "s", tmp_path / "t", digest_bytes(b"abc"), what="s")
    assert (tmp_path / "s").stat().st_ino == (tmp_path / "t").stat().st_ino
    assert link_or_copy(tmp_path / "s", tmp_path / "t", digest_bytes(b"abc"), what="s")
    assert sorted(os.listdir(tmp_path)) == ["s", "t"]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
def test_where_no_link_is_possible_a_checked_copy_is_made(tmp_path, monkeypatch, code):
    (tmp_path / "s").write_bytes(BIG)

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    old = os.umask(0o077)
    try:
        assert not link_or_copy(tmp_path / "s", tmp_path / "t", digest_bytes(BIG), what="s")
    finally:
        os.umask(old)
    assert (tmp_path / "t").read_bytes() == BIG
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o444
    with pytest.raises(IntegrityError, match="digest"):
        link_or_copy(tmp_path / "s", tmp_path / "u", digest_bytes(b"other"), what="s")
    assert sorted(os.listdir(tmp_path)) == ["s", "t"]


def test_a_disk_that_fails_leaves_no_temporary_file(tmp_path, monkeypatch):
    (tmp_path / "s").write_bytes(b"abc")

    def fail(*_, **__):
        raise OSError(errno.EIO, "boom")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="boom"):
        link_or_copy(tmp_path / "s", tmp_path / "t", digest_bytes(b"abc"), what="s")
    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OSError, match="boom"):
        link_or_copy(tmp_path / "s", tmp_path / "t", digest_bytes(b"abc"), what="s")
    assert os.listdir(tmp_path) == ["s"]
