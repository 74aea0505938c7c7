"""The table of contents of a layer: what the tar inside holds and where, and the frames that it is compressed in.

A layer with a table is a sequence of independent zstd frames and then one skippable frame, so that every tool sees a plain
``.tar.zst``::

    data frame 0 … data frame n-1 | magic, length | table (JSON) | length of the table, "KATATOC1"
                                    └────────────── one skippable frame ──────────────┘

A table describes a tar that :mod:`archive.tarwriter` would write of its entries, byte for byte: header blocks and places follow
from the entries alone. So whoever has the table knows every byte that is not content, and can compare. A table is hostile until
its digest is the expected one; what it may say is bound by the rules of :mod:`archive.kata` all the same. Format:
docs/reference/layer-format.md. Must not know: files on disk, decoders.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from kata_bundle.archive.frames import SKIPPABLE_MAGIC
from kata_bundle.archive.holes import HOLE, Hole
from kata_bundle.archive.rules import DEFAULT_LIMITS, PREFIX, Limits, check_symlink
from kata_bundle.archive.tarheader import BLOCK, MAX_TIME_S
from kata_bundle.archive.tarwriter import TAR_END, member_header, prefix_headers
from kata_bundle.archive.zstd import Recipe
from kata_bundle.core import canonical
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, parse_relpath, quoted
from kata_bundle.core.tree import Directory, Entry, File, Symlink, Tree, entry_from_dict, entry_to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.core.fields import JsonValue

__all__ = [
    "FOOTER_SIZE",
    "HOLE",
    "MAX_TABLE",
    "TABLE_VERSION",
    "Frame",
    "Hole",
    "Table",
    "TableRef",
    "iter_members",
    "layout",
    "max_packed",
    "parse_footer",
    "render_trailer",
    "trailer_around",
]

TABLE_VERSION: Final = 1
MAX_TABLE: Final = canonical.MAX_DOCUMENT
"""Longest table read, in bytes."""
FOOTER_SIZE: Final = 16
_FOOTER_MAGIC: Final = b"KATATOC1"
_HEADER_SIZE: Final = 8
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_TABLE_MEMBERS: Final = {"version", "recipe", "mtime", "tar_size", "diff_id", "frames", "entries"}


class Frame(NamedTuple):
    """One compressed frame: its length, the length of what it decodes to, and the sha256 of its bytes."""

    packed_bytes: int
    tar_bytes: int
    sha256: bytes


@record
class TableRef:
    """Where the table lies in the packed layer, and its identity: what a bundle index says of it."""

    digest: Digest
    offset: int
    """Of the table's first byte, after the skippable frame's header; also 8 more than the length of all data frames."""
    size_bytes: int

    @property
    def packed_size_bytes(self) -> int:
        """Length of the whole layer."""
        return self.offset + self.size_bytes + FOOTER_SIZE

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"digest": self.digest, "offset": self.offset, "size_bytes": self.size_bytes}

    @classmethod
    def from_fields(cls, fields: Fields) -> TableRef:
        """Return the reference of its JSON form; raise :class:`IntegrityError` for anything else."""
        ref = cls(digest=fields.digest("digest"), offset=fields.integer("offset"), size_bytes=fields.integer("size_bytes"))
        fields.done()
        if ref.offset < _HEADER_SIZE or not 0 < ref.size_bytes <= MAX_TABLE:
            msg = f"{fields.where}: no table of at most {MAX_TABLE} bytes can lie at {ref.offset} with {ref.size_bytes} bytes"
            raise IntegrityError(msg)
        return ref


@record(slots=False)
class Table:
    """A layer's table of contents. Make one with :meth:`of` or :meth:`from_json`: both check that its parts fit."""

    recipe: Recipe
    mtime: int
    """Time of every member, in seconds since 1970."""
    tar_size: int
    """Length of the unpacked tar in bytes."""
    diff_id: Digest
    """sha256 of the unpacked tar."""
    frames: tuple[Frame, ...]
    tree: Tree
    starts: tuple[int, ...]
    """Where in the tar the header of each entry begins, in the order of the tree."""
    offsets: Mapping[RelPath, int]
    """Regular file → where in the tar its content begins."""
    holes: Mapping[RelPath, tuple[Hole, ...]]
    """Regular file → its holes, in order; files without any are left out."""

    @classmethod
    def of(
        cls,
        tree: Tree,
        *,
        recipe: Recipe,
        mtime: int,
        diff_id: Digest,
        frames: tuple[Frame, ...],
        holes: Mapping[RelPath, tuple[Hole, ...]],
    ) -> Table:
        """Return the table of a tree packed in ``frames``; its offsets follow from the tree.

        Raises :class:`ArchiveError` when the parts do not fit together: frames too large or of another length than the tar,
        holes that are none, entries that no archive may have.
        """
        _check_tree(tree)
        starts, offsets, tar_size = layout(tree, mtime=mtime)
        table = cls(
            recipe=recipe,
            mtime=mtime,
            tar_size=tar_size,
            diff_id=diff_id,
            frames=frames,
            tree=tree,
            starts=starts,
            offsets=offsets,
            holes={path: found for path, found in holes.items() if found},
        )
        table._check()
        return table

    @cached_property
    def packed_ends(self) -> tuple[int, ...]:
        """Where in the packed layer each frame ends."""
        return tuple(accumulate(frame.packed_bytes for frame in self.frames))

    @cached_property
    def tar_ends(self) -> tuple[int, ...]:
        """Where in the tar each frame ends."""
        return tuple(accumulate(frame.tar_bytes for frame in self.frames))

    @property
    def packed_bytes(self) -> int:
        """Length of all data frames."""
        return self.packed_ends[-1] if self.frames else 0

    @property
    def allocated_bytes(self) -> int:
        """Bytes of content that an extraction writes: all files less their holes."""
        return self.tree.size_bytes - sum(hole.size_bytes for found in self.holes.values() for hole in found)

    def frames_of(self, start: int, end: int) -> range:
        """Return the numbers of the frames that hold the bytes ``start`` to ``end`` of the tar."""
        from bisect import bisect_left, bisect_right

        return range(bisect_right(self.tar_ends, start), bisect_left(self.tar_ends, end) + 1) if start < end else range(0)

    def to_json(self) -> bytes:
        """Return the canonical document: what is stored in the layer."""
        entries: dict[str, dict[str, Any]] = {}
        for path, entry in self.tree.entries.items():
            entries[path] = member = entry_to_dict(entry)
            if isinstance(entry, File):
                member["offset"] = self.offsets[path]
                if path in self.holes:
                    member["holes"] = [list(hole) for hole in self.holes[path]]
        return canonical.dumps(
            {
                "version": TABLE_VERSION,
                "recipe": self.recipe.to_dict(),
                "mtime": self.mtime,
                "tar_size": self.tar_size,
                "diff_id": self.diff_id,
                "frames": [[frame.packed_bytes, frame.tar_bytes, frame.sha256.hex()] for frame in self.frames],
                "entries": entries,
            }
        )

    @classmethod
    def from_json(cls, data: bytes, *, what: str, limits: Limits = DEFAULT_LIMITS) -> Table:
        """Return the table in ``data``; ``what`` names the layer in errors.

        Raises :class:`ArchiveError` for anything that :meth:`to_json` would not have written, and for more members, names or
        bytes than ``limits`` allow. Memory is bounded by the length of ``data``, whatever numbers it holds.
        """
        if len(data) > MAX_TABLE:
            _fail(what, f"{len(data)} bytes, more than the {MAX_TABLE} allowed")
        try:
            return cls._parse(data, limits)
        except IntegrityError as error:
            _fail(what, str(error), error.hint)
        except UnicodeEncodeError:
            _fail(what, "a name or target holds what no file name can")

    @classmethod
    def _parse(cls, data: bytes, limits: Limits) -> Table:
        document = canonical.loads(data, what="the document")
        version = document.get("version") if isinstance(document, dict) else None
        if version != TABLE_VERSION:
            msg = f"version {str(version)[:20]!a}, this program reads {TABLE_VERSION}"
            raise IntegrityError(msg, hint="use a newer kata-bundle")
        if document.keys() != _TABLE_MEMBERS:
            msg = f"members {sorted(document.keys() ^ _TABLE_MEMBERS)[:5]!a} are missing or not known"
            raise IntegrityError(msg)
        fields = Fields(document, "table")
        mtime = fields.integer("mtime")
        if mtime > MAX_TIME_S:
            msg = f"a modification time of {mtime}, more than {MAX_TIME_S}"
            raise IntegrityError(msg)
        tree, holes = _read_entries(fields.value("entries"), limits)
        table = cls.of(
            tree,
            recipe=Recipe.from_dict(fields.child("recipe").plain()),
            mtime=mtime,
            diff_id=fields.digest("diff_id"),
            frames=_read_frames(fields.value("frames")),
            holes=holes,
        )
        # Whatever else a member could say is caught here: one table, one spelling. Offsets are compared by that, too.
        if table.to_json() != data:
            msg = "it is not in canonical form, or its offsets are not those of its entries"
            raise IntegrityError(msg)
        return table

    def ref(self, document: bytes | None = None) -> TableRef:
        """Return where this table lies in its layer; ``document`` is :meth:`to_json`, if it is at hand."""
        data = self.to_json() if document is None else document
        return TableRef(digest=digest_bytes(data), offset=self.packed_bytes + _HEADER_SIZE, size_bytes=len(data))

    def _check(self) -> None:
        frame_size = self.recipe.frame_size
        if frame_size is None:
            msg = "a recipe without a frame size has no table"
            raise ArchiveError(msg)
        total = 0
        for number, frame in enumerate(self.frames):
            if not 0 < frame.tar_bytes <= frame_size:
                msg = f"frame {number} decodes to {frame.tar_bytes} bytes, expected 1 to {frame_size}"
                raise ArchiveError(msg)
            if not 0 < frame.packed_bytes <= max_packed(frame.tar_bytes):
                msg = f"frame {number} has {frame.packed_bytes} packed bytes for {frame.tar_bytes} bytes of tar"
                raise ArchiveError(msg)
            total += frame.tar_bytes
        if total != self.tar_size:
            msg = f"the frames decode to {total} bytes, the entries make a tar of {self.tar_size}"
            raise ArchiveError(msg)
        for path, found in self.holes.items():
            entry, end = self.tree.entries.get(path), -1
            size = entry.size_bytes if isinstance(entry, File) else 0
            for offset, length in found:
                # Runs that touch would be one hole.
                if offset <= end or length <= 0 or offset % HOLE or length % HOLE or offset + length > size:
                    msg = f"{quoted(path)} has a hole of {length} bytes at {offset} that is none"
                    raise ArchiveError(msg)
                end = offset + length


