"""The store as its users see it, on a real disk."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import threading

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import CHUNK_SIZE, digest_bytes
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.record import replace
from kata_bundle.core.tree import Directory, File, Tree
from kata_bundle.store import ActionResult, Store
from tests.support.bundles import CREATED, RECIPE, add_layer

BIG = os.urandom(CHUNK_SIZE * 3 + 5)
KEY = digest_bytes(b"key")


def corrupt(store, digest):
    path = store.path(digest)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def leftovers(store):
    return os.listdir(store.root / "tmp")


# Where it is


def test_it_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KATA_BUNDLE_STORE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Store.default_root() == tmp_path / ".cache/kata-bundle/store"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert Store.default_root() == tmp_path / ".cache/kata-bundle/store"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert str(Store.default_root()) == "/var/xdg/kata-bundle/store"
    monkeypatch.setenv("KATA_BUNDLE_STORE", "")
    assert str(Store.default_root()) == "/var/xdg/kata-bundle/store"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KATA_BUNDLE_STORE", "here")
    assert Store.default_root() == tmp_path / "here"


def test_without_a_home_it_asks_for_a_folder(monkeypatch):
    for name in ("KATA_BUNDLE_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kata_bundle.store.store.Path.home", lambda: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(UsageError, match="no home folder"):
        Store.default_root()


def test_a_strangers_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_bytes(b"")
    with pytest.raises(UsageError, match="not a store"):
        Store(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(UsageError, match="not a store"):
        Store(tmp_path / "thesis.tex")


def test_a_store_of_another_format_is_refused(store):
    (store.root / "version").write_text("kata-bundle-store 2\n")
    with pytest.raises(UsageError, match="not a store of this version"):
        Store(store.root)


def test_a_store_that_is_only_looked_at_is_not_made(tmp_path):
    root = tmp_path / "none"
    store = Store(root, create=False)
    digest = digest_bytes(b"x")
    assert (store.has(digest), store.get_result(digest), list(store.digests()), list(store.layers())) == (False, None, [], [])
    assert store.roots() == {}
    with pytest.raises(IntegrityError, match="is not in the store"):
        store.open(digest)
    assert not root.exists()
    (tmp_path / "letter").touch()
    with pytest.raises(UsageError, match="is not a store"):
        Store(tmp_path, create=False)


def test_a_store_left_half_made_or_with_a_folder_removed_works(store):
    (store.root / "tmp").rmdir()
    Store(store.root).put_bytes(b"x")
    (store.root / "version").unlink()
    (store.root / "version.tmp-1-00").write_bytes(b"half")
    assert Store(store.root).has(digest_bytes(b"x"))


def test_it_may_be_a_link_to_where_there_is_room(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "store").symlink_to("big")
    Store(tmp_path / "store").put_bytes(b"x")
    assert (tmp_path / "big" / "blobs").is_dir()


def test_modes_do_not_depend_on_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        store = Store(tmp_path / "a" / "store")
        store.put_bytes(b"x")
        add_layer(store, "kernel", Arch.X86_64)
        store.set_root("r", [KEY])
        with store.lock("l"):
            pass
    finally:
        os.umask(old)
    for path in [store.root, *store.root.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_dir():
            assert mode == 0o755, path
        else:
            assert mode == (0o444 if "blobs" in path.parts else 0o644), path


# Blobs


@pytest.mark.parametrize("data", [b"", b"x", BIG[:CHUNK_SIZE], BIG[: CHUNK_SIZE - 1], BIG], ids=len)
def test_what_is_put_can_be_read(store, tmp_path, data):
    (tmp_path / "f").write_bytes(data)
    expected = digest_bytes(data)
    assert store.put_stream(io.BytesIO(data), expected) == (expected, len(data))
    assert store.put_file(tmp_path / "f") == (expected, len(data))
    assert store.put_file(tmp_path / "f", expected) == (expected, len(data))
    assert store.put_bytes(data) == expected
    assert store.has(expected)
    assert store.size(expected) == len(data)
    assert store.read(expected) == data
    assert store.verified_path(expected).read_bytes() == data
    assert list(store.digests()) == [expected]
    assert leftovers(store) == []


def test_a_put_file_is_a_copy(store, tmp_path):
    (tmp_path / "f").write_bytes(BIG)
    digest, _ = store.put_file(tmp_path / "f")
    assert (tmp_path / "f").stat().st_nlink == 1
    (tmp_path / "f").write_bytes(b"changed")
    assert store.read(digest) == BIG


def test_content_that_is_not_what_was_expected_is_not_stored(store, tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    for call in (
        lambda: store.put_file(tmp_path / "f", KEY),
        lambda: store.put_stream(io.BytesIO(b"abc"), KEY),
        lambda: store.put_stream(io.BytesIO(BIG), KEY),
    ):
        with pytest.raises(IntegrityError, match=f"expected {KEY}"):
            call()
    assert list(store.digests()) == []
    assert leftovers(store) == []


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("/etc/passwd"), os.mkfifo, lambda p: p.mkdir()])
def test_only_regular_files_are_put(store, tmp_path, make):
    make(tmp_path / "f")
    with pytest.raises(IntegrityError, match=r"regular file"):
        store.put_file(tmp_path / "f")


def test_a_stream_that_fails_leaves_nothing(store):
    class Broken:
        def __init__(self):
            self.left = 3

        def read(self, size=-1, /):
            self.left -= 1
            if not self.left:
                raise OSError(errno.EIO, "cable")
            return b"x" * 1000

    with pytest.raises(OSError, match="cable"):
        store.put_stream(Broken())
    assert (list(store.digests()), leftovers(store)) == ([], [])


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "rename"])
def test_a_disk_that_fails_publishes_nothing_and_leaves_nothing(tmp_path, monkeypatch, call):
    store = Store(tmp_path / "store")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    target = "kata_bundle.store.blobs._HashingFile.write" if call == "write" else f"os.{call}"
    monkeypatch.setattr(target, fail)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no space"):
        store.put_bytes(BIG)
    monkeypatch.undo()
    assert (list(store.digests()), leftovers(store)) == ([], [])
    assert len(os.listdir("/proc/self/fd")) == before
    assert store.read(store.put_bytes(BIG)) == BIG


def test_a_blob_is_flushed_read_only_and_closed_before_it_has_its_name(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    steps = []
    real_rename, real_fsync = os.rename, os.fsync

    def rename(old, new):
        opened = [
            os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")
        ]
        steps.append(("rename", oct(os.stat(old).st_mode & 0o777), os.path.getsize(old), str(old) in opened))
        real_rename(old, new)

    def fsync(fd):
        if stat.S_ISREG(os.fstat(fd).st_mode):
            steps.append(("fsync", os.fstat(fd).st_size))
        real_fsync(fd)

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "fsync", fsync)
    store.put_bytes(BIG)
    assert steps == [("fsync", len(BIG)), ("rename", "0o444", len(BIG), False)]


def test_an_equal_blob_is_not_written_again_and_gets_a_new_date(store):
    digest = store.put_bytes(b"x")
    os.utime(store.path(digest), (1, 1))
    inode = store.path(digest).stat().st_ino
    store.put_bytes(b"x")
    store.put_stream(io.BytesIO(b"x"))
    assert store.path(digest).stat().st_ino == inode
    assert store.path(digest).stat().st_mtime > 1


def test_a_blob_of_the_wrong_length_is_replaced_by_the_next_put(store):
    digest = store.put_bytes(b"abc")
    store.path(digest).unlink()
    store.path(digest).write_bytes(b"")
    store.put_bytes(b"abc")
    assert store.read(digest) == b"abc"


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_a_blob_taken_away_while_it_is_put_is_written_again_and_a_strangers_is_used(store, monkeypatch, error):
    digest = store.put_bytes(b"x")

    def utime(path):
        if error is FileNotFoundError:
            os.unlink(path)
        raise error

    monkeypatch.setattr(os, "utime", utime)
    assert store.put_bytes(b"x") == digest
    assert store.read(digest) == b"x"


def test_a_second_reader_of_a_corrupt_blob_is_told_that_it_is_set_aside(store):
    digest = store.put_bytes(BIG)
    corrupt(store, digest)
    with store.open(digest) as first, store.open(digest) as second:
        with pytest.raises(IntegrityError, match="has digest"):
            first.read()
        with pytest.raises(IntegrityError) as caught:
            second.read()
    assert "already set aside" in (caught.value.hint or "")
    assert len(os.listdir(store.root / "quarantine")) == 1


def test_a_corrupt_blob_goes_to_quarantine_is_named_and_can_be_put_again(store):
    digest = store.put_bytes(BIG)
    corrupt(store, digest)
    path = store.path(digest)
    with pytest.raises(IntegrityError, match=str(path)) as caught:
        store.read(digest)
    (name,) = os.listdir(store.root / "quarantine")
    assert name.startswith(digest.split(":")[1])
    assert name in (caught.value.hint or "")
    assert not store.has(digest)
    with pytest.raises(IntegrityError, match="is not in the store"):
        store.read(digest)
    assert store.put_bytes(BIG) == digest
    assert store.read(digest) == BIG


def test_a_reader_of_a_corrupt_blob_does_not_take_away_a_good_one_put_meanwhile(store):
    digest = store.put_bytes(BIG)
    corrupt(store, digest)
    with store.open(digest) as stream:
        stream.read(10)
        store.path(digest).unlink()
        store.put_bytes(BIG)
        with pytest.raises(IntegrityError):
            stream.read()
    assert store.read(digest) == BIG
    assert os.listdir(store.root / "quarantine") == []


def test_a_good_blob_put_at_the_last_instant_is_given_back(store, monkeypatch):
    digest = store.put_bytes(BIG)
    corrupt(store, digest)
    real = os.rename

    def rename(old, new):
        if "quarantine" in str(new):
            monkeypatch.setattr(os, "rename", real)
            os.unlink(old)
            store.put_bytes(BIG)
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(IntegrityError) as caught:
        store.read(digest)
    assert caught.value.hint == "it was replaced while it was read; try again"
    assert store.read(digest) == BIG
    assert os.listdir(store.root / "quarantine") == []


def test_where_quarantine_is_impossible_the_error_says_what_to_remove(store, monkeypatch):
    digest = store.put_bytes(BIG)
    corrupt(store, digest)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(IntegrityError) as caught:
        store.read(digest)
    assert caught.value.hint == f"it could not be moved to quarantine (Read-only file system); remove {store.path(digest)}"


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("/etc/passwd"), lambda p: p.mkdir(), os.mkfifo])
def test_what_is_no_regular_file_is_no_blob(store, make):
    make(store.path(KEY))
    assert not store.has(KEY)
    with pytest.raises(IntegrityError, match="regular file"):
        store.open(KEY)


# Writers and batches


def test_a_writer_left_unpublished_drops_its_blob(store):
    with store.new_blob() as blob:
        blob.sink.write(BIG)
    with contextlib.suppress(KeyError), store.new_blob() as blob:
        blob.sink.write(b"x")
        raise KeyError
    assert (list(store.digests()), leftovers(store)) == ([], [])


def test_a_writer_publishes_once(store):
    with store.new_blob() as blob:
        blob.sink.write(b"x")
        assert blob.publish() == (digest_bytes(b"x"), 1)
        with pytest.raises(ValueError, match="published once"):
            blob.publish()


def test_a_writer_cannot_seek(store):
    with store.new_blob() as blob:
        blob.sink.write(b"x")
        assert not blob.sink.seekable()
        with pytest.raises(OSError, match="seek"):
            blob.sink.seek(0)


def test_a_batch_publishes_at_its_end_and_before_it_holds_too_many_files(store, tmp_path):
    (tmp_path / "f").write_bytes(BIG)
    with store.batch() as batch:
        first = batch.put_bytes(b"first")
        assert not store.has(first)
        for number in range(300):
            batch.put_bytes(str(number).encode())
            assert len(leftovers(store)) <= 128
        digest, _ = batch.put_file(tmp_path / "f")
        batch.put_file(tmp_path / "f")
    assert store.has(first)
    assert store.has(digest)
    assert len(list(store.digests())) == 302
    assert leftovers(store) == []


def test_a_batch_that_is_left_by_an_error_drops_what_has_no_name(store):
    with contextlib.suppress(KeyError), store.batch() as batch:
        batch.put_bytes(b"x")
        raise KeyError
    assert (list(store.digests()), leftovers(store)) == ([], [])


def test_a_batch_goes_on_after_content_that_was_not_expected(store):
    with store.batch() as batch:
        batch.put_bytes(b"a")
        with pytest.raises(IntegrityError):
            batch.put_stream(io.BytesIO(b"b"), KEY)
        batch.put_bytes(b"c")
    assert sorted(store.digests()) == sorted([digest_bytes(b"a"), digest_bytes(b"c")])


# Trees and records


def test_trees_are_found_by_their_digest(store):
    tree = Tree.of({"a/b": File(mode=0o644, size_bytes=1, digest=digest_bytes(b"x")), "d": Directory()})
    assert store.put_tree(tree) == tree.digest
    assert store.get_tree(tree.digest) == tree
    assert store.missing_files(tree) == (digest_bytes(b"x"),)
    assert not store.has_tree(tree.digest)
    store.put_bytes(b"x")
    assert store.has_tree(tree.digest)
    with pytest.raises(IntegrityError, match=r"tree sha256:.* is not"):
        store.get_tree(store.put_bytes(b"{}\n"))


def result_of(store, content=b"x"):
    tree = Tree.of({"f": File(mode=0o644, size_bytes=len(content), digest=store.put_bytes(content))})
    return ActionResult(tree=store.put_tree(tree), origin="deb", version="1", hermetic=True, ingredients={"rule": "sha256:0"})


def test_a_result_is_found_by_its_key_and_replaced(store):
    assert store.get_result(KEY) is None
    for content in (b"x", b"y"):
        store.put_result(KEY, result_of(store, content))
        assert Store(store.root).get_result(KEY) == result_of(store, content)


def test_a_result_whose_files_are_gone_is_not_found(store):
    result = result_of(store)
    store.put_result(KEY, result)
    store.path(digest_bytes(b"x")).unlink()
    assert store.get_result(KEY) is None
    store.put_bytes(b"x")
    store.path(result.tree).unlink()
    assert store.get_result(KEY) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other name", "link", "huge"])
def test_a_damaged_record_goes_to_quarantine_and_is_named(store, damage):
    store.put_result(KEY, result_of(store))
    path = store.root / "actions" / KEY.split(":")[1]
    data = path.read_bytes()
    key = KEY
    match damage:
        case "flip":
            path.write_bytes(data.replace(b'"hermetic":true', b'"hermetic":false'))
        case "cut":
            path.write_bytes(data[:-10])
        case "empty":
            path.write_bytes(b"")
        case "huge":
            path.write_bytes(data + b" " * (17 << 20))
        case "other name":
            key = digest_bytes(b"another key")
            path = path.rename(path.parent / key.split(":")[1])
        case "link":
            path.rename(store.root / "tmp" / "x")
            path.symlink_to(store.root / "tmp" / "x")
    with pytest.raises(IntegrityError, match=str(path)):
        store.get_result(key)
    if damage != "link":  # nothing of ours: it is refused where it is
        assert len(os.listdir(store.root / "quarantine")) == 1
        assert store.get_result(key) is None


def test_a_record_is_durable_only_after_its_blobs_are(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    result = result_of(store)
    order = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    store.put_result(KEY, result)
    assert order[0] == str(store.root / "blobs" / "sha256")
    assert order[1].startswith(str(store.root / "actions"))
    del order[:]
    store.put_result(KEY, result)
    assert all("blobs" not in path for path in order), "nothing new to flush"


def test_a_flush_that_failed_is_tried_again_before_the_next_record(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    result = result_of(store)
    real, failures = os.fsync, [OSError(errno.EIO, "disk")]

    def fsync(fd):
        if failures:
            raise failures.pop()
        flushed.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    flushed = []
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="disk"):
        store.put_result(KEY, result)
    assert store.get_result(KEY) is None
    store.put_result(KEY, result)
    assert flushed[0] == str(store.root / "blobs" / "sha256")


def test_a_layer_is_found_by_what_decides_its_bytes(store):
    record = add_layer(store, "kernel", Arch.X86_64)
    find = store.find_layer
    assert find("kernel", record.tree, RECIPE, source_date=CREATED) == record
    assert find("kernel", record.tree, dict(reversed(RECIPE.items())), source_date=CREATED, arch=Arch.X86_64) == record
    assert find("kernel", record.tree, RECIPE, source_date=CREATED + 1) is None
    assert find("kernel", record.tree, RECIPE) is None
    assert find("kernel", record.tree, {**RECIPE, "level": 4}, source_date=CREATED) is None
    assert find("kernel", record.tree, None, source_date=CREATED) is None
    assert find("kernel", record.packed, RECIPE, source_date=CREATED) is None
    assert find("qemu", record.tree, RECIPE, source_date=CREATED) is None
    assert find("kernel", record.tree, RECIPE, source_date=CREATED, arch=Arch.S390X) is None


def test_equal_layers_of_two_architectures_are_both_remembered(store):
    one = add_layer(store, "ovmf", Arch.X86_64, b"same")
    two = add_layer(store, "ovmf", Arch.AARCH64, b"same")
    assert one.packed == two.packed
    assert list(store.layers("ovmf")) == [two, one]
    assert store.find_layer("ovmf", one.tree, RECIPE, source_date=CREATED, arch=Arch.X86_64) == one
    assert store.find_layer("ovmf", one.tree, RECIPE, source_date=CREATED) == two


def test_a_foreign_layer_has_no_recipe(store):
    record = replace(add_layer(store, "kernel", Arch.X86_64), recipe=None, origin="foreign", source_date=None, version=None)
    store.put_layer(record)
    assert store.find_layer("kernel", record.tree, None) == record


def test_a_layer_without_its_blob_is_neither_remembered_nor_found(store):
    record = add_layer(store, "kernel", Arch.X86_64)
    add_layer(store, "qemu", Arch.X86_64)
    store.path(record.packed).unlink()
    assert [layer.component for layer in store.layers()] == ["qemu"]
    assert store.find_layer("kernel", record.tree, RECIPE, source_date=CREATED) is None
    with pytest.raises(IntegrityError, match=r'layer "kernel": blob .* is not in the store'):
        store.put_layer(record)


def test_a_layer_can_be_forgotten(store):
    record = add_layer(store, "kernel", Arch.X86_64)
    assert store.drop_layer(record)
    assert not store.drop_layer(record)
    assert list(store.layers()) == []
    assert store.has(record.packed)


def test_a_damaged_record_that_cannot_be_moved_is_named(store, monkeypatch):
    store.put_result(KEY, result_of(store))
    path = store.root / "actions" / KEY.split(":")[1]
    path.write_bytes(b"")

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(IntegrityError) as caught:
        store.get_result(KEY)
    assert caught.value.hint == f"it could not be moved to quarantine (Read-only file system); remove {path}"


def test_files_that_are_no_records_are_not_listed(store):
    record = add_layer(store, "kernel", Arch.X86_64)
    for name in (".hidden", "x86_64.1.tmp-33-ab", "with space", "..double"):
        (store.root / "refs" / "layer" / "kernel" / name).write_bytes(b"")
    assert list(store.layers()) == [record]


def test_roots_are_listed_with_what_they_keep(store):
    digests = [digest_bytes(b"b"), digest_bytes(b"a"), digest_bytes(b"a")]
    store.set_root("bundles/v1.0", digests)
    store.set_root("other", [])
    assert store.roots() == {"bundles/v1.0": tuple(sorted(set(digests))), "other": ()}
    assert store.drop_root("other")
    assert not store.drop_root("other")
    assert list(store.roots()) == ["bundles/v1.0"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/../b", "/a", "a//b", "a/", ".hidden", "a.tmp-1", "a b", "a\n", "x" * 300]
)
def test_a_name_that_would_leave_its_folder_or_hide_is_refused(store, name):
    with pytest.raises(IntegrityError, match="cannot name a record"):
        store.set_root(name, [])


# Housekeeping


def test_a_lock_is_held_against_other_threads(store):
    order = []
    inside = threading.Event()

    def other():
        inside.wait()
        with store.lock("build"):
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with store.lock("build"):
        inside.set()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_a_large_file_that_grows_or_shrinks_while_it_is_stored_is_stored_as_read(store, tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"x" * 10)
    real = os.fstat

    def fstat(fd):  # the size seen first is small, the content large
        monkeypatch.setattr(os, "fstat", real)
        status = real(fd)
        (tmp_path / "f").write_bytes(BIG)
        return status

    import kata_bundle.store.batch as module

    monkeypatch.setattr(module, "open_blob_file", lambda path, what: os.open(path, os.O_RDONLY))
    monkeypatch.setattr(os, "fstat", fstat)
    assert store.put_file(tmp_path / "f") == (digest_bytes(BIG), len(BIG))


def test_sweeping_takes_what_dead_writers_left_and_nothing_else(store):
    dead = store.root / "tmp" / "123-dead"
    dead.write_bytes(b"x" * 100)
    os.utime(dead, (1, 1))
    (store.root / "tmp" / "young").write_bytes(b"just made, not locked yet")
    (store.root / "tmp" / "folder").mkdir()
    with store.new_blob() as blob:
        blob.sink.write(BIG)
        blob.sink.flush()
        (mine,) = set(leftovers(store)) - {"123-dead", "young", "folder"}
        os.utime(store.root / "tmp" / mine, (1, 1))
        assert store.sweep() == 100
        assert sorted(leftovers(store)) == sorted([mine, "young", "folder"])
        digest, _ = blob.publish()
    assert store.read(digest) == BIG


def test_a_store_that_cannot_be_written_can_be_read(store):
    digest = store.put_bytes(b"x")
    record = add_layer(store, "kernel", Arch.X86_64)
    for path in [store.root, *store.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    reader = Store(store.root)
    assert reader.read(digest) == b"x"
    assert list(reader.layers()) == [record]
