from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink
from kata_bundle.store import Store


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "in"
    (top / "bin").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o700)
    (top / "bin" / "tool").write_bytes(b"tool")
    (top / "bin" / "tool").chmod(0o755)
    os.link(top / "bin" / "tool", top / "alias")
    (top / "link").symlink_to("bin/../bin/tool")
    (top / "dangling").symlink_to("/opt/kata/nowhere")
    (top / "config").write_bytes(b"")
    (top / "config").chmod(0o600)
    for path in (top, top / "bin"):
        path.chmod(0o755)
    return top


def test_a_folder_becomes_a_tree_with_its_files_stored(store, folder):
    tree = store.ingest_directory(folder)
    tool = digest_bytes(b"tool")
    assert dict(tree.entries) == {
        "alias": File(mode=0o755, size_bytes=4, digest=tool),
        "bin": Directory(mode=0o755),
        "bin/tool": Hardlink(target="alias"),
        "config": File(mode=0o600, size_bytes=0, digest=digest_bytes(b"")),
        "dangling": Symlink(target="/opt/kata/nowhere"),
        "empty": Directory(mode=0o700),
        "link": Symlink(target="bin/../bin/tool"),
    }
    assert store.get_tree(tree.digest) == tree
    assert store.has_tree(tree.digest)
    assert store.read(tool) == b"tool"


def test_the_source_is_neither_linked_nor_changed(store, folder):
    before = {path: path.lstat() for path in folder.rglob("*")}
    store.ingest_directory(folder)
    after = {path: path.lstat() for path in folder.rglob("*")}
    fields = ("st_mode", "st_nlink", "st_mtime_ns", "st_ctime_ns", "st_ino")
    assert {p: [getattr(s, f) for f in fields] for p, s in before.items()} == {
        p: [getattr(s, f) for f in fields] for p, s in after.items()
    }


def test_the_same_content_elsewhere_is_the_same_tree(store, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy" / "alias").unlink()
    os.link(tmp_path / "copy" / "bin" / "tool", tmp_path / "copy" / "alias")
    os.utime(tmp_path / "copy" / "config", (5, 5))
    assert store.ingest_directory(tmp_path / "copy") == store.ingest_directory(folder)


def test_a_hard_link_from_outside_is_an_ordinary_file(store, folder, tmp_path):
    os.link(folder / "config", tmp_path / "outside")
    assert isinstance(store.ingest_directory(folder).entries["config"], File)


def test_set_id_and_sticky_bits_are_dropped(store, folder):
    (folder / "bin" / "tool").chmod(0o6755)
    (folder / "empty").chmod(0o3777)
    tree = store.ingest_directory(folder)
    assert tree.entries["alias"].mode == 0o755
    assert tree.entries["empty"].mode == 0o777


def test_names_of_any_bytes_are_kept(store, folder):
    with open(os.fsencode(folder) + b"/caf\xe9", "wb") as stream:
        stream.write(b"x")
    tree = store.ingest_directory(folder)
    assert os.fsdecode(b"caf\xe9") in tree.entries
    assert store.get_tree(tree.digest) == tree


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_what_no_component_may_hold_is_named(store, folder, kind, monkeypatch):
    monkeypatch.chdir(folder)
    match kind:
        case "FIFO":
            os.mkfifo("odd")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("odd")
        case "device":
            try:
                os.mknod("odd", 0o20600, os.makedev(1, 3))
            except PermissionError:
                pytest.skip("making a device node needs CAP_MKNOD")
    with pytest.raises(IntegrityError, match=f'"odd" in .* is a {kind}'):
        store.ingest_directory(folder)
    assert list(store.digests()) == []


def test_a_folder_that_is_not_there_is_an_error(store, tmp_path):
    with pytest.raises(IntegrityError, match="is not there"):
        store.ingest_directory(tmp_path / "absent")


def test_a_file_as_folder_is_an_error(store, folder):
    with pytest.raises(IntegrityError, match="is not a folder"):
        store.ingest_directory(folder / "config")


def test_an_empty_folder_is_an_empty_tree(store, tmp_path):
    (tmp_path / "e").mkdir()
    assert dict(store.ingest_directory(tmp_path / "e").entries) == {}


def test_progress_covers_each_inode_once(store, folder):
    class Recorder:
        def __init__(self):
            self.events = []

        def start(self, task, total, unit="bytes"):
            self.events.append("start")

        def advance(self, task, amount):
            self.events.append(amount)

        def finish(self, task):
            self.events.append("finish")

        def note(self, message): ...

    recorder = Recorder()
    store.ingest_directory(folder, progress=recorder)
    assert recorder.events == ["start", 4, 0, "finish"]


def test_a_tree_does_not_depend_on_the_locale(tmp_path):
    """In a Latin-1 locale Python reads the two bytes of an UTF-8 "ü" as two letters."""
    done = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", "--no-archive", tmp_path / "latin"], capture_output=True, check=False
    ) if shutil.which("localedef") else None  # fmt: skip
    if done is None or not (tmp_path / "latin").is_dir():
        pytest.skip("no localedef, or no locale sources to make a Latin-1 locale from")
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "ü").write_text("x")
    (folder / "link").symlink_to("ü")
    code = (
        "import sys; from pathlib import Path; from kata_bundle.store import Store; "
        "print(sys.getfilesystemencoding(), Store(Path(sys.argv[1])).ingest_directory(Path(sys.argv[2])).digest)"
    )
    seen = []
    for number, locale in enumerate(("C.UTF-8", "latin")):
        environment = {**os.environ, "LC_ALL": locale, "LOCPATH": str(tmp_path), "PYTHONUTF8": "0"}
        argv = [sys.executable, "-c", code, str(tmp_path / f"store{number}"), str(folder)]
        seen.append(subprocess.run(argv, capture_output=True, text=True, check=True, env=environment).stdout.split())
    if [encoding for encoding, _ in seen] != ["utf-8", "iso8859-1"]:
        pytest.skip(f"the Latin-1 locale that localedef made is not used here: {seen}")
    assert seen[0][1] == seen[1][1] == Store(tmp_path / "store0").ingest_directory(folder).digest
