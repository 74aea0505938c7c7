"""Whether a table of contents says of a layer exactly what the layer is.

A layer that was read to its end is compared with its table: every frame by length and digest, every byte outside of contents, the
tree, the holes. What passes here gives the same files to those who read the table and to those who read the tar. Must not know:
disks, who is trusted.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.rules import PREFIX
from kata_bundle.archive.tarheader import BLOCK
from kata_bundle.archive.tarwriter import TAR_END, member_header, prefix_headers
from kata_bundle.archive.toc import FOOTER_SIZE, Table, parse_footer, trailer_around
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.tree import File

if TYPE_CHECKING:
    from kata_bundle.archive.frames import FrameRecord
    from kata_bundle.archive.kata import KataReader
    from kata_bundle.archive.rules import Limits
    from kata_bundle.core.digest import HashingReader
    from kata_bundle.core.tree import Tree

__all__ = ["check_table"]

_BEFORE: Final = 8


def check_table(
    record: FrameRecord, reader: KataReader, tree: Tree, unpacked: HashingReader, *, what: str, limits: Limits
) -> Table | None:
    """Return the table in the last frame of a layer that was read to its end, ``None`` when that holds none.

    Raises :class:`ArchiveError` naming ``what`` for a table that is not valid, or that says anything else than was read.
    """
    trailer = bytes(record.trailer or b"")
    length = parse_footer(trailer[-FOOTER_SIZE:])
    if length is None:
        return None
    # The length is whatever the last bytes say: it is compared with what is there before it is used.
    document = trailer[_BEFORE : len(trailer) - FOOTER_SIZE]
    before, after = trailer_around(len(document))
    if length != len(document) or trailer != before + document + after:
        msg = f"{what}: there is more or something else around its table of contents"
        raise ArchiveError(msg)
    table = Table.from_json(document, what=what, limits=limits)
    stated = [(frame.packed_bytes, frame.tar_bytes, frame.sha256) for frame in table.frames]
    facts = (
        ("frames", stated, record.frames[:-1]),
        ("tar_size", table.tar_size, unpacked.size_bytes),
        ("diff_id", table.diff_id, unpacked.digest),
        ("entries", table.tree, tree),
        ("holes", dict(table.holes), {path: holes for path, holes in reader.holes() if path in table.offsets}),
        ("mtime", _outside(table), reader.outside),  # what else headers hold follows from the entries, equal by now
    )
    for name, said, found in facts:
        if said != found:
            msg = f'{what}: "{name}" of its table of contents is not what the layer holds'
            raise ArchiveError(msg)
    return table


def _outside(table: Table) -> bytes:
    """Return the sha256 of every byte of the tar that is no file's content."""
    state = hashlib.sha256(prefix_headers(PREFIX, table.mtime))
    for path, entry in table.tree.entries.items():
        state.update(member_header(path, entry, mtime=table.mtime))
        if isinstance(entry, File):
            state.update(bytes(-entry.size_bytes % BLOCK))
    state.update(TAR_END)
    return state.digest()
