"""Source packages through the real apt programs, over an archive on disk: no network."""

from __future__ import annotations

import gzip
import hashlib
import shutil

import pytest

from kata_bundle.build.apt import Apt
from kata_bundle.build.aptsources import ArchiveSource
from kata_bundle.build.debsourcepins import fetch_source
from kata_bundle.core.errors import LockError, RemoteError
from kata_bundle.store import Store
from tests.unit.build.test_debsource import FILES

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed")


def lay_out(folder, packages):
    """Lay an unsigned archive of source packages out: (name, version, format, file name → content) each."""
    stanzas = []
    for name, version, kind, files in packages:
        for file, data in files.items():
            (folder / "pool").mkdir(parents=True, exist_ok=True)
            (folder / "pool" / file).write_bytes(data)
        lines = {
            file: (hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest(), len(data)) for file, data in files.items()
        }
        stanzas.append(
            f"Package: {name}\nBinary: {name}\nVersion: {version}\nFormat: {kind}\nDirectory: pool\nFiles:\n"
            + "".join(f" {md5} {size} {file}\n" for file, (_, md5, size) in lines.items())
            + "Checksums-Sha256:\n"
            + "".join(f" {sha} {size} {file}\n" for file, (sha, _, size) in lines.items())
        )
    data = "\n".join(stanzas).encode()
    place = folder / "dists" / "trixie" / "main" / "source"
    place.mkdir(parents=True)
    (place / "Sources").write_bytes(data)
    (place / "Sources.gz").write_bytes(gzip.compress(data, mtime=0))
    release = ["Suite: trixie", "Codename: trixie", "Components: main", "Architectures: amd64", "SHA256:"]
    for path in sorted(place.iterdir()):
        content = path.read_bytes()
        release.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} main/source/{path.name}")
    (folder / "dists" / "trixie" / "Release").write_text("\n".join(release) + "\n")


QUILT = "3.0 (quilt)"
OLD = {name.replace("1.0-2", "1.0-1"): data if "orig" in name else data + b" " for name, data in FILES.items()}


@pytest.fixture
def archive(tmp_path):
    packages = [("tool", "1:1.0-2", QUILT, FILES), ("tool", "1:1.0-1", QUILT, OLD), ("odd", "1", "2.0", {"odd_1.dsc": b"x"})]
    lay_out(tmp_path / "archive", packages)
    return tmp_path / "archive"


@pytest.fixture
def apt(archive):
    with Apt(ArchiveSource(uris=f"file:{archive}", signed_by=None, is_trusted=True)) as found:
        yield found


def test_the_newest_version_is_found_with_all_its_files(apt):
    pin = apt.find_source("trixie", "tool")
    assert (pin.version, pin.format, [file.name for file in pin.files]) == ("1:1.0-2", QUILT, sorted(FILES))
    assert apt.find_source("trixie", "tool", "1:1.0-1").version == "1:1.0-1"
    assert apt.find_source("trixie", "tool", "9") is None
    assert apt.find_source("trixie", "gone") is None


def test_a_form_that_is_not_read_is_said_when_it_is_pinned(apt):
    with pytest.raises(LockError, match=r'format "2\.0"'):
        apt.find_source("trixie", "odd")


def test_its_archives_come_into_the_store(apt, archive, tmp_path):
    (archive / "pool" / "tool_1.0-2.dsc").unlink()  # mirrors have been seen that lack it
    store = Store(tmp_path / "store", durable=False)
    pin = apt.find_source("trixie", "tool")
    fetch_source(pin, store, apt)
    assert [store.read(file.digest) for file in pin.parts] == [FILES[file.name] for file in pin.parts]


def test_an_archive_that_the_mirror_lists_and_does_not_serve_is_named(apt, archive, tmp_path):
    (archive / "pool" / "tool_1.0.orig.tar.xz").unlink()
    with pytest.raises(RemoteError, match=r"does not give tool_1\.0\.orig\.tar\.xz"):
        fetch_source(apt.find_source("trixie", "tool"), Store(tmp_path / "store", durable=False), apt)
