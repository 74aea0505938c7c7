"""Collect the parts of a bug report within bounds and pack them into one archive.

Nothing here raises for a part that cannot be had, is too large or hangs: the summary says so. A part that does not end in time
is left to its thread, which ends with the process. The same parts give the same bytes: no time, no name of this machine is put
in. Must not know: what the parts are.
"""

from __future__ import annotations

import io
import queue
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from kata_bundle import __version__
from kata_bundle.archive.tarwriter import tar_size, write_tar
from kata_bundle.archive.zstd import current_recipe, open_compressor
from kata_bundle.core import canonical, clock
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath, parse_relpath
from kata_bundle.core.tree import File
from kata_bundle.node.diagnostics.redact import redact, secret_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.diagnostics.parts import Part

__all__ = ["FOLDER", "Bounds", "Collected", "Piece", "collect", "pack"]

FOLDER: Final = "kata-bundle-diagnostics"
"""The one folder in the archive."""
_MODE: Final = 0o600
_T = TypeVar("_T")


@record
class Bounds:
    """How much is collected: seconds for everything and for one part, bytes of one part and of all, number of parts."""

    within_s: float = 30.0
    part_s: float = 10.0
    part_bytes: int = 4 << 20
    total_bytes: int = 48 << 20
    parts: int = 1000


@record
class Piece:
    """A part as it was collected: its text without secrets, or ``trouble`` saying why there is none."""

    name: str
    source: str
    data: bytes | None
    redactions: int = 0
    trouble: str | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """Return what the summary says of it."""
        return {
            "name": self.name,
            "source": self.source,
            "size_bytes": None if self.data is None else len(self.data),
            "redactions": self.redactions,
            "trouble": self.trouble,
        }


@record
class Collected:
    """Everything that was asked for, by name. ``trouble`` is what kept the list itself from being complete."""

    pieces: tuple[Piece, ...]
    trouble: str | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the summary."""
        return {
            "version": 1,
            "tool": f"kata-bundle {__version__}",
            "parts": [piece.to_dict() for piece in self.pieces],
            "trouble": self.trouble,
        }


def collect(
    parts: Iterable[Part], bounds: Bounds | None = None, *, now: Callable[[], float] = clock.monotonic, known: Iterable[str] = ()
) -> Collected:
    """Read ``parts`` in their order, as far as ``bounds`` allow; ``known`` are secrets to take out wherever they stand."""
    bounds = bounds or Bounds()
    end = now() + bounds.within_s
    raw: list[tuple[Part, bytes | None, str | None]] = []
    total = 0
    source = iter(parts)
    names: set[str] = set()
    trouble: str | None = None
    while True:
        part, stopped = _within(lambda: next(source, None), min(bounds.part_s, end - now()))
        if part is None:
            trouble = None if stopped is None else f"the list of parts: {stopped}"
            break
        if len(raw) == bounds.parts:
            trouble = f"there are more than {bounds.parts} parts"
            break
        if part.name in names:
            continue  # two names that differ in unprintable characters only
        names.add(part.name)
        if total >= bounds.total_bytes:
            raw.append((part, None, f"left out: {bounds.total_bytes} bytes were collected before"))
            continue
        data, stopped = _within(part.read, min(bounds.part_s, end - now()))
        if data is not None:
            limit = min(bounds.part_bytes, bounds.total_bytes - total)
            if len(data) > limit:
                data, stopped = data[:limit], f"cut after {limit} bytes"
            total += len(data)
        raw.append((part, data, stopped))
    texts = [None if data is None else data.decode("utf-8", "replace") for _, data, _ in raw]
    secrets = {*known}
    for (part, _, _), text in zip(raw, texts, strict=True):
        if text is not None and ".toml" in part.name:
            secrets |= secret_values(text)
    pieces = [_piece(part, text, stopped, secrets) for (part, _, stopped), text in zip(raw, texts, strict=True)]
    return Collected(pieces=tuple(sorted(pieces, key=lambda piece: piece.name)), trouble=trouble)


def pack(collected: Collected) -> bytes:
    """Return the archive, a ``.tar.zst``: the summary and every piece below :data:`FOLDER`, readable by its owner only."""
    contents = {"summary.json": canonical.dumps_pretty(collected.to_dict()).encode()}
    contents |= {piece.name: piece.data for piece in collected.pieces if piece.data is not None}
    mtime = clock.source_date()

    def entries() -> Iterator[tuple[RelPath, File, Callable[[], BinaryIO]]]:
        for name in sorted(contents, key=str.encode):
            data = contents[name]
            entry = File(mode=_MODE, size_bytes=len(data), digest=digest_bytes(data))
            yield parse_relpath(name), entry, _opener(data)

    size = tar_size(((path, entry) for path, entry, _ in entries()), prefix=FOLDER, mtime=mtime)
    sink = io.BytesIO()
    with open_compressor(sink, current_recipe(), size) as writer:
        write_tar(entries(), writer, prefix=FOLDER, mtime=mtime)
    return sink.getvalue()


def _opener(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def _piece(part: Part, text: str | None, trouble: str | None, secrets: set[str]) -> Piece:
    # What went wrong, and where a part is from, can quote a secret too.
    shown = None if trouble is None else redact(trouble, secrets)[0]
    where = redact(part.source, secrets)[0]
    if text is None:
        return Piece(name=part.name, source=where, data=None, trouble=shown)
    clean, count = redact(text, secrets)
    return Piece(name=part.name, source=where, data=clean.encode("utf-8", "replace"), redactions=count, trouble=shown)


def _within(call: Callable[[], _T], seconds: float) -> tuple[_T | None, str | None]:
    """Return what ``call`` returns, or ``None`` and why there is nothing: an error, or no end within ``seconds``."""
    if seconds <= 0:
        return None, "left out: the time was used up before"
    answer: queue.SimpleQueue[tuple[_T | None, str | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answer.put((call(), None))
        except Exception as error:  # whatever goes wrong with one part, the others are worth having
            answer.put((None, str(error) or type(error).__name__))

    threading.Thread(target=work, daemon=True, name="diagnostics").start()
    try:
        return answer.get(timeout=seconds)
    except queue.Empty:
        return None, f"gave nothing within {seconds:.0f} s"
