"""Layers as wholes: identities, expectations, destinations, and directories read back."""

from __future__ import annotations

import io
import os
import socket
import stat
from pathlib import Path

import pytest

from kata_bundle.archive.kata import check_symlink, iter_kata_entries, rewrite_target
from kata_bundle.archive.layer import extract_layer, pack_layer, scan_layer
from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.zstd import Recipe, current_recipe
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree
from tests.fixtures import rawtar

WORDS = [b"", b"hello", b"big" * 100_000]
FILES = [File(mode=0o755, size_bytes=len(word), digest=digest_bytes(word)) for word in WORDS]
CONTENTS = {digest_bytes(word): word for word in WORDS}
TREE = Tree.of(
    {
        RelPath("bin/a"): FILES[1],
        RelPath("bin/b"): Hardlink(target=RelPath("bin/a")),
        RelPath("bin/here"): Symlink(target="a"),
        RelPath("bin/there"): Symlink(target="/opt/kata/bin/a"),
        RelPath("bin/root"): Symlink(target="/opt/kata"),
        RelPath("bin/katana"): Symlink(target="/opt/katana/bin/a"),
        RelPath("share"): Directory(mode=0o555),
        RelPath("share/empty"): FILES[0],
        RelPath("share/big"): FILES[2],
    }
)


def packed(tree: Tree = TREE, recipe: Recipe | None = None, mtime: int = 10**9) -> bytes:
    sink = io.BytesIO()
    pack_layer(tree, open_file, sink, recipe=recipe or current_recipe(1), mtime=mtime)
    return sink.getvalue()


def open_file(digest: Digest) -> io.BytesIO:
    return io.BytesIO(CONTENTS[digest])


