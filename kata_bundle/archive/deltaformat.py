"""The delta layer: what turns the files of one tree into those of another (docs/reference/delta-format.md, version 1).

::

    magic "kbdelta1" | u32 packed | u32 tree | u32 table     lengths, little-endian
    one zstd frame of ``packed`` bytes: the new tree's canonical document (``tree`` bytes), then the table (``table`` bytes)
    the stored bytes of the frames, one after the other

The table names the old files by digest (*sources*) and, for each frame of new content, the ranges of sources that precede it. New
files whose content is a source are taken from there. All others lie in frames whose order and lengths follow from the tree: a
reader computes them (:func:`layout`) and is never told. Nothing in a delta is trusted: the tree is the expected one or the delta
is refused before anything else is read, and all else is bounded by it. Must not know: files on disk, compression.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.deltacodec import LEVELS, compress, unpack_table
from kata_bundle.core import canonical
from kata_bundle.core.digest import Digest, digest_bytes, parse_digest
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.fields import MAX_INTEGER, Fields
from kata_bundle.core.record import record
from kata_bundle.core.tree import File, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.streams import Readable

__all__ = [
    "DEFAULT_FRAME",
    "FORMAT_VERSION",
    "MAX_FRAME",
    "MAX_PREFIX",
    "MIN_FRAME",
    "DeltaRecipe",
    "DeltaTable",
    "FrameRecipe",
    "Piece",
    "Range",
    "Source",
    "layout",
    "prefix_limit",
    "read_table",
    "render_header",
]

FORMAT_VERSION: Final = 1
_MAGIC: Final = b"kbdelta1"
_LENGTHS: Final = 12
MIN_FRAME: Final = 1 << 12
DEFAULT_FRAME: Final = 1 << 21
MAX_FRAME: Final = 1 << 22
"""Most bytes of new content in a frame."""
MAX_PREFIX: Final = 1 << 23
"""Most old bytes before a frame."""
_PREFIX_PER_BYTE: Final = 8
"""Old bytes read for one new byte, at most: what keeps a hostile table from keeping a reader busy."""
_MAX_TABLE: Final = 64 << 20
_MAX_FRAMES: Final = 1 << 20
_MAX_RANGES: Final = 256
_MAX_DATA: Final = 1 << 40


@record
class DeltaRecipe:
    """What the bytes of a delta depend on beside the two trees."""

    level: int
    library: str
    frame_size: int

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"codec": "zstd", "level": self.level, "library": self.library, "frame_size": self.frame_size}

    @classmethod
    def from_dict(cls, value: object, *, where: str = "recipe") -> DeltaRecipe:
        """Return the recipe of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = value if isinstance(value, Fields) else Fields(value, where)
        recipe = cls(level=fields.integer("level"), library=fields.text("library"), frame_size=fields.integer("frame_size"))
        codec = fields.text("codec")
        fields.done()
        if codec != "zstd" or recipe.level not in LEVELS or not MIN_FRAME <= recipe.frame_size <= MAX_FRAME:
            msg = f"{fields.where} is not a recipe of deltas that this version knows"
            raise IntegrityError(msg)
        return recipe


@record
class Source:
    """An old file that new content refers to, or is."""

    digest: Digest
    size_bytes: int


@record(kw_only=False)
class Range:
    """Bytes of the source with this number."""

    source: int
    offset: int
    length: int


@record(kw_only=False)
class FrameRecipe:
    """How a frame is made: ``stored`` bytes decoded behind the bytes of ``ranges``.

    Without stored bytes it is the range itself, and without a range zeros.
    """

    stored: int
    ranges: tuple[Range, ...] = ()

    @property
    def prefix_bytes(self) -> int:
        """Old bytes that the frame needs."""
        return sum(item.length for item in self.ranges)


@record(kw_only=False)
class Piece:
    """A part of a frame: ``length`` bytes of the file with content ``digest``, from ``offset`` on."""

    digest: Digest
    offset: int
    length: int


