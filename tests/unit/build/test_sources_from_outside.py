"""Folders that are given, entries of versions, files without a digest, layers of images."""

from __future__ import annotations

import os
import subprocess

import pytest

from kata_bundle.build.checkouts import checkout_tree, parse_given, put_tree_files
from kata_bundle.build.fetch import download_whole
from kata_bundle.build.fetchlock import FILE_NAME, FetchPin, load_fetch_lock, write_fetch_lock
from kata_bundle.build.ociimage import lay_over
from kata_bundle.build.versionsfile import load_versions
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import BuildError, FindingsError, IntegrityError, LockError, RemoteError, UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Symlink, Tree
from kata_bundle.store import Store


def git(folder, *words):
    settings = ("-c", "user.name=n", "-c", "user.email=e", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *settings, "-C", folder, *words], check=True, capture_output=True)


@pytest.fixture
def work_tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "src").mkdir(parents=True)
    (folder / "src/main.c").write_text("int main;")
    (folder / "build.sh").write_text("#!/bin/sh\n")
    (folder / "build.sh").chmod(0o755)
    (folder / "link").symlink_to("src/main.c")
    (folder / ".gitignore").write_text("*.o\n")
    (folder / "src/main.o").write_text("object")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    return folder


def files(tree):
    return [path for path, entry in tree.entries.items() if not isinstance(entry, Directory)]


def test_what_git_ignores_is_not_there_and_what_it_does_not_know_yet_is(work_tree):
    (work_tree / "new.c").write_text("new")
    tree = checkout_tree(work_tree, name="kata")
    assert files(tree) == [".gitignore", "build.sh", "link", "new.c", "src/main.c"]
    assert tree.entries[RelPath("build.sh")].mode == 0o755
    assert tree.entries[RelPath("link")] == Symlink(target="src/main.c")


def test_neither_place_nor_dates_nor_commits_count(work_tree, tmp_path):
    before = checkout_tree(work_tree, name="kata").digest
    git(work_tree, "commit", "-q", "-m", "m")
    os.utime(work_tree / "build.sh", (1, 1))
    moved = work_tree.rename(tmp_path / "elsewhere")
    assert checkout_tree(moved, name="other").digest == before
    (moved / "src/main.c").write_text("int main();")
    assert checkout_tree(moved, name="kata").digest != before


def test_a_tracked_file_that_was_removed_is_not_there(work_tree):
    (work_tree / "build.sh").unlink()
    assert "build.sh" not in files(checkout_tree(work_tree, name="kata"))


def test_a_submodule_that_is_checked_out_counts_by_its_content(work_tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "lib.c").write_text("lib")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "m")
    git(work_tree, "submodule", "--quiet", "add", str(other), "sub")
    (work_tree / "sub/extra.c").write_text("extra")
    assert {"sub/lib.c", "sub/extra.c"} <= set(files(checkout_tree(work_tree, name="kata")))


