"""Unpacking from tables: what is authenticated, reused, left out, flushed; what hostile layers cannot do."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kata_bundle.archive import known
from kata_bundle.archive.extract import ExtractOptions, LayerJob, Reuse, extract_layers
from kata_bundle.archive.layer import PackedLayer, extract_layer, scan_layer
from kata_bundle.archive.layerfile import FrameReader, LayerFile
from kata_bundle.archive.placer import Placer
from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.toc import Table, render_trailer
from kata_bundle.archive.zstd import FrameCompressor, FrameDecoder, current_recipe
from kata_bundle.core import canonical
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.fsops import FileOps
from kata_bundle.core.record import replace
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from tests.unit.archive.layers import CONTENTS, DATE, HELLO, IMAGE, LARGE, TREE, file, pack, write_layer

FRAME_SIZES = [1024, 3000, 4096, 65_536, 2 << 20]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def job(path: Path, target: Path, made: PackedLayer, what: str = "layer x") -> LayerJob:
    return LayerJob(what=what, path=path, target=target, tree=made.tree, table=made.table)


def leftovers(target: Path) -> list[str]:
    return [name for _, _, names in os.walk(target) for name in names if name.startswith(".kata-bundle-")]


@pytest.mark.parametrize("frame_size", FRAME_SIZES)
@pytest.mark.parametrize("options", [{"jobs": 1}, {"jobs": 3}, {"jobs": 2, "verify_files": True}, {"durable": True}])
def test_what_was_packed_comes_out(tmp_path: Path, target: Path, frame_size: int, options: dict[str, Any]) -> None:
    path, made = write_layer(tmp_path, frame_size=frame_size)
    for _ in range(2):  # the second time over the first
        extracted = extract_layers([job(path, target, made)], options=ExtractOptions(**options))
        assert extracted[0].tree == extracted[0].installed == TREE == read_tree(target)
        assert {found.lstat().st_mtime for found in target.rglob("*")} == {DATE}
    assert leftovers(target) == []


def test_zeros_become_holes(tmp_path: Path, target: Path) -> None:
    path, made = write_layer(tmp_path, frame_size=131_072)
    extract_layers([job(path, target, made)])
    for name, holes in (("share/image", 131_072), ("share/zeros", 131_072)):
        found = (target / name).stat()
        assert found.st_size - found.st_blocks * 512 >= holes - 4096


def test_layers_with_and_without_a_table_are_unpacked_together(tmp_path: Path) -> None:
    jobs = []
    for number, frame_size in enumerate([None, 4096, None, 2 << 20]):
        folder = tmp_path / str(number)
        folder.mkdir()
        path, made = write_layer(folder, frame_size=frame_size)
        (folder / "out").mkdir()
        jobs.append(replace(job(path, folder / "out", made, f"layer {number}"), packed=made.packed))
    extracted = extract_layers(jobs, dest="/srv/x", options=ExtractOptions(jobs=2, durable=True))
    for one, item in zip(jobs, extracted, strict=True):
        assert item.tree == TREE
        assert read_tree(one.target) == item.installed
        assert os.readlink(one.target / "bin/absolute") == "/srv/x/bin/tool"


def test_layers_that_need_not_be_identified_have_no_tree(tmp_path: Path, target: Path) -> None:
    path, _ = write_layer(tmp_path, frame_size=None)
    one = LayerJob(what="x", path=path, target=target)
    assert extract_layers([one], options=ExtractOptions(identify=False))[0].tree == Tree.of({})
    assert read_tree(target) == TREE


def test_a_table_is_used_where_the_path_of_a_layer_is_given(tmp_path: Path, target: Path) -> None:
    path, made = write_layer(tmp_path)
    assert extract_layer(path, target, what="x", expected_packed=made.packed, expected_tree=made.tree, jobs=2).tree == TREE
    with pytest.raises(IntegrityError, match="has the digest"):
        extract_layer(path, target, what="x", expected_packed=digest_bytes(b""))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tree": digest_bytes(b"")}, "holds the tree"),
        ({"offset": -1}, "not where it shall be"),
        ({"size_bytes": 1}, "not where it shall be"),
        ({"digest": digest_bytes(b"")}, "its table of contents has the digest"),
    ],
)
def test_another_table_or_tree_than_expected_is_refused(tmp_path: Path, target: Path, change: dict[str, Any], match: str) -> None:
    path, made = write_layer(tmp_path)
    assert made.table is not None
    wanted = job(path, target, made)
    if "tree" in change:
        wanted = replace(wanted, **change)
    else:
        numbers = {key: value + getattr(made.table, key) if key != "digest" else value for key, value in change.items()}
        wanted = replace(wanted, table=replace(made.table, **numbers))
    with pytest.raises(IntegrityError, match=match):
        extract_layers([wanted])
    assert os.listdir(target) == []


def test_no_frame_is_decoded_before_it_is_authenticated(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made = write_layer(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    known_frames = {frame.sha256 for frame in table_of(made, bytes(data)).frames}
    decode = FrameDecoder.decode

    def checked(self: FrameDecoder, packed: memoryview, size_bytes: int, *, what: str) -> memoryview:
        assert hashlib.sha256(packed).digest() in known_frames
        return decode(self, packed, size_bytes, what=what)

    monkeypatch.setattr(FrameDecoder, "decode", checked)
    with pytest.raises(IntegrityError, match=r"layer x: frame [0-9]+ is not the one that the table"):
        extract_layers([job(path, target, made)])
    assert leftovers(target) == []


# Reuse


def reuse_from(folder: Path, *digests: str, may_link: bool = True) -> Reuse:
    paths = {entry.digest: folder / path for path, entry in TREE.entries.items() if isinstance(entry, File)}
    return Reuse(find=lambda entry: str(paths[entry.digest]) if entry.digest in digests else None, may_link=may_link)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    (tmp_path / "before").mkdir()
    path, made = write_layer(tmp_path)
    extract_layers([job(path, tmp_path / "before", made)])
    return tmp_path / "before"


def test_frames_whose_files_are_all_there_are_not_read(
    tmp_path: Path, target: Path, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = write_layer(tmp_path)
    read: list[int] = []
    reading = FrameReader.read
    monkeypatch.setattr(FrameReader, "read", lambda self, layer, number: (read.append(number), reading(self, layer, number))[1])
    extract_layers([job(path, target, made)], reuse=reuse_from(before, IMAGE, LARGE))
    assert read_tree(target) == TREE
    table = table_of(made, path.read_bytes())
    of_image = {*table.frames_of(table.offsets[RelPath("share/image")], table.offsets[RelPath("share/image")] + 200_000)}
    assert read
    assert not of_image & set(read)
    assert os.path.samefile(before / "share/image", target / "share/image")

    read.clear()
    (tmp_path / "all").mkdir()
    extract_layers([job(path, tmp_path / "all", made)], reuse=reuse_from(before, *CONTENTS))
    assert read == []
    assert read_tree(tmp_path / "all") == TREE  # where "hello" is three files still


def test_a_file_of_another_mode_or_that_may_not_be_linked_is_copied(tmp_path: Path, target: Path, before: Path) -> None:
    path, made = write_layer(tmp_path)
    (before / "share/image").chmod(0o600)
    extract_layers([job(path, target, made)], reuse=reuse_from(before, IMAGE))
    assert read_tree(target) == TREE
    assert not os.path.samefile(before / "share/image", target / "share/image")
    (tmp_path / "copies").mkdir()
    extract_layers([job(path, tmp_path / "copies", made)], reuse=reuse_from(before, *CONTENTS, may_link=False))
    assert read_tree(tmp_path / "copies") == TREE
    assert all(found.stat().st_nlink <= 2 for found in (tmp_path / "copies").rglob("*") if found.is_file())


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_where_names_cannot_be_had_files_are_copied(
    tmp_path: Path, target: Path, before: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path, made = write_layer(tmp_path)

    def refuse(self: Placer, path: RelPath, source: str) -> None:
        raise OSError(code, os.strerror(code), source)

    monkeypatch.setattr(Placer, "link_from", refuse)
    extract_layers([job(path, target, made)], reuse=reuse_from(before, IMAGE))
    assert read_tree(target) == TREE


def test_a_file_with_another_label_is_not_linked(
    tmp_path: Path, target: Path, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock: no file system here has SELinux labels."""
    path, made = write_layer(tmp_path)
    monkeypatch.setattr(known, "_label", lambda place: "files" if isinstance(place, Path) else "other")
    extract_layers([job(path, target, made)], reuse=reuse_from(before, IMAGE))
    assert read_tree(target) == TREE
    assert not os.path.samefile(before / "share/image", target / "share/image")


