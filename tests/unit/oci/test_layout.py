"""Image layouts on disk: what is refused, and in which order things are written."""

from __future__ import annotations

import errno
import os

import pytest

from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.oci import Descriptor, Layout, mediatypes

DATA = b"hello\n"
BLOB = Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=digest_bytes(DATA), size_bytes=len(DATA))


@pytest.fixture
def layout(tmp_path):
    made = Layout.create(tmp_path / "l")
    made.add_bytes(DATA, mediatypes.LAYER_ZSTD)
    made.write_index([])
    return made


def blob_file(layout, descriptor=BLOB):
    return layout.directory / "blobs" / "sha256" / hex_part(descriptor.digest)


def replace_blob(layout, data):
    blob_file(layout).unlink()
    blob_file(layout).write_bytes(data)


def test_a_new_layout_opens_only_after_its_index_is_written(tmp_path):
    layout = Layout.create(tmp_path / "new" / "l")
    layout.add_bytes(DATA, mediatypes.LAYER_ZSTD)
    with pytest.raises(IntegrityError, match="no OCI image layout, or an unfinished one"):
        Layout.open(layout.directory)
    layout.write_index([BLOB])
    assert Layout.open(layout.directory).index().manifests == (BLOB,)


def test_index_json_is_written_after_everything_else(tmp_path, monkeypatch):
    layout = Layout.create(tmp_path / "l")
    layout.add_bytes(DATA, mediatypes.LAYER_ZSTD)
    renamed = []
    real = os.rename
    monkeypatch.setattr(os, "rename", lambda a, b, **k: (renamed.append(os.path.basename(b)), real(a, b, **k)))
    layout.write_index([BLOB])
    assert renamed == ["oci-layout", "index.json"]


def test_modes_do_not_depend_on_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        layout = Layout.create(tmp_path / "l")
        layout.add_bytes(DATA, mediatypes.LAYER_ZSTD)
        layout.write_index([])
    finally:
        os.umask(old)
    modes = {
        os.path.relpath(path, tmp_path): oct(path.stat().st_mode & 0o777)
        for path in (layout.directory, *layout.directory.rglob("*"))
    }
    assert modes == {
        "l": "0o755",
        "l/blobs": "0o755",
        "l/blobs/sha256": "0o755",
        f"l/blobs/sha256/{hex_part(BLOB.digest)}": "0o444",
        "l/oci-layout": "0o644",
        "l/index.json": "0o644",
    }


def test_a_blob_is_linked_and_else_copied(layout, tmp_path, monkeypatch):
    data = os.urandom(1 << 20)
    source = tmp_path / "source"
    source.write_bytes(data)
    blob = Descriptor(media_type=mediatypes.LAYER_ZSTD, digest=digest_bytes(data), size_bytes=len(data))
    assert layout.add_blob(source, blob)
    assert layout.blob_path(blob).stat().st_ino == source.stat().st_ino

    def refuse(*_, **__):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    assert not layout.add_blob(source, blob)
    assert layout.blob_path(blob).stat().st_ino != source.stat().st_ino
    with layout.open_blob(blob) as stream:
        assert stream.read() == data


def test_a_source_that_is_missing_or_of_another_size_replaces_nothing(layout, tmp_path):
    with pytest.raises(IntegrityError, match="is missing"):
        layout.add_blob(tmp_path / "absent", BLOB)
    (tmp_path / "short").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="1 bytes, expected 6"):
        layout.add_blob(tmp_path / "short", BLOB)
    assert layout.read(BLOB, 10) == DATA


def test_a_layout_that_went_away_is_not_reported_as_a_missing_source(layout, tmp_path):
    (tmp_path / "s").write_bytes(DATA)
    blob_file(layout).unlink()
    (layout.directory / "blobs" / "sha256").rmdir()
    with pytest.raises(FileNotFoundError):
        layout.add_blob(tmp_path / "s", BLOB)


@pytest.mark.parametrize("data", [b"hellx\n", b"", b"hello", b"hello\n\n"])
def test_a_blob_that_is_not_what_its_descriptor_says_is_refused(layout, data):
    replace_blob(layout, data)
    with pytest.raises(IntegrityError, match=r"digest|bytes"):
        layout.read(BLOB, 100)


def test_a_missing_blob_is_named(layout):
    blob_file(layout).unlink()
    for call in (layout.open_blob, layout.blob_path):
        with pytest.raises(IntegrityError, match=f"{BLOB.digest} .*is missing"):
            call(BLOB)


