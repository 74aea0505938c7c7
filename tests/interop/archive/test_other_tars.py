"""GNU tar and bsdtar read what is packed here, and what they write is read here, with equal trees."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.archive.layer import extract_layer, pack_layer, scan_layer
from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.zstd import current_recipe
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.process import run
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree
from tests.property.archive.strategies import trees
from tests.property.archive.test_layer_properties import make_removable

pytestmark = pytest.mark.interop

PACKAGES = {"tar": "tar", "bsdtar": "libarchive-tools"}
DATE = 1_600_000_000


@pytest.fixture(params=["tar", "bsdtar"])
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None or shutil.which("zstd") is None:
        pytest.skip(f"{name} or zstd is not installed (Debian packages {PACKAGES[name]}, zstd)")
    return name


def component(names: list[str]) -> tuple[Tree, dict[Digest, bytes]]:
    """A tree with every kind of entry, and a file under each of ``names``."""
    contents = [b"", b"hello\n", bytes(200_000) + b"end", os.urandom(70_000)]
    known = {digest_bytes(content): content for content in contents}
    files = [
        File(mode=mode, size_bytes=len(c), digest=digest_bytes(c))
        for mode, c in zip([0o644, 0o755, 0o600, 0o444], contents, strict=True)
    ]
    entries: dict[str, Entry] = {name: files[i % 4] for i, name in enumerate(names)}
    entries |= {
        "bin/tool": files[1],
        "bin/tool-again": Hardlink(target=RelPath("bin/tool")),
        "zz/tool": Hardlink(target=RelPath("bin/tool")),
        "bin/link": Symlink(target="tool"),
        "bin/up": Symlink(target="../share/x"),
        "bin/absolute": Symlink(target="/opt/kata/bin/tool"),
        "bin/far": Symlink(target="/" + "far/" * 40 + "away"),
        "private": Directory(mode=0o700),
        "locked": Directory(mode=0o555),
        "locked/file": files[3],
        "empty": Directory(mode=0o750),
    }
    return Tree.of({RelPath(path): entry for path, entry in entries.items()}), known


PLAIN = ["share/a", "share/b c", "share/é"]
ODD = ["share/new\nline", "share/tab\t", "share/-dash", "share/*?"]
LONG = ["d" * 150 + "/" + "f" * 90, "share/" + "n" * 255, "/".join(["e" * 100] * 12), "share/" + "é" * 120]
RAW = ["share/\udcff\udcfe", "share/" + "\udcff" * 200]


def packed(tree: Tree, known: Mapping[Digest, bytes], frame_size: int | None = 2 << 20) -> bytes:
    sink = io.BytesIO()
    recipe = current_recipe(frame_size=frame_size)
    pack_layer(tree, lambda digest: io.BytesIO(known[digest]), sink, recipe=recipe, mtime=DATE)
    return sink.getvalue()


def times(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.lstat().st_mtime_ns for path in directory.rglob("*")}


@pytest.mark.parametrize("frame_size", [None, 1024, 65_536, 2 << 20])
def test_a_packed_layer_unpacks_alike(program: str, frame_size: int | None, tmp_path: Path) -> None:
    tree, known = component([*PLAIN, *ODD, *LONG, *(RAW if program == "tar" else [])])
    archive = tmp_path / "kata-static-x.tar.zst"
    archive.write_bytes(packed(tree, known, frame_size))
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    run([program, "-x", "-p", "-f", str(archive), "-C", str(theirs)])
    extract_layer(archive, ours, what="layer")
    assert read_tree(theirs / "opt/kata") == tree == read_tree(ours)
    assert times(theirs / "opt/kata") == times(ours)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture])
@given(trees(), st.integers(1024, 100_000))
def test_any_tree_unpacks_alike(program: str, made: tuple[Tree, Mapping[Digest, bytes]], frame_size: int) -> None:
    """What the table of contents says is what GNU tar and bsdtar see."""
    tree, known = made
    with tempfile.TemporaryDirectory() as name:
        archive, theirs, ours = Path(name, "kata-static-x.tar.zst"), Path(name, "theirs"), Path(name, "ours")
        theirs.mkdir()
        ours.mkdir()
        archive.write_bytes(packed(tree, known, frame_size))
        # bsdtar warns of names that are not UTF-8 and exits with 1.
        run([program, "-x", "-p", "-f", str(archive), "-C", str(theirs)], check=program == "tar")
        extract_layer(archive, ours, what="layer", jobs=2)
        assert read_tree(theirs / "opt/kata") == tree == read_tree(ours)
        assert times(theirs / "opt/kata") == times(ours)
        make_removable(Path(name))


def test_names_that_are_not_utf8_unpack_alike_in_bsdtar_too(tmp_path: Path) -> None:
    """bsdtar warns about such names and exits with 1, but the files are there under their bytes."""
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is not installed (Debian package libarchive-tools)")
    tree, known = component(RAW)
    archive = tmp_path / "kata-static-x.tar.zst"
    archive.write_bytes(packed(tree, known))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    run(["bsdtar", "-x", "-p", "-f", str(archive), "-C", str(theirs)], check=False)
    assert read_tree(theirs / "opt/kata") == tree


def test_a_listing_shows_what_a_kata_tarball_shows(program: str, tmp_path: Path) -> None:
    tree, known = component(PLAIN)
    archive = tmp_path / "kata-static-x.tar.zst"
    archive.write_bytes(packed(tree, known))
    listing = run([program, "-t", "-f", str(archive)]).text().splitlines()
    assert listing[:3] == ["opt/", "opt/kata/", "opt/kata/bin/"]
    assert all(line.startswith("opt/kata/") for line in listing[1:])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with ``opt/kata`` as a build leaves it: odd times, set-id bits, hard links, long names."""
    tree, known = component([*PLAIN, *ODD, *LONG])
    root = tmp_path / "root"
    (root / "opt/kata").mkdir(parents=True)
    extract_layer(io.BytesIO(packed(tree, known)), root / "opt/kata", what="layer")
    for i, path in enumerate(sorted((root / "opt/kata").rglob("*"))):
        os.utime(path, ns=(0, i * 10**9 + i * 1001), follow_symlinks=False)
    os.utime(root / "opt/kata/bin/tool", (0, -86400))  # before 1970
    (root / "opt/kata/private").chmod(0o2700)
    (root / "opt/kata/share/a").chmod(0o4711)
    return root