@pytest.mark.parametrize("make", [lambda p: p.write_bytes(b"short"), lambda p: p.write_bytes(bytes(270_005))])
def test_a_file_that_changed_meanwhile_is_refused(
    tmp_path: Path, target: Path, before: Path, make: Callable[[Path], object]
) -> None:
    path, made = write_layer(tmp_path)
    (before / "share/image").unlink()
    make(before / "share/image")
    with pytest.raises(IntegrityError, match=r"not the file|has the digest"):
        extract_layers([job(path, target, made)], reuse=reuse_from(before, IMAGE, may_link=False))
    assert leftovers(target) == []


def test_files_that_are_not_wanted_are_left_out_with_their_further_names(tmp_path: Path, target: Path) -> None:
    path, made = write_layer(tmp_path)
    extract_layers([job(path, target, made)], wanted=lambda path, entry: entry.digest not in {LARGE, IMAGE})
    gone = {"bin/tool", "bin/again", "share/image"}
    assert {*read_tree(target).entries} == {*TREE.entries} - gone


# Hostile layers without anybody who vouches for the table


def table_of(made: PackedLayer, data: bytes) -> Table:
    assert made.table is not None
    return Table.from_json(data[made.table.offset :][: made.table.size_bytes], what="x")


def forged(change: Callable[[bytearray], None], *, table: Callable[[dict[str, Any]], None] | None = None) -> bytes:
    """A layer whose tar was changed after its table was made: frames are consistent with the table, their content is not."""
    data, made = pack(frame_size=4096)
    old = table_of(made, data)
    decoder, tar = FrameDecoder(4096), bytearray()
    start = 0
    for frame in old.frames:
        tar += decoder.decode(memoryview(data)[start : start + frame.packed_bytes], frame.tar_bytes, what="x")
        start += frame.packed_bytes
    change(tar)
    compressor = FrameCompressor(current_recipe(3))
    document = canonical.loads(old.to_json(), what="x")
    frames, packed, start = [], bytearray(), 0
    for frame in old.frames:
        piece = compressor.compress(bytes(tar[start : start + frame.tar_bytes]))
        start += frame.tar_bytes
        packed += piece
        frames.append([len(piece), frame.tar_bytes, hashlib.sha256(piece).hexdigest()])
    document["frames"] = frames
    document["diff_id"] = digest_bytes(bytes(tar))
    if table is not None:
        table(document)
    return bytes(packed) + render_trailer(canonical.dumps(document))