def max_packed(tar_bytes: int) -> int:
    """Return the most bytes that a frame with a content of ``tar_bytes`` may have.

    zstd stores what it cannot make smaller, in blocks with three bytes of header (RFC 8878, section 3.1.1.2).
    """
    return tar_bytes + (tar_bytes >> 8) + 512


def iter_members(tree: Tree, *, mtime: int) -> Iterator[tuple[RelPath, Entry, int, int]]:
    """Yield each entry of ``tree`` with where in its tar the header begins, and where it ends and the content begins."""
    position = len(prefix_headers(PREFIX, mtime))
    for path, entry in tree.entries.items():
        start, position = position, position + len(member_header(path, entry, mtime=mtime))
        yield path, entry, start, position
        if isinstance(entry, File):
            position += -(-entry.size_bytes // BLOCK) * BLOCK


def layout(tree: Tree, *, mtime: int) -> tuple[tuple[int, ...], dict[RelPath, int], int]:
    """Return where in the tar of ``tree`` each member begins, each file's content begins, and the length of that tar in bytes."""
    end = len(prefix_headers(PREFIX, mtime))
    starts: list[int] = []
    offsets: dict[RelPath, int] = {}
    for path, entry, start, content in iter_members(tree, mtime=mtime):
        starts.append(start)
        end = content
        if isinstance(entry, File):
            offsets[path] = content
            end += -(-entry.size_bytes // BLOCK) * BLOCK
    return tuple(starts), offsets, end + len(TAR_END)


def render_trailer(document: bytes) -> bytes:
    """Return the skippable frame that ends a layer whose table is ``document``."""
    header, footer = trailer_around(len(document))
    return header + document + footer


def trailer_around(size_bytes: int) -> tuple[bytes, bytes]:
    """Return the bytes before and after a table of ``size_bytes``, with which a layer ends. There is only one way."""
    footer = size_bytes.to_bytes(8, "little") + _FOOTER_MAGIC
    return SKIPPABLE_MAGIC + (size_bytes + len(footer)).to_bytes(4, "little"), footer


def parse_footer(footer: bytes) -> int | None:
    """Return the length of the table before ``footer``, a layer's last 16 bytes; ``None`` when they end no table."""
    if len(footer) != FOOTER_SIZE or footer[8:] != _FOOTER_MAGIC:
        return None
    return int.from_bytes(footer[:8], "little")


def _read_frames(value: object) -> tuple[Frame, ...]:
    if not isinstance(value, list):
        msg = "frames are no array"
        raise ArchiveError(msg)
    frames = []
    for number, item in enumerate(value):
        match item:
            case [int(packed), int(size), str(digest)] if type(packed) is type(size) is int and _HEX.fullmatch(digest):
                frames.append(Frame(packed, size, bytes.fromhex(digest)))
            case _:
                msg = f"frame {number} is not two lengths and a sha256"
                raise ArchiveError(msg)
    return tuple(frames)


def _read_entries(value: object, limits: Limits) -> tuple[Tree, dict[RelPath, tuple[Hole, ...]]]:
    if not isinstance(value, dict):
        msg = "entries are no object"
        raise ArchiveError(msg)
    if len(value) > limits.max_members:
        msg = f"more than the {limits.max_members} entries allowed"
        raise ArchiveError(msg)
    entries: dict[RelPath, Entry] = {}
    holes: dict[RelPath, tuple[Hole, ...]] = {}
    names = total = 0
    for text, item in value.items():
        path = parse_relpath(text)
        if path != text:
            msg = f"the path {quoted(text)} is not in its shortest form"
            raise ArchiveError(msg)
        entries[path] = entry = entry_from_dict(text, item)
        names += len(text)
        if isinstance(entry, File):
            total += entry.size_bytes
            found = item.get("holes", [])
            if found:
                holes[path] = _read_holes(text, found)
        elif isinstance(entry, Symlink):
            names += len(entry.target)
    if total > limits.max_unpacked_bytes or names > limits.max_name_bytes:
        allowed = f"{limits.max_unpacked_bytes} and {limits.max_name_bytes} allowed"
        msg = f"{total} bytes in files and {names} in names, more than the {allowed}"
        raise ArchiveError(msg)
    for path in entries:
        # Before a tree adds them, which for hostile depths would take memory without bound.
        parent = path.rpartition("/")[0]
        if parent and not isinstance(entries.get(RelPath(parent)), Directory):
            msg = f"{quoted(path)} lies below {quoted(parent)}, which is no directory of the table"
            raise ArchiveError(msg)
    return Tree.of(entries), holes


def _read_holes(path: str, value: object) -> tuple[Hole, ...]:
    if isinstance(value, list):
        pairs = [Hole(*item) for item in value if isinstance(item, list) and len(item) == 2 and all(type(n) is int for n in item)]
        if len(pairs) == len(value):
            return tuple(pairs)
    msg = f"the holes of {quoted(path)} are no pairs of numbers"
    raise ArchiveError(msg)


def _check_tree(tree: Tree) -> None:
    for path, entry in tree.entries.items():
        match entry:
            case Symlink(target=target):
                try:
                    check_symlink(path, target)
                except ArchiveError as error:
                    msg = f"{quoted(path)}: {error}"
                    raise ArchiveError(msg) from None
            case Directory(mode=mode) | File(mode=mode) if mode & ~0o777:
                msg = f"{quoted(path)} has mode {mode:04o}; set-id and sticky bits are never packed"
                raise ArchiveError(msg)


def _fail(what: str, reason: str, hint: str | None = None) -> NoReturn:
    msg = f"{what}: its table of contents is not valid: {reason}"
    raise ArchiveError(msg, hint=hint)
