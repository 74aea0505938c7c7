"""A tar writer whose bytes depend on its input only.

ustar, with a pax header only where a name, a link target or a size does not fit; owner 0:0 without names; one modification time
for all members. The caller brings the members in the order they shall have. Must not know: compression, stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.archive.streams import COPY_SIZE
from kata_bundle.archive.tarheader import BLOCK, MAX_TIME_S, ZERO_BLOCK, Kind, render_header, render_pax_records
from kata_bundle.core.digest import HashingReader
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.relpath import os_bytes
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kata_bundle.archive.streams import Opener
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.streams import Writable

__all__ = ["TAR_END", "member_header", "prefix_headers", "tar_size", "write_tar"]

TAR_END: Final = ZERO_BLOCK * 2
"""What every tar ends with."""
_PAX_NAME: Final = b"././@PaxHeader"


def write_tar(
    entries: Iterable[tuple[RelPath, Entry, Opener | None]],
    sink: Writable,
    *,
    prefix: str = "opt/kata",
    mtime: int,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write ``entries`` as members below ``prefix``, whose directories come first; return the length of the tar in bytes.

    An empty ``prefix`` is none. An opener is needed for files only. ``mtime`` is in seconds since 1970. ``on_progress`` is told
    of every number of bytes written. Raises :class:`IntegrityError` when a content is not what its entry says, or a mode has
    more than the permission bits.
    """
    size = 0

    def put(data: bytes) -> None:
        nonlocal size
        sink.write(data)
        size += len(data)
        if on_progress is not None:
            on_progress(len(data))

    put(prefix_headers(prefix, mtime))
    for path, entry, opener in entries:
        put(member_header(path, entry, prefix=prefix, mtime=mtime))
        if isinstance(entry, File):
            if opener is None:
                msg = f'file "{path}" has no content to pack'
                raise IntegrityError(msg)
            with opener() as stream:
                content = HashingReader(stream)
                while (left := entry.size_bytes - content.size_bytes) and (chunk := content.read(min(left, COPY_SIZE))):
                    put(chunk)
                if left or content.digest != entry.digest or stream.read(1):
                    msg = f'the content of "{path}" is not the {entry.size_bytes} bytes with the digest {entry.digest}'
                    raise IntegrityError(msg)
            put(bytes(-entry.size_bytes % BLOCK))
    put(TAR_END)
    return size


def tar_size(entries: Iterable[tuple[RelPath, Entry]], *, prefix: str = "opt/kata", mtime: int) -> int:
    """Return how many bytes :func:`write_tar` will write."""
    size = len(prefix_headers(prefix, mtime)) + len(TAR_END)
    for path, entry in entries:
        size += len(member_header(path, entry, prefix=prefix, mtime=mtime))
        if isinstance(entry, File):
            size += -(-entry.size_bytes // BLOCK) * BLOCK
    return size


def prefix_headers(prefix: str = "opt/kata", mtime: int = 0) -> bytes:
    """Return the headers of the directories of ``prefix``, with which :func:`write_tar` begins."""
    parts = prefix.split("/") if prefix else []
    names = ["/".join(parts[: i + 1]) + "/" for i in range(len(parts))]
    return b"".join(_member(Kind.DIRECTORY, name, mtime, mode=0o755) for name in names)


def member_header(path: RelPath, entry: Entry, *, prefix: str = "opt/kata", mtime: int) -> bytes:
    """Return what :func:`write_tar` writes before the content of ``path``: a header block, behind a pax header if needed."""
    start = f"{prefix}/" if prefix else ""
    name = f"{start}{path}"
    match entry:
        case Directory(mode=mode):
            return _member(Kind.DIRECTORY, name + "/", mtime, mode=mode)
        case File(mode=mode, size_bytes=size):
            return _member(Kind.FILE, name, mtime, mode=mode, size_bytes=size)
        case Symlink(target=target):
            return _member(Kind.SYMLINK, name, mtime, mode=0o777, target=target)
        case Hardlink(target=target):
            return _member(Kind.HARDLINK, name, mtime, mode=0o644, target=f"{start}{target}")


def _member(kind: Kind, text: str, mtime: int, *, mode: int, size_bytes: int = 0, target: str = "") -> bytes:
    """Return the header block of one member, behind a pax header where one is needed."""
    if not 0 <= mtime <= MAX_TIME_S:
        msg = f"modification time {mtime} is not in 0 to {MAX_TIME_S}"
        raise ValueError(msg)
    if mode & ~0o777:
        msg = f'"{text}" has mode {mode:04o}; set-id and sticky bits are never packed'
        raise IntegrityError(msg)
    name, link = os_bytes(text), os_bytes(target)
    header = render_header(kind, name, mode=mode, size_bytes=size_bytes, mtime_s=mtime, target=link)
    if header is not None:
        return header
    records: dict[bytes, bytes] = {}
    if render_header(kind, name, mode=0, size_bytes=0, mtime_s=0) is None:
        records[b"path"] = name
    if len(link) > 100:
        records[b"linkpath"] = link
    if render_header(kind, b"", mode=0, size_bytes=size_bytes, mtime_s=0) is None:
        records[b"size"] = b"%d" % size_bytes
    if any(not _is_utf8(value) for value in records.values()):
        records = {b"hdrcharset": b"BINARY"} | records
    data = render_pax_records(records)
    extended = render_header(b"x", _PAX_NAME, mode=0o644, size_bytes=len(data), mtime_s=mtime)
    # What a reader without pax sees: shortened names, no content.
    plain = render_header(
        kind,
        name if b"path" not in records else name[-100:],
        mode=mode,
        size_bytes=0 if b"size" in records else size_bytes,
        mtime_s=mtime,
        target=link[:100],
    )
    if extended is None or plain is None:  # pragma: no cover - both were cut to fit
        msg = f'"{text}" cannot be written as a tar member'
        raise IntegrityError(msg)
    return extended + data + bytes(-len(data) % BLOCK) + plain


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
