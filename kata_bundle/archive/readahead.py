"""Reading a stream in a thread of its own, so that decoding overlaps with hashing and writing.

Decoders, hash functions and file writes release the interpreter's lock while they work on large pieces. Must not know: formats.
"""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from kata_bundle.archive.streams import COPY_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

    from kata_bundle.core.streams import Readable

__all__ = ["read_ahead"]

_PIECES: Final = 4


@contextmanager
def read_ahead(stream: Readable) -> Iterator[BinaryIO]:
    """Yield the content of ``stream``, which a thread reads at most four pieces (2 MiB) ahead.

    What reading raises there is raised here, after what was read before. ``stream`` belongs to the thread until the context ends.
    """
    pieces: SimpleQueue[bytes | BaseException] = SimpleQueue()
    free = threading.Semaphore(_PIECES)
    stopped = threading.Event()

    def pump() -> None:
        try:
            piece: bytes | BaseException = b"go"
            while piece:
                free.acquire()
                if stopped.is_set():
                    return
                piece = stream.read(COPY_SIZE)
                pieces.put(piece)
        except BaseException as error:
            pieces.put(error)

    thread = threading.Thread(target=pump, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield cast("BinaryIO", io.BufferedReader(_Pieces(pieces, free), COPY_SIZE))
    finally:
        stopped.set()
        free.release()
        thread.join()


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: SimpleQueue[bytes | BaseException], free: threading.Semaphore) -> None:
        super().__init__()
        self._pieces = pieces
        self._free = free
        self._rest = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if not self._rest and not self._ended:
            piece = self._pieces.get()
            self._free.release()
            if isinstance(piece, BaseException):
                self._ended = True
                raise piece
            self._rest = memoryview(piece)
            self._ended = not piece
        taken = self._rest[: memoryview(buffer).nbytes]
        memoryview(buffer).cast("B")[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