class Recorder:
    """A progress that checks what it is told."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.totals: dict[str, int | None] = {}
        self.finished: list[str] = []

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
        self.totals[task] = total
        self.done[task] = 0

    def advance(self, task: str, amount: int) -> None:
        self.done[task] += amount

    def finish(self, task: str) -> None:
        self.finished.append(task)

    def note(self, message: str) -> None: ...


def test_identities_of_packing_and_scanning_agree() -> None:
    sink = io.BytesIO()
    made = pack_layer(TREE, open_file, sink, recipe=current_recipe(), mtime=0)
    tree, found = scan_layer(io.BytesIO(sink.getvalue()), what="x")
    assert tree == TREE
    assert made.recipe == current_recipe()
    assert (found.recipe, found.table) == (made.recipe, made.table)
    assert (found.tree, found.packed, found.packed_size_bytes) == (
        TREE.digest,
        digest_bytes(sink.getvalue()),
        len(sink.getvalue()),
    )
    assert (found.diff_id, found.unpacked_size_bytes) == (made.diff_id, made.unpacked_size_bytes)
    assert made.packed == found.packed


def test_time_and_recipe_change_the_packed_bytes_but_not_the_tree() -> None:
    layers = [packed(mtime=0), packed(mtime=1), packed(recipe=current_recipe(19))]
    assert len(set(layers)) == 3
    assert {scan_layer(io.BytesIO(layer), what="x")[0].digest for layer in layers} == {TREE.digest}


def test_an_empty_tree_is_a_layer(tmp_path: Path) -> None:
    empty = Tree.of({})
    assert scan_layer(io.BytesIO(packed(empty)), what="x")[0] == empty
    assert extract_layer(io.BytesIO(packed(empty)), tmp_path, what="x").tree == empty


@pytest.mark.parametrize("give", ["path", "stream", "pipe"])
def test_a_layer_may_come_from_a_path_a_stream_or_a_pipe(tmp_path: Path, give: str) -> None:
    archive = tmp_path / "layer"
    archive.write_bytes(packed(Tree.of({RelPath("a"): FILES[1]})))
    (tmp_path / "out").mkdir()
    if give == "path":
        extract_layer(archive, tmp_path / "out", what="x", expected_packed=digest_bytes(archive.read_bytes()))
    elif give == "stream":
        with archive.open("rb") as stream:
            extract_layer(stream, tmp_path / "out", what="x", expected_packed=digest_bytes(archive.read_bytes()))
            assert not stream.closed
    else:
        read_end, write_end = os.pipe()
        os.write(write_end, archive.read_bytes())
        os.close(write_end)
        with open(read_end, "rb") as stream:
            extract_layer(stream, tmp_path / "out", what="x")
    assert (tmp_path / "out/a").read_bytes() == b"hello"


def test_a_stream_is_read_from_where_it_stands(tmp_path: Path) -> None:
    stream = io.BytesIO(b"before" + packed())
    stream.seek(6)
    extract_layer(stream, tmp_path, what="x", expected_packed=digest_bytes(packed()))
    assert (tmp_path / "bin/a").exists()


def test_a_pipe_cannot_be_checked_before_it_is_decoded(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with open(read_end, "rb") as stream, pytest.raises(IntegrityError, match="cannot seek"):
        extract_layer(stream, tmp_path, what="x", expected_packed=digest_bytes(b""))


def test_another_tree_than_expected_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=f"holds the tree {TREE.digest}, expected {FILES[0].digest}"):
        extract_layer(io.BytesIO(packed()), tmp_path, what="x", expected_tree=FILES[0].digest)


@pytest.mark.parametrize(
    ("dest", "there", "root"),
    [
        ("/opt/kata", "/opt/kata/bin/a", "/opt/kata"),
        ("/opt/kata-two", "/opt/kata-two/bin/a", "/opt/kata-two"),
        ("/", "/bin/a", "/"),
        ("/srv/x/", "/srv/x/bin/a", "/srv/x"),
    ],
)
def test_links_below_the_prefix_move_with_the_destination(tmp_path: Path, dest: str, there: str, root: str) -> None:
    extracted = extract_layer(io.BytesIO(packed()), tmp_path, what="x", dest=dest)
    assert extracted.tree == TREE
    assert extracted.installed == read_tree(tmp_path)
    assert os.readlink(tmp_path / "bin/there") == there
    assert os.readlink(tmp_path / "bin/root") == root
    assert os.readlink(tmp_path / "bin/here") == "a"
    assert os.readlink(tmp_path / "bin/katana") == "/opt/katana/bin/a"


@pytest.mark.parametrize("target", ["//opt//kata/./bin/a", "/./opt/kata/bin/a/"])
def test_spellings_of_the_prefix_in_links_are_known(target: str) -> None:
    assert rewrite_target(target, "/x") == "/x/bin/a"
    assert rewrite_target(target, "/opt/kata") == target


def test_a_relative_destination_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="absolute"):
        rewrite_target("/opt/kata/x", "relative")


def test_set_id_bits_of_an_archive_are_dropped(tmp_path: Path) -> None:
    data = rawtar.packed(
        rawtar.tar(
            rawtar.member(b"opt/kata/f", b"x", mode=0o6755),
            rawtar.directory(b"opt/kata/d", 0o3777),
            rawtar.directory(b"opt/kata/t", 0o1700),
        )
    )
    tree = extract_layer(io.BytesIO(data), tmp_path, what="x").tree
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o777
    assert read_tree(tmp_path) == tree


def test_times_of_an_archive_are_restored_to_the_nanosecond(tmp_path: Path) -> None:
    data = rawtar.packed(
        rawtar.tar(
            rawtar.pax(rawtar.record(b"mtime", b"5.25"), b"g"),
            rawtar.member(b"opt/kata/global", b""),
            rawtar.pax(rawtar.record(b"mtime", b"7.123456789")),
            rawtar.member(b"opt/kata/own", b""),
            rawtar.pax(rawtar.record(b"mtime", b"-7.5")),
            rawtar.directory(b"opt/kata/before-1970"),
        )
    )
    extract_layer(io.BytesIO(data), tmp_path, what="x")
    assert (tmp_path / "global").stat().st_mtime_ns == 5_250_000_000
    assert (tmp_path / "own").stat().st_mtime_ns == 7_123_456_789
    assert (tmp_path / "before-1970").stat().st_mtime_ns == 0


def test_members_left_out_are_counted(tmp_path: Path) -> None:
    data = rawtar.packed(
        rawtar.tar(rawtar.member(b"etc/passwd", b"x"), rawtar.member(b"opt/kata/a", b""), rawtar.member(b"opt/katana/x", b""))
    )
    assert extract_layer(io.BytesIO(data), tmp_path, what="x").left_out == 2


def test_a_layer_over_another_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    extract_layer(io.BytesIO(packed()), tmp_path, what="x")
    other = Tree.of({RelPath("share/more"): FILES[1], RelPath("bin/a"): FILES[0]})
    (tmp_path / "share").chmod(0o755)  # root would not need it
    extract_layer(io.BytesIO(packed(other)), tmp_path, what="y")
    assert (tmp_path / "bin/a").read_bytes() == b""
    assert (tmp_path / "bin/b").read_bytes() == b"hello"
    assert {path.name for path in (tmp_path / "share").iterdir()} == {"empty", "big", "more"}


def test_progress_reaches_its_total_and_ends(tmp_path: Path) -> None:
    progress = Recorder()
    sink = io.BytesIO()
    pack_layer(TREE, open_file, sink, recipe=current_recipe(), mtime=0, progress=progress)
    sink.seek(0)
    scan_layer(sink, what="x", progress=progress)
    sink.seek(0)
    extract_layer(sink, tmp_path, what="x", progress=progress)
    assert progress.totals == progress.done
    assert progress.finished == list(progress.totals)
    with pytest.raises(ArchiveError):
        extract_layer(io.BytesIO(b"no layer"), tmp_path, what="bad", progress=progress)
    assert progress.finished[-1] == "extract bad"


def test_packing_content_that_is_not_what_the_tree_says_is_refused() -> None:
    with pytest.raises(IntegrityError, match='content of "bin/a"'):
        pack_layer(TREE, lambda digest: io.BytesIO(b"HELLO"), io.BytesIO(), recipe=current_recipe(), mtime=0)


@pytest.mark.parametrize("target", ["../../x", "a/../b", "/opt/kata/../x", "", "a\0b", "x" * 4096])
def test_a_link_that_no_reader_would_take_is_not_packed(target: str) -> None:
    tree = Tree.of({RelPath("bin/l"): Symlink(target=target)})
    with pytest.raises(ArchiveError, match='"bin/l" cannot be packed'):
        packed(tree)


@pytest.mark.parametrize("target", ["x", "../x", "..", ".", "./x", "../../y", "/x", "/opt/kata", "/opt/../x", "x" * 4095])
def test_links_that_stay_inside_or_are_absolute_are_fine(target: str) -> None:
    check_symlink(RelPath("a/b/c"), target)


def test_the_tree_is_known_only_at_the_end() -> None:
    reader = iter_kata_entries(io.BytesIO(rawtar.tar(rawtar.member(b"opt/kata/a", b"x"))), what="x")
    next(iter(reader))
    with pytest.raises(IntegrityError, match="after the archive was read"):
        reader.tree()


def test_reading_back_sees_everything(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d/f").write_bytes(b"hello")
    (tmp_path / "d/f").chmod(0o4755)
    os.link(tmp_path / "d/f", tmp_path / "a")
    (tmp_path / "l").symlink_to("/nowhere")
    (tmp_path / "to-d").symlink_to("d")
    (tmp_path / "\udcff").write_bytes(b"")
    (tmp_path / "\udcff").chmod(0o600)
    heard: list[int] = []
    expected: dict[RelPath, Entry] = {
        RelPath("a"): File(mode=0o4755, size_bytes=5, digest=digest_bytes(b"hello")),
        RelPath("d"): Directory(mode=0o700),
        RelPath("d/f"): Hardlink(target=RelPath("a")),
        RelPath("l"): Symlink(target="/nowhere"),
        RelPath("to-d"): Symlink(target="d"),
        RelPath("\udcff"): File(mode=0o600, size_bytes=0, digest=digest_bytes(b"")),
    }
    assert read_tree(tmp_path, on_progress=heard.append).entries == expected
    assert sum(heard) == 5


def test_hard_links_to_files_elsewhere_are_plain_files(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x")
    (tmp_path / "tree").mkdir()
    os.link(tmp_path / "elsewhere", tmp_path / "tree/a")
    assert isinstance(read_tree(tmp_path / "tree").entries[RelPath("a")], File)


def test_what_no_component_has_is_listed_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "d").mkdir()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("d/socket")
    with pytest.raises(IntegrityError, match=r'has 2 entries that are no file.*: "d/socket", "pipe"') as error:
        read_tree(tmp_path)
    assert not isinstance(error.value, ArchiveError)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("file")])
def test_reading_back_what_is_no_directory_fails(tmp_path: Path, make: object) -> None:
    make(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        read_tree(tmp_path / "x")