@record(slots=False)
class DeltaTable:
    """A whole table. Raises :class:`IntegrityError` when its parts do not fit together or go beyond a limit."""

    old: Digest
    tree: Tree
    mtime: int
    """The time of every file, in seconds since 1970."""
    recipe: DeltaRecipe
    sources: tuple[Source, ...]
    frames: tuple[FrameRecipe, ...]

    def __post_init__(self) -> None:
        numbers = {source.digest for source in self.sources}
        if len(numbers) != len(self.sources):
            msg = "a source stands twice in the table"
            raise IntegrityError(msg)
        if len(self.frames) != len(self.layout):
            msg = f"{len(self.frames)} frames in the table, the tree needs {len(self.layout)}"
            raise IntegrityError(msg)
        for frame, pieces in zip(self.frames, self.layout, strict=True):
            self._check(frame, sum(piece.length for piece in pieces))

    @property
    def new(self) -> Digest:
        """The new tree's digest."""
        return self.tree.digest

    @cached_property
    def layout(self) -> tuple[tuple[Piece, ...], ...]:
        """The pieces of each frame."""
        return layout(self.tree, {source.digest for source in self.sources}, self.recipe.frame_size)

    @cached_property
    def changed(self) -> dict[Digest, int]:
        """Contents that frames give, with their sizes."""
        known = {source.digest for source in self.sources}
        return {e.digest: e.size_bytes for e in self.tree.entries.values() if isinstance(e, File) and e.digest not in known}

    @property
    def data_bytes(self) -> int:
        """Stored bytes behind the table."""
        return sum(frame.stored for frame in self.frames)

    def needed(self) -> frozenset[Digest]:
        """Return the contents that have to be at hand: all sources that a frame or the new tree uses."""
        return frozenset(source.digest for source in self.sources)

    def _check(self, frame: FrameRecipe, length: int) -> None:
        for item in frame.ranges:
            if not 0 <= item.source < len(self.sources) or item.offset + item.length > self.sources[item.source].size_bytes:
                msg = "a frame refers to bytes that no source has"
                raise IntegrityError(msg)
        if not frame.stored and frame.ranges:
            if len(frame.ranges) != 1 or frame.ranges[0].length != length:
                msg = f"a frame copies other than its {length} bytes"
                raise IntegrityError(msg)
        elif len(frame.ranges) > _MAX_RANGES or frame.prefix_bytes > prefix_limit(length):
            msg = f"a frame of {length} bytes needs {frame.prefix_bytes} old bytes, more than the {prefix_limit(length)} allowed"
            raise IntegrityError(msg)
        if frame.stored > length + (length >> 7) + 512:  # what zstd makes of content that it cannot compress
            msg = f"a frame of {length} bytes is stored in {frame.stored}"
            raise IntegrityError(msg)

    def to_json(self) -> bytes:
        """Return the canonical document, without the tree."""
        return canonical.dumps(
            {
                "version": FORMAT_VERSION,
                "old": self.old,
                "new": self.new,
                "mtime": self.mtime,
                "recipe": self.recipe.to_dict(),
                "sources": [[source.digest, source.size_bytes] for source in self.sources],
                "frames": [
                    [frame.stored, *(number for r in frame.ranges for number in (r.source, r.offset, r.length))]
                    for frame in self.frames
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes, tree: Tree, *, what: str) -> DeltaTable:
        """Return the table of its canonical document; raise :class:`IntegrityError` for anything else."""
        fields = Fields(canonical.loads(data, what=what), what)
        version = fields.integer("version")
        if version != FORMAT_VERSION:
            msg = f"{what} has format version {version}, this program reads {FORMAT_VERSION}"
            raise IntegrityError(msg, hint="use a newer kata-bundle" if version > FORMAT_VERSION else None)
        if fields.digest("new") != tree.digest:
            msg = f"{what} is for another tree than the one before it"
            raise IntegrityError(msg)
        table = cls(
            old=fields.digest("old"),
            tree=tree,
            mtime=fields.integer("mtime"),
            recipe=DeltaRecipe.from_dict(fields.child("recipe")),
            sources=tuple(_source(item, what) for item in _array(fields, "sources")),
            frames=tuple(_frame(item, what) for item in _array(fields, "frames")),
        )
        fields.done()
        return table


def prefix_limit(length: int) -> int:
    """Return how many old bytes a frame of ``length`` bytes may need."""
    return min(MAX_PREFIX, _PREFIX_PER_BYTE * length)


def layout(tree: Tree, known: set[Digest], frame_size: int) -> tuple[tuple[Piece, ...], ...]:
    """Return the pieces of every frame for the contents of ``tree`` that are not ``known``.

    In the order of the paths, each content once: those under half a frame first, all in one row that is cut every ``frame_size``
    bytes; then each larger one in frames of its own. Empty files are in no frame. Raises :class:`IntegrityError` for more than
    2^20 frames.
    """
    seen: set[Digest] = set()
    small: list[File] = []
    large: list[File] = []
    for entry in tree.entries.values():
        if isinstance(entry, File) and entry.digest not in known and entry.digest not in seen and entry.size_bytes:
            seen.add(entry.digest)
            (small if entry.size_bytes < frame_size // 2 else large).append(entry)
    count = sum(-(-file.size_bytes // frame_size) for file in large)
    if count + len(small) > _MAX_FRAMES:
        msg = f"the tree needs {count} frames, more than the {_MAX_FRAMES} allowed"
        raise IntegrityError(msg)
    frames = [
        (Piece(f.digest, at, min(frame_size, f.size_bytes - at)),) for f in large for at in range(0, f.size_bytes, frame_size)
    ]
    return (*_shared(small, frame_size), *frames)


def _shared(files: Sequence[File], frame_size: int) -> list[tuple[Piece, ...]]:
    frames: list[tuple[Piece, ...]] = []
    pieces: list[Piece] = []
    room = frame_size
    for file in files:
        offset = 0
        while offset < file.size_bytes:
            length = min(room, file.size_bytes - offset)
            pieces.append(Piece(file.digest, offset, length))
            offset += length
            room -= length
            if not room:
                frames.append(tuple(pieces))
                pieces, room = [], frame_size
    return [*frames, tuple(pieces)] if pieces else frames


def render_header(table: DeltaTable) -> bytes:
    """Return everything that comes before the stored bytes."""
    tree, document = table.tree.to_json(), table.to_json()
    packed = compress(tree + document, b"", level=19)
    return _MAGIC + b"".join(len(part).to_bytes(4, "little") for part in (packed, tree, document)) + packed


def read_table(stream: Readable, *, what: str, size_bytes: int, expected_tree: Digest | None = None) -> tuple[DeltaTable, int]:
    """Return the table at the start of ``stream``, and where the stored bytes begin.

    ``size_bytes`` is the length of the whole delta. Raises :class:`IntegrityError` for anything that is no delta, and, before
    more than the tree's document is looked at, when it is not for ``expected_tree``.
    """
    head = stream.read(len(_MAGIC) + _LENGTHS)
    if head[: len(_MAGIC)] != _MAGIC or len(head) != len(_MAGIC) + _LENGTHS:
        newer = head[:7] == _MAGIC[:7] and len(head) == len(_MAGIC) + _LENGTHS
        msg = f"{what} is {'a delta of another version' if newer else 'no delta layer'}"
        raise IntegrityError(msg, hint="use a newer kata-bundle" if newer else None)
    packed, tree_length, table_length = (int.from_bytes(head[at : at + 4], "little") for at in range(len(_MAGIC), len(head), 4))
    if tree_length + table_length > _MAX_TABLE or packed > min(size_bytes, _MAX_TABLE):
        msg = f"{what}: a table of {tree_length + table_length} bytes, more than the {_MAX_TABLE} allowed or than the file holds"
        raise IntegrityError(msg)
    data = stream.read(packed)
    if len(data) != packed:
        msg = f"{what} ends inside its table"
        raise ArchiveError(msg)
    both = unpack_table(data, length=tree_length + table_length, what=f"{what}: table")
    document = both[:tree_length]
    found = digest_bytes(document)
    if expected_tree not in {None, found}:
        msg = f"{what} is for the tree {found}, expected {expected_tree}"
        raise IntegrityError(msg)
    tree = Tree.from_json(document, what=f"{what}: tree")
    table = DeltaTable.parse(both[tree_length:], tree, what=f"{what}: table")
    start = len(head) + packed
    if table.data_bytes != size_bytes - start:
        msg = f"{what} has {size_bytes - start} stored bytes, its table says {table.data_bytes}"
        raise ArchiveError(msg)
    return table, start


def _array(fields: Fields, key: str) -> list[object]:
    value = fields.value(key)
    if not isinstance(value, list):
        msg = f"{fields.where}.{key} is no array"
        raise IntegrityError(msg)
    return value


def _source(value: object, what: str) -> Source:
    if isinstance(value, list) and len(value) == 2 and _is_number(value[1]):
        return Source(digest=parse_digest(value[0]), size_bytes=value[1])
    msg = f"{what}: a source is no digest with a size"
    raise IntegrityError(msg)


def _frame(value: object, what: str) -> FrameRecipe:
    if isinstance(value, list) and len(value) % 3 == 1 and len(value) <= 1 + 3 * _MAX_RANGES and all(map(_is_number, value)):
        numbers: list[int] = value
        if numbers[0] <= _MAX_DATA:
            starts = range(1, len(numbers), 3)
            return FrameRecipe(numbers[0], tuple(Range(numbers[i], numbers[i + 1], numbers[i + 2]) for i in starts))
    msg = f"{what}: a frame is no row of numbers"
    raise IntegrityError(msg)


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER
