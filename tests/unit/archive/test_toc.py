"""Tables of contents: one spelling, nothing that an archive may not have, no number trusted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kata_bundle.archive.tarreader import Limits
from kata_bundle.archive.toc import FOOTER_SIZE, Hole, Table, parse_footer, render_trailer
from kata_bundle.core import canonical
from kata_bundle.core.errors import ArchiveError
from tests.unit.archive.layers import IMAGE, TREE, pack

DATA, MADE = pack()


def document() -> dict[str, Any]:
    ref = MADE.table
    assert ref is not None
    parsed: dict[str, Any] = json.loads(DATA[ref.offset : ref.offset + ref.size_bytes])
    return parsed


def refused(changed: dict[str, Any], match: str, limits: Limits | None = None) -> None:
    with pytest.raises(ArchiveError, match=match) as error:
        Table.from_json(canonical.dumps(changed), what="layer x", limits=limits or Limits())
    assert str(error.value).startswith("layer x: its table of contents is not valid: ")


def test_it_survives_its_document_and_says_where_everything_is() -> None:
    data = canonical.dumps(document())
    table = Table.from_json(data, what="x")
    assert table.to_json() == data
    assert table.ref() == MADE.table
    assert table.tree == TREE
    assert DATA[: table.packed_bytes] + render_trailer(data) == DATA
    assert parse_footer(DATA[-FOOTER_SIZE:]) == len(data)
    assert table.holes["share/image"] == (Hole(131_072, 131_072),)
    assert table.holes["share/zeros"] == (Hole(0, 131_072),)
    assert TREE.size_bytes - table.allocated_bytes == 262_144
    assert table.tar_size == MADE.unpacked_size_bytes == sum(frame.tar_bytes for frame in table.frames)


def test_frames_of_a_range_are_those_that_hold_it() -> None:
    table = Table.from_json(canonical.dumps(document()), what="x")
    ends = table.tar_ends
    for number, end in enumerate(ends):
        start = end - table.frames[number].tar_bytes
        assert table.frames_of(start, end) == range(number, number + 1)
        assert table.frames_of(start, start + 1) == range(number, number + 1)
        assert not table.frames_of(start, start)
    assert table.frames_of(0, ends[-1]) == range(len(ends))


def test_a_large_file_begins_a_frame_and_fills_whole_ones() -> None:
    table = Table.from_json(canonical.dumps(document()), what="x")
    start = table.offsets["share/image"]
    numbers = table.frames_of(start, start + len(b"x"))
    assert table.tar_ends[numbers[0]] - table.frames[numbers[0]].tar_bytes == start
    assert {table.frames[number].tar_bytes for number in table.frames_of(start, start + 65_536)} == {4096}
    assert IMAGE in {entry.digest for entry in TREE.entries.values() if hasattr(entry, "digest")}


def at(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value[key]
    return value


@pytest.mark.parametrize(
    ("keys", "value", "match"),
    [
        (("version",), 2, "version '2', this program reads 1"),
        (("version",), True, "canonical"),
        (("surprise",), 1, "members"),
        (("mtime",), -1, "whole number"),
        (("mtime",), 1 << 40, "modification time"),
        (("mtime",), 1.5, "whole number"),
        (("tar_size",), 0, "canonical"),
        (("diff_id",), "sha256:x", "digest"),
        (("recipe", "codec"), "xz", "recipe"),
        (("recipe", "frame_size"), 1 << 40, "frames of another size"),
        (("recipe", "frame_size"), 2048, "decodes to"),
        (("recipe", "frame_size"), True, "frames of another size"),
        (("frames",), {}, "no array"),
        (("frames",), [], "decode to 0 bytes"),
        (("frames", 0), [1, 2], "frame 0 is not two lengths"),
        (("frames", 0, 0), True, "frame 0 is not two lengths"),
        (("frames", 0, 0), -1, "packed bytes"),
        (("frames", 0, 0), 1 << 62, "packed bytes"),
        (("frames", 0, 1), 1 << 62, "decodes to"),
        (("frames", 0, 1), 0, "decodes to"),
        (("frames", 0, 2), "F" * 64, "frame 0 is not two lengths"),
        (("entries",), [], "no object"),
        (("entries", "../x"), {"type": "directory", "mode": "0755"}, r'"\.\."'),
        (("entries", "/x"), {"type": "directory", "mode": "0755"}, "absolute"),
        (("entries", "a//b"), {"type": "directory", "mode": "0755"}, "shortest form"),
        (("entries", "bin/link/x"), {"type": "directory", "mode": "0755"}, "no directory"),
        (("entries", "new/x"), {"type": "directory", "mode": "0755"}, "no directory"),
        (("entries", "\ud800"), {"type": "directory", "mode": "0755"}, "no file name"),
        (("entries", "dev"), {"type": "device", "mode": "0755"}, "malformed"),
        (("entries", "up"), {"type": "symlink", "target": "../../etc"}, "leaves the tree"),
        (("entries", "up"), {"type": "symlink", "target": "x\0"}, "NUL"),
        (("entries", "up"), {"type": "symlink", "target": "/opt/kata/../x"}, r'"\.\."'),
        (("entries", "up"), {"type": "hardlink", "target": "bin/link"}, "no regular file"),
        (("entries", "up"), {"type": "hardlink", "target": "up"}, "no regular file"),
        (("entries", "bin", "mode"), "4755", "set-id"),
        (("entries", "bin/again", "mode"), "4755", "set-id"),
        (("entries", "bin/again", "size"), 1 << 62, "more than"),
        (("entries", "bin/again", "size"), -1, "malformed"),
        (("entries", "bin/again", "offset"), 0, "offsets"),
        (("entries", "bin/again", "extra"), 0, "canonical"),
        (("entries", "bin/again", "holes"), [], "canonical"),
        (("entries", "bin/again", "holes"), [[0, 65536]], "that is none"),
        (("entries", "share/image", "holes"), [[0, 65536], [65536, 65536]], "that is none"),
        (("entries", "share/image", "holes"), [[65536, 65536], [0, 65536]], "that is none"),
        (("entries", "share/image", "holes"), [[131072, -65536]], "that is none"),
        (("entries", "share/image", "holes"), [[1, 65536]], "that is none"),
        (("entries", "share/image", "holes"), [[0, True]], "no pairs"),
        (("entries", "share/image", "holes"), 7, "no pairs"),
    ],
)
def test_a_wrong_value_is_refused(keys: tuple[Any, ...], value: Any, match: str) -> None:
    changed = document()
    at(changed, *keys[:-1])[keys[-1]] = value
    refused(changed, match)


@pytest.mark.parametrize("data", [b"", b"{", b"[]\n", b"null", b"[" * 100_000, b'{"version":1}\n', b"\xff"])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError, match="table of contents is not valid"):
        Table.from_json(data, what="x")


@pytest.mark.parametrize("change", [b" ", b"\n", b"\0"])
def test_there_is_one_spelling(change: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"canonical|JSON"):
        Table.from_json(canonical.dumps(document()) + change, what="x")


@pytest.mark.parametrize(
    "limits",
    [Limits(max_members=3), Limits(max_unpacked_bytes=1000), Limits(max_name_bytes=10)],
    ids=["members", "bytes", "names"],
)
def test_limits_hold(limits: Limits) -> None:
    refused(document(), r"more than|allowed", limits)


def test_hostile_depths_cost_nothing() -> None:
    changed = document()
    changed["entries"] = {"/".join(["d"] * 2000) + str(i): {"type": "directory", "mode": "0755"} for i in range(2000)}
    refused(changed, "no directory of the table")
