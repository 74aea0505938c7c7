"""The real apt programs, over an archive on disk: no network."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kata_bundle.build.apt import Apt
from kata_bundle.build.aptsources import ArchiveSource
from kata_bundle.build.deblock import DebLock
from kata_bundle.build.refresh import refresh_pins
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import RemoteError
from tests.fixtures.debs import Served, deb, program, write_archive
from tests.unit.build.test_refresh import rule

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed")


def package(name: str, version: str, architecture: str, depends: tuple[str, ...] = ()) -> Served:
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: n <n@example>\nDescription: d\n"
    data = deb([program(f"./usr/bin/{name}", f"{name} {version} {architecture}".encode())], control=control)
    return Served(name, version, architecture, data, depends)


MIRROR = [
    package("tool", "1:2.0-1", "amd64"),
    package("tool", "1:2.0-1", "arm64"),
    package("data", "5~rc1", "all"),
    package("linux", "6.1", "amd64", ("linux-6.1+a",)),
    package("linux-6.1+a", "6.1-1", "amd64"),
]


@pytest.fixture
def archive(tmp_path) -> Path:
    write_archive(tmp_path / "archive", "trixie", MIRROR)
    return tmp_path / "archive"


@pytest.fixture
def apt(archive):
    with Apt(ArchiveSource(uris=f"file:{archive}", signed_by=None, is_trusted=True)) as found:
        yield found


def test_packages_of_every_architecture_are_found(apt):
    found = apt.find("trixie", "arm64", "tool")
    assert (found.version, found.architecture, found.digest) == ("1:2.0-1", "arm64", digest_bytes(MIRROR[1].data))
    assert apt.find("trixie", "amd64", "data").architecture == "all"
    assert apt.find("trixie", "amd64", "linux").depends == ("linux-6.1+a",)
    assert apt.find("trixie", "amd64", "tool", "1:2.0-1").size_bytes == len(MIRROR[0].data)


def test_what_is_not_there_is_not_an_error(apt):
    assert apt.find("trixie", "amd64", "gone") is None
    assert apt.find("trixie", "amd64", "tool", "9") is None
    assert apt.find("trixie", "arm64", "linux") is None


def test_a_download_is_the_file(apt, tmp_path):
    for one in MIRROR[:3]:
        folder = tmp_path / one.architecture
        folder.mkdir()
        path = apt.download(
            "trixie", "arm64" if one.architecture == "all" else one.architecture, one.package, one.version, folder
        )
        assert path.read_bytes() == one.data


def test_nothing_is_left_behind_and_the_machines_apt_is_not_touched(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "t").mkdir()
    state = Path("/var/lib/apt/lists")
    before = sorted((p.name, p.stat().st_mtime_ns) for p in state.iterdir()) if state.is_dir() else []
    with Apt(ArchiveSource(uris=f"file:{archive}", signed_by=None, is_trusted=True)) as apt:
        assert apt.find("trixie", "amd64", "tool") is not None
        assert os.listdir(tmp_path / "t")
    assert os.listdir(tmp_path / "t") == []
    assert (sorted((p.name, p.stat().st_mtime_ns) for p in state.iterdir()) if state.is_dir() else []) == before


def test_a_mirror_that_cannot_be_read_is_a_remote_error_not_a_missing_package(tmp_path):
    source = ArchiveSource(uris=f"file:{tmp_path}/gone", signed_by=None, is_trusted=True)
    with Apt(source) as apt, pytest.raises(RemoteError) as caught:
        apt.find("trixie", "amd64", "tool")
    assert caught.value.retryable
    assert caught.value.exit_code == 8


def test_an_unsigned_archive_is_refused_unless_the_machine_trusts_it(archive):
    with Apt(ArchiveSource(uris=f"file:{archive}", signed_by=None)) as apt, pytest.raises(RemoteError, match="not signed"):
        apt.find("trixie", "amd64", "tool")


def test_a_package_that_differs_from_the_lists_is_refused(archive, apt, tmp_path):
    (path,) = (archive / "pool").glob("data_*.deb")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RemoteError):
        apt.download("trixie", "amd64", "data", "5~rc1", tmp_path)


def test_pins_follow_the_archive(archive, apt, tmp_path):
    rules = {"a": rule("tool", "data")}
    first = refresh_pins(rules, DebLock(), apt)
    assert [p.text.partition("@")[0] for p in first.lock.pins] == [
        "data:all=5~rc1", "tool:amd64=1:2.0-1", "tool:arm64=1:2.0-1",
    ]  # fmt: skip
    newer = [replace(package("tool", "1:2.0-2", "amd64")), *MIRROR[1:]]
    write_archive(tmp_path / "newer", "trixie", newer)
    with Apt(ArchiveSource(uris=f"file:{tmp_path}/newer", signed_by=None, is_trusted=True)) as later:
        second = refresh_pins(rules, first.lock, later)
    assert [(c.old.version, c.new.version, c.new.architecture) for c in second.changes] == [("1:2.0-1", "1:2.0-2", "amd64")]