def test_a_table_that_says_other_than_the_tar_is_refused_by_extraction_and_scan(tmp_path: Path, target: Path) -> None:
    def rename(tar: bytearray) -> None:
        place = tar.index(b"opt/kata/share/a.toml")
        tar[place : place + 21] = b"opt/kata/share/evil.x"
        header = tar[place : place + 512]
        header[148:156] = b" " * 8
        tar[place + 148 : place + 156] = b"%06o\0 " % sum(header)

    path = tmp_path / "layer"
    path.write_bytes(forged(lambda tar: None))
    assert scan_layer(path, what="x")[0] == TREE  # what forging itself does not break
    path.write_bytes(forged(rename))
    with pytest.raises(ArchiveError, match="does not decode to the headers"):
        extract_layers([LayerJob(what="x", path=path, target=target)])
    with pytest.raises(ArchiveError, match='"entries" of its table'):
        scan_layer(path, what="x")


def test_bytes_in_the_padding_are_seen(tmp_path: Path, target: Path) -> None:
    def pad(tar: bytearray) -> None:
        place = tar.index(b"hello\n")
        tar[place + 100] = 1

    path = tmp_path / "layer"
    path.write_bytes(forged(pad))
    with pytest.raises(ArchiveError, match="does not decode to the headers"):
        extract_layers([LayerJob(what="x", path=path, target=target)])
    with pytest.raises(ArchiveError, match=r'"mtime"|"headers"'):
        scan_layer(path, what="x")


def test_a_file_digest_that_is_a_lie_is_seen_by_scan_and_on_request(tmp_path: Path, target: Path) -> None:
    def lie(document: dict[str, Any]) -> None:
        document["entries"]["share/same"]["digest"] = digest_bytes(b"other")
        document["entries"]["share/image"]["digest"] = digest_bytes(b"other image")

    path = tmp_path / "layer"
    path.write_bytes(forged(lambda tar: None, table=lie))
    with pytest.raises(ArchiveError, match='"entries" of its table'):
        scan_layer(path, what="x")
    with pytest.raises(ArchiveError, match=r'"share/[a-z]+" has the digest sha256:[0-9a-f]+, its table of contents says'):
        extract_layers([LayerJob(what="x", path=path, target=target)], options=ExtractOptions(verify_files=True))
    assert leftovers(target) == []


@pytest.mark.parametrize("holes", [[], [[131_072, 65_536]], [[0, 65_536]]])
def test_holes_that_are_a_lie_change_nothing_and_are_seen_by_scan(tmp_path: Path, target: Path, holes: list[list[int]]) -> None:
    def lie(document: dict[str, Any]) -> None:
        document["entries"]["share/image"]["holes"] = holes
        if not holes:
            del document["entries"]["share/image"]["holes"]

    path = tmp_path / "layer"
    path.write_bytes(forged(lambda tar: None, table=lie))
    with pytest.raises(ArchiveError, match='"holes" of its table'):
        scan_layer(path, what="x")
    extract_layers([LayerJob(what="x", path=path, target=target)])
    assert read_tree(target) == TREE


@pytest.mark.parametrize("length", [0, 1, 1 << 30, (1 << 64) - 1])
def test_the_length_in_a_footer_is_not_trusted(tmp_path: Path, length: int) -> None:
    data, made = pack()
    path = tmp_path / "layer"
    path.write_bytes(data[:-16] + length.to_bytes(8, "little") + data[-8:])
    with pytest.raises(ArchiveError):
        LayerFile.open(path, None, what="x")
    with pytest.raises(IntegrityError):
        LayerFile.open(path, made.table, what="x")
    with pytest.raises(ArchiveError, match="around its table"):
        scan_layer(path, what="x")


@pytest.mark.parametrize("extra", [b"x", bytes(100)])
def test_nothing_may_stand_between_frames_and_table(tmp_path: Path, extra: bytes) -> None:
    data, made = pack()
    assert made.table is not None
    start = made.table.offset - 8
    path = tmp_path / "layer"
    path.write_bytes(data[:start] + extra + data[start:])
    with pytest.raises(ArchiveError, match="frames of its table of contents have"):
        LayerFile.open(path, None, what="x")


def test_a_frame_that_is_two_is_refused() -> None:
    compressor, decoder = FrameCompressor(current_recipe(3)), FrameDecoder(4096)
    one, two = compressor.compress(b"a" * 100), compressor.compress(b"b" * 100)
    for packed in (one + two, one + b"x", one[:-1], b"", two[:4], b"\x50\x2a\x4d\x18" + bytes(4) + one):
        with pytest.raises(ArchiveError, match="x: corrupt"):
            decoder.decode(memoryview(packed), 100, what="x")
    with pytest.raises(ArchiveError, match="not one frame of the length"):
        decoder.decode(memoryview(one), 101, what="x")


# Faults


class Fault(BaseException):
    pass


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("durable", [False, True])
def test_after_a_fault_nothing_more_is_announced_and_no_half_file_is_left(tmp_path: Path, jobs: int, durable: bool) -> None:
    path, made = write_layer(tmp_path)
    for at in range(1, 100):
        target = tmp_path / f"{jobs}-{durable}-{at}"
        target.mkdir()
        seen: list[str] = []

        def before(verb: str, path: str, seen: list[str] = seen, at: int = at) -> None:
            seen.append(verb)
            if len(seen) == at:
                raise Fault

        options = ExtractOptions(jobs=jobs, durable=durable)
        try:
            extract_layers([job(path, target, made)], files=FileOps(before), options=options)
        except Fault:
            assert len(seen) == at
            assert leftovers(target) == []
        else:
            assert len(seen) == at - 1
            break
    assert at > 15


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made = write_layer(tmp_path)

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space") as error:
        extract_layers([job(path, target, made)])
    assert str(error.value.filename).startswith(str(target))
    assert leftovers(target) == []


def test_progress_is_in_packed_bytes(tmp_path: Path, target: Path) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.total = self.done = 0
            self.ended: list[str] = []

        def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
            self.total += total or 0

        def advance(self, task: str, amount: int) -> None:
            self.done += amount

        def finish(self, task: str) -> None:
            self.ended.append(task)

        def note(self, message: str) -> None: ...

    path, made = write_layer(tmp_path)
    recorder = Recorder()
    extract_layers([job(path, target, made)], progress=recorder)
    assert made.table is not None
    assert recorder.total == recorder.done == made.table.offset - 8
    assert recorder.ended == ["extract layer x"]


def test_contents_are_read_without_unpacking(tmp_path: Path) -> None:
    path, made = write_layer(tmp_path)
    with LayerFile.open(path, made.table, what="x") as layer:
        for name, entry in TREE.entries.items():
            if isinstance(entry, File):
                assert layer.read(name) == CONTENTS[entry.digest]
        with pytest.raises(KeyError):
            layer.read(RelPath("empty"))
    assert LayerFile.open(write_layer(tmp_path, frame_size=None)[0], None, what="x") is None
    assert file(HELLO).size_bytes == 6
