"""Where the bytes of a delta went: each file of the new tree with how it is made and what that takes.

Must not know: how frames are chosen or decoded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.record import record
from kata_bundle.core.tree import File

if TYPE_CHECKING:
    from kata_bundle.archive.deltaformat import DeltaTable, FrameRecipe, Piece
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.relpath import RelPath

__all__ = ["FileCost", "FileMode", "file_costs"]


class FileMode(StrEnum):
    """How a file of the new tree is made, the dearest way that one of its frames takes."""

    UNCHANGED = "unchanged"
    """An old file has its content."""
    FRAMES = "frames"
    """From the bytes around each frame's place in one old file."""
    WHOLE = "whole"
    """From bytes that lay elsewhere in old files too."""
    FULL = "full"
    """A frame refers to no old bytes."""


@record
class FileCost:
    """What one file takes."""

    path: RelPath
    mode: FileMode
    size_bytes: int
    stored_bytes: int
    """Its share of the stored bytes; of a frame that files share, in proportion to their lengths."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "path": self.path,
            "mode": self.mode.value,
            "size_bytes": self.size_bytes,
            "stored_bytes": self.stored_bytes,
        }


_ORDER = list(FileMode)


def file_costs(table: DeltaTable) -> tuple[FileCost, ...]:
    """Return the cost of each file in the order of the paths, names of one content once. Their sum is the stored bytes."""
    stored: dict[Digest, int] = {}
    modes: dict[Digest, FileMode] = {}
    for frame, pieces in zip(table.frames, table.layout, strict=True):
        mode = _mode(frame, pieces)
        length, done, given = sum(piece.length for piece in pieces), 0, 0
        for piece in pieces:
            done += piece.length
            share = frame.stored * done // length - given
            given += share
            stored[piece.digest] = stored.get(piece.digest, 0) + share
            modes[piece.digest] = max(modes.get(piece.digest, FileMode.FRAMES), mode, key=_ORDER.index)
    costs = []
    seen: set[Digest] = set()
    for path, entry in table.tree.entries.items():
        if isinstance(entry, File) and entry.digest not in seen:
            seen.add(entry.digest)
            is_new = entry.digest in table.changed
            mode = modes.get(entry.digest, FileMode.FULL) if is_new else FileMode.UNCHANGED
            costs.append(FileCost(path=path, mode=mode, size_bytes=entry.size_bytes, stored_bytes=stored.get(entry.digest, 0)))
    return tuple(costs)


def _mode(frame: FrameRecipe, pieces: tuple[Piece, ...]) -> FileMode:
    if not frame.ranges:
        return FileMode.FULL if frame.stored else FileMode.FRAMES
    # Frames of several small files have one range for each old file.
    return FileMode.FRAMES if len(frame.ranges) == 1 or len(pieces) > 1 else FileMode.WHOLE