FORMATS = {"tar": ["gnu", "pax", "oldgnu"], "bsdtar": ["pax", "gnutar", "paxr"]}


@pytest.mark.parametrize(("maker", "tar_format"), [(maker, each) for maker, formats in FORMATS.items() for each in formats])
@pytest.mark.parametrize("start", ["./opt/kata", "opt/kata", "."])
def test_an_archive_of_theirs_is_read_alike(maker: str, tar_format: str, start: str, root: Path, tmp_path: Path) -> None:
    if shutil.which(maker) is None or shutil.which("zstd") is None:
        pytest.skip(f"{maker} or zstd is not installed (Debian packages {PACKAGES[maker]}, zstd)")
    archive = tmp_path / "kata-static-x.tar.zst"
    # bsdtar would write files with holes as sparse members, which are refused.
    options = ["--no-read-sparse"] if maker == "bsdtar" else []
    run([maker, f"--format={tar_format}", "-c", *options, "--zstd", "-f", str(archive), "-C", str(root), start])
    tree, layer = scan_layer(archive, what="theirs")
    target = tmp_path / "target"
    target.mkdir()
    extracted = extract_layer(archive, target, what="theirs", expected_packed=layer.packed, expected_tree=layer.tree)
    assert extracted.tree == tree == read_tree(target)

    # The source still has set-id bits, which do not come along.
    (root / "opt/kata/private").chmod(0o700)
    (root / "opt/kata/share/a").chmod(0o711)
    assert tree == read_tree(root / "opt/kata")


@pytest.mark.parametrize("tar_format", ["ustar", "v7"])
def test_an_archive_in_an_old_format_is_read_alike(tar_format: str, tmp_path: Path) -> None:
    root = tmp_path / "root/opt/kata"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_bytes(b"x" * 1000)
    (root / "bin/again").hardlink_to(root / "bin/tool")
    (root / "bin/link").symlink_to("tool")
    if tar_format == "ustar":
        long = root / ("d" * 90) / ("e" * 90)
        long.parent.mkdir()
        long.write_bytes(b"y")
    archive = tmp_path / "x.tar.zst"
    run(["tar", f"--format={tar_format}", "-c", "--zstd", "-f", str(archive), "-C", str(tmp_path / "root"), "opt"])
    assert scan_layer(archive, what="old")[0] == read_tree(root)


@pytest.mark.parametrize("tar_format", ["gnu", "pax"])
def test_sparse_members_of_gnu_tar_are_refused(tar_format: str, tmp_path: Path) -> None:
    root = tmp_path / "root/opt/kata"
    root.mkdir(parents=True)
    with (root / "image").open("wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(1 << 19)
        stream.write(b"data")
    archive = tmp_path / "x.tar.zst"
    run(["tar", f"--format={tar_format}", "-S", "-c", "--zstd", "-f", str(archive), "-C", str(tmp_path / "root"), "opt"])
    with pytest.raises(ArchiveError, match="sparse"):
        scan_layer(archive, what="sparse")


@pytest.mark.parametrize("options", [["-19"], ["-T0"], ["--long=27"], ["--no-check"], ["-1", "--no-content-size"]])
def test_what_the_zstd_program_packs_is_read(options: list[str], tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed (Debian package zstd)")
    tree, known = component(PLAIN)
    ours = tmp_path / "ours.tar.zst"
    ours.write_bytes(packed(tree, known))
    run(["zstd", "-q", "-d", str(ours), "-o", str(tmp_path / "x.tar")])
    run(["zstd", "-q", *options, str(tmp_path / "x.tar"), "-o", str(tmp_path / "theirs.tar.zst")])
    assert scan_layer(tmp_path / "theirs.tar.zst", what="theirs")[0] == tree
