"""The making commands with wrong input and on failing machines: one clear error, the right exit code, nothing half done.

All of it on one stand-in component, so that nothing is fetched.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from kata_bundle.oci import open_bundle, verify_layout
from tests.fixtures.cli import run_cli

# Where guest images are stand-ins: no image has to be made for the hash in a configuration.
BUNDLE = ("bundle", "--shim", "remote", "--arch", "ppc64le")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and become another user")


@pytest.fixture
def cli(tmp_path):
    """The command line in a folder of its own, on a store of its own beside it."""
    (tmp_path / "here").mkdir()

    def call(*argv, **settings):
        settings.setdefault("store", tmp_path / "store")
        settings.setdefault("cwd", tmp_path / "here")
        return run_cli(*argv, **settings)

    return call


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-o", ""], "an empty path"),
        (["--tarballs", ""], "an empty path"),
        (["-o", "out", "--lock", ""], "an empty path"),
        (["-o", "out", "--store", ""], "an empty path"),
        (["-o", "out", "--arch", ""], "no architecture named"),
        (["-o", "out", "--lock", "no/such/folder/lock"], "the folder of the lock no/such/folder/lock does not exist"),
        (["-o", "."], "the lock kata-bundle.lock would lie in the folder of the layout"),
        (["-o", "out", "--tarballs", "out"], "would lie in the folder of"),
        (["-o", "/dev/null"], "/dev/null is a file"),
        (["-o", "/dev/null/below"], "is a file"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_made(cli, tmp_path, argv, words):
    done = cli(*BUNDLE, *argv)
    assert (done.code, done.stdout) == (2, ""), done.stderr
    assert words in done.stderr
    assert os.listdir(tmp_path / "here") == []
    assert not (tmp_path / "store" / "actions").is_dir() or not os.listdir(tmp_path / "store" / "actions")


def test_a_file_that_is_no_lock_is_never_overwritten(cli, tmp_path):
    precious = tmp_path / "here" / "notes.txt"
    precious.write_text("precious")
    done = cli(*BUNDLE, "-o", "out", "--lock", "notes.txt")
    assert done.code == 4
    assert "notes.txt is not a lock" in done.stderr
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    "argv",
    [
        [*BUNDLE, "-o", "out", "--tarballs", "tarballs", "--dry-run"],
        ["build", "nydus", "--arch", "x86_64", "--dry-run"],
        ["store", "info"],
    ],
    ids=lambda argv: argv[0],
)
def test_looking_changes_nothing_at_all(cli, tmp_path, argv):
    cli(*argv).ok()
    assert os.listdir(tmp_path) == ["here"]
    assert os.listdir(tmp_path / "here") == []


def test_a_trial_import_leaves_no_store(cli, tmp_path):
    cli(*BUNDLE, "--tarballs", "tarballs", store=tmp_path / "other").ok()
    assert "1 would be imported" in cli("import", "tarballs", "--arch", "x86_64", "--dry-run").ok()
    assert not (tmp_path / "store").exists()


def test_a_disk_that_takes_no_more_is_told_with_the_place(cli, tmp_path):
    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    done = cli(*BUNDLE, "-o", "out", preexec_fn=no_large_files)
    assert done.code == 9, done.stderr
    assert f"error: File too large: {tmp_path}/store/" in done.stderr
    assert os.listdir(tmp_path / "store" / "tmp") == []
    cli(*BUNDLE, "-o", "out").ok()


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("full", ["store", "out", "tarballs"])
def test_a_full_disk_is_told_and_what_is_missing_made_later(cli, tmp_path, full):
    with mounted(tmp_path / "disk", "size=16k") as disk:
        places = {name: str(disk / name if name == full else tmp_path / name) for name in ("store", "out", "tarballs")}
        argv = ["bundle", "--shim", "remote", "--arch", "ppc64le,s390x", "-o", places["out"], "--tarballs", places["tarballs"]]
        done = cli(*argv, store=Path(places["store"]))
        assert done.code == 9, done.stderr
        assert f"error: No space left on device: {places[full]}/" in done.stderr
        assert "hint: free some space there" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        cli(*argv, store=Path(places["store"])).ok()
        assert not verify_layout(Path(places["out"]))


@needs_root
@pytest.mark.root
def test_a_store_of_somebody_else_is_read_and_never_needs_writing(cli, tmp_path):
    first = json.loads(cli(*BUNDLE, "-o", "out", "--json").ok())
    subprocess.run(["chown", "-R", "65534", tmp_path / "store"], check=True)
    # Root that may not overrule permissions is an ordinary user who can still read this interpreter.
    ordinary = {"prefix": ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner")}
    assert json.loads(cli(*BUNDLE, "-o", "out2", "--json", **ordinary).ok())["digest"] == first["digest"]
    done = cli("bundle", "--shim", "remote", "--arch", "s390x", "-o", "out3", **ordinary)
    assert done.code == 9, done.stderr
    assert f"error: Permission denied: {tmp_path}/store/tmp/" in done.stderr


@needs_root
@pytest.mark.root
def test_a_read_only_file_system_is_told(cli, tmp_path):
    cli(*BUNDLE, "-o", "out").ok()
    with mounted(tmp_path / "disk", "ro") as disk:
        done = cli(*BUNDLE, "-o", disk / "out")
        assert done.code == 9
        assert f"error: Read-only file system: {disk}/out" in done.stderr


def test_several_at_once_do_not_disturb_each_other(cli, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cli(*BUNDLE, "-o", "out", "--tarballs", "t", "--json"), range(6)))
    assert len({json.loads(done.ok())["digest"] for done in results}) == 1
    assert not verify_layout(tmp_path / "here" / "out")
    assert sorted(os.listdir(tmp_path / "here" / "t")) == ["kata-static-shim-v2-go.tar.zst", "shim-components.json"]


def test_a_killed_run_harms_nothing_and_its_leftovers_go(cli, tmp_path):
    expected = json.loads(cli(*BUNDLE, "-o", "expected", "--json", store=tmp_path / "other").ok())
    for after in ("tmp", "blobs/sha256", "actions", "refs/layer"):
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        kill_when(tmp_path, tmp_path / "store" / after)
    # What a writer left that died long ago.
    stale = tmp_path / "store" / "tmp" / "1-dead"
    stale.write_bytes(b"x" * 1000)
    os.utime(stale, (0, 0))
    done = cli(*BUNDLE, "-o", "out", "--json")
    assert json.loads(done.ok())["digest"] == expected["digest"]
    assert not stale.exists()
    assert not verify_layout(tmp_path / "here" / "out")


def test_any_path_will_do(cli, tmp_path):
    folder = tmp_path / 'a folder/ünï "quoted" 日本\nnext'
    folder.mkdir(parents=True)
    done = cli(*BUNDLE, "-o", "öut dir", "--tarballs", "t ☃", "--lock", "my lock", store=folder / "the store", cwd=folder)
    done.ok()
    cli("install", "öut dir", "--root", "röot", "--dest", "/opt/k ata/ü", "--arch", "ppc64le", cwd=folder).ok()
    cli("verify", "--root", "röot", "--dest", "/opt/k ata/ü", cwd=folder).ok()
    cli("install", "t ☃", "--root", "other", "--shim", "remote", "--arch", "ppc64le", cwd=folder).ok()


def test_names_that_are_no_text_give_json_that_is_text(cli, tmp_path):
    name = os.fsdecode(b"b\xff\xfed")
    document = json.loads(cli(*BUNDLE, "-o", name, "--json").ok())
    assert document["layout"] == name
    assert open_bundle(tmp_path / "here" / name).digest == document["digest"]


def test_the_source_date_decides_the_dates_and_the_digest(cli, tmp_path):
    digests = {
        json.loads(cli(*BUNDLE, "-o", f"out{date}", "--json", SOURCE_DATE_EPOCH=date).ok())["digest"]
        for date in ("", "1577836800", "0")
    }
    assert len(digests) == 2
    assert cli(*BUNDLE, "-o", "out", SOURCE_DATE_EPOCH="9" * 5000).code == 2


def kill_when(folder: Path, busy: Path) -> None:
    """Start a bundle and kill it as soon as something is in the folder ``busy``."""
    argv = [sys.executable, "-m", "kata_bundle", *BUNDLE, "-o", "out", "--store", folder / "store"]
    with subprocess.Popen(argv, cwd=folder / "here", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (busy.is_dir() and os.listdir(busy)):
            pass
        process.send_signal(signal.SIGKILL)


@contextmanager
def mounted(place: Path, options: str):
    """A small file system in memory at ``place``."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