@pytest.mark.parametrize("kind", ["link to the same content", "dangling link", "fifo", "folder", "folder link", "blobs link"])
def test_links_and_special_files_are_refused_at_every_step(layout, tmp_path, kind):
    path = blob_file(layout)
    match kind:
        case "link to the same content":
            path.rename(tmp_path / "real")
            path.symlink_to(tmp_path / "real")
        case "dangling link":
            path.unlink()
            path.symlink_to("/nonexistent")
        case "fifo":
            path.unlink()
            os.mkfifo(path)
        case "folder":
            path.unlink()
            path.mkdir()
        case "folder link":
            (layout.directory / "blobs" / "sha256").rename(tmp_path / "away")
            (layout.directory / "blobs" / "sha256").symlink_to(tmp_path / "away")
        case "blobs link":
            (layout.directory / "blobs").rename(tmp_path / "away")
            (layout.directory / "blobs").symlink_to(tmp_path / "away")
    for call in (layout.open_blob, layout.blob_path, lambda blob: layout.read(blob, 100)):
        with pytest.raises(IntegrityError, match=r"regular file|not a folder"):
            call(BLOB)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
@pytest.mark.parametrize("kind", ["missing", "link", "folder", "garbage", "huge", "empty"])
def test_a_broken_top_file_is_refused(layout, tmp_path, name, kind):
    path = layout.directory / name
    content = path.read_bytes()
    path.unlink()
    match kind:
        case "link":
            (tmp_path / "real").write_bytes(content)
            path.symlink_to(tmp_path / "real")
        case "folder":
            path.mkdir()
        case "garbage":
            path.write_bytes(b"\x00\xff{")
        case "huge":
            path.write_bytes(content + b" " * (5 << 20))
        case "empty":
            path.write_bytes(b"")
    with pytest.raises(IntegrityError):
        Layout.open(layout.directory)


def test_another_layout_version_is_refused(layout):
    (layout.directory / "oci-layout").write_bytes(b'{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(IntegrityError, match=r'"2\.0\.0"'):
        Layout.open(layout.directory)


@pytest.mark.parametrize("what", ["absent", "file"])
def test_what_is_no_folder_is_no_layout(tmp_path, what):
    if what == "file":
        (tmp_path / what).write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"is missing|not a folder"):
        Layout.open(tmp_path / what)


def test_documents_have_size_limits_and_the_right_media_type(layout):
    with pytest.raises(IntegrityError, match="more than the 5 allowed"):
        layout.read(BLOB, 5)
    for call in (layout.manifest, layout.read_index, layout.config):
        with pytest.raises(IntegrityError, match="has media type"):
            call(BLOB)
    docker = Descriptor(media_type=mediatypes.DOCKER_MANIFEST, digest=BLOB.digest, size_bytes=BLOB.size_bytes)
    with pytest.raises(IntegrityError) as caught:
        layout.manifest(docker)
    assert caught.value.hint == "it was converted to Docker's formats on its way"


def test_a_folder_with_other_files_is_never_taken_over(tmp_path):
    (tmp_path / "precious").write_bytes(b"x")
    with pytest.raises(UsageError, match='holds "precious"'):
        Layout.create(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        Layout.create(tmp_path / "precious")


def test_a_layout_of_several_images_is_never_taken_over(layout):
    layout.write_index([BLOB, BLOB])
    with pytest.raises(UsageError, match="several images"):
        Layout.create(layout.directory)


def test_links_inside_an_older_layout_are_not_written_through(layout, tmp_path):
    (tmp_path / "outside").mkdir()
    blob_file(layout).unlink()
    (layout.directory / "blobs" / "sha256").rmdir()
    (layout.directory / "blobs" / "sha256").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="file or link"):
        Layout.create(layout.directory)
    assert os.listdir(tmp_path / "outside") == []


def test_pruning_takes_what_is_not_kept_and_leaves_strangers(layout):
    folder = blob_file(layout).parent
    (folder / "0badf00d").write_bytes(b"not a blob's name")
    (folder / f"{hex_part(BLOB.digest)}.tmp-1-ab").write_bytes(b"left by a killed writer")
    other = layout.add_bytes(b"other", mediatypes.LAYER_ZSTD)
    layout.prune([other.digest])
    assert sorted(os.listdir(folder)) == sorted(["0badf00d", hex_part(other.digest)])