def test_of_a_plain_folder_every_file_counts(work_tree):
    subprocess.run(["rm", "-rf", work_tree / ".git"], check=True)
    assert "src/main.o" in files(checkout_tree(work_tree, name="crates"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd"])
def test_links_that_lead_out_are_refused(work_tree, target):
    (work_tree / "out").symlink_to(target)
    with pytest.raises(BuildError, match='source "kata", "out"'):
        checkout_tree(work_tree, name="kata")


def test_devices_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(BuildError, match="holds no file"):
        checkout_tree(tmp_path, name="kata")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BuildError, match='"pipe" is neither a file nor a link'):
        checkout_tree(tmp_path, name="kata")


def test_a_file_that_changed_since_it_was_read_is_noticed(work_tree, tmp_path):
    tree = checkout_tree(work_tree, name="kata")
    (work_tree / "src/main.c").write_text("int other;")
    with pytest.raises(IntegrityError):
        put_tree_files(tree, work_tree, Store(tmp_path / "store", durable=False))


def test_words_that_name_no_source_are_refused(tmp_path):
    assert parse_given([f"kata={tmp_path}"]) == {"kata": tmp_path}
    for word in ("kata", "=x", "kata=", f"kata={tmp_path}/none"):
        with pytest.raises(UsageError):
            parse_given([word])
    with pytest.raises(UsageError, match="given twice"):
        parse_given([f"kata={tmp_path}", "kata=/"])


@pytest.fixture
def versions(tmp_path):
    (tmp_path / "VERSION").write_text("3.32.0\n")
    (tmp_path / "versions.yaml").write_text(
        'assets:\n  kernel:\n    url: "https://a.example/v6.x/"\n    version: "v6.18"\n    nvidia:\n      version: "v6.17"\n'
    )
    return load_versions(tmp_path)


def test_an_entry_takes_what_it_lacks_from_the_one_around_it(versions):
    assert versions.entry("assets.kernel") == ("https://a.example/v6.x/", "v6.18")
    assert versions.entry("assets.kernel.nvidia") == ("https://a.example/v6.x/", "v6.17")
    assert versions.text("assets.kernel.version") == "v6.18"
    assert versions.text("VERSION") == "3.32.0"


def test_a_key_that_is_not_there_is_named_with_its_place_and_the_nearest(versions, tmp_path):
    with pytest.raises(FindingsError, match=r'versions\.yaml:2:3: assets\.kernel has no key "verzion"') as caught:
        versions.text("assets.kernel.verzion")
    assert caught.value.hint == 'did you mean "version"?'
    with pytest.raises(FindingsError, match="is no text"):
        versions.text("assets.kernel")
    (tmp_path / "versions.yaml").unlink()
    with pytest.raises(FindingsError, match="does not exist"):
        load_versions(tmp_path)


def test_the_lock_of_files_reads_back_and_what_is_none_is_refused(tmp_path):
    pin = FetchPin(entry="assets.kernel", file="linux-6.18.tar.xz", size_bytes=3, digest=digest_bytes(b"abc"))
    assert load_fetch_lock(tmp_path) == {}
    write_fetch_lock(tmp_path, [pin])
    assert load_fetch_lock(tmp_path) == {("assets.kernel", "linux-6.18.tar.xz"): pin}
    text = (tmp_path / FILE_NAME).read_text()
    for wrong in ("version = 2\n", "x", text + text.partition("version = 1\n")[2], text.replace("sha256", "sha512")):
        (tmp_path / FILE_NAME).write_text(wrong)
        with pytest.raises(LockError):
            load_fetch_lock(tmp_path)


def test_nothing_answers_is_one_error_with_every_address(tmp_path):
    urls = ("http://127.0.0.1:9/a", "http://127.0.0.1:9/b")
    with pytest.raises(RemoteError) as caught:
        download_whole(urls, tmp_path / "file", what="a", max_bytes=10, progress=NO_PROGRESS)
    assert all(url in str(caught.value) for url in urls)


def file(text):
    return File(mode=0o644, size_bytes=len(text), digest=digest_bytes(text.encode()))


def layer(**entries):
    return Tree.of({RelPath(path.replace("__", "/")): entry for path, entry in entries.items()})


def laid(*layers):
    entries = {}
    for one in layers:
        lay_over(entries, one, what="image")
    return [path for path, entry in sorted(entries.items()) if not isinstance(entry, Directory)]


def test_whiteouts_remove_what_lies_below_and_nothing_of_their_own_layer():
    base = layer(a__x=file("1"), a__y=file("2"), b__z=file("3"))
    assert laid(base, layer(**{"a__.wh.x": file("")})) == ["a/y", "b/z"]
    assert laid(base, layer(**{".wh.a": file("")})) == ["b/z"]
    assert laid(base, layer(**{"a__.wh..wh..opq": file(""), "a__new": file("4")})) == ["a/new", "b/z"]


def test_files_replace_folders_and_paths_through_links_are_refused():
    base = layer(a__x=file("1"))
    assert laid(base, layer(a=file("2"))) == ["a"]
    with pytest.raises(IntegrityError, match='has a folder "a", which is a link'):
        laid(layer(a=Symlink(target="/etc")), layer(a__passwd=file("x")))
