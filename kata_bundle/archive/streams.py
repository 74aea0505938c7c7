"""How archives are handed in and moved: paths or streams, in pieces of one size.

Must not know: formats.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.core.fsops import StrPath

__all__ = ["COPY_SIZE", "Opener", "Source", "open_source", "size_left"]

COPY_SIZE: Final = 1 << 19
"""Bytes moved at once. Large pieces halve the cost of writing; pieces over 1 MiB cost page faults."""

Opener: TypeAlias = "Callable[[], BinaryIO]"
"""Opens a file's content for reading."""

Source: TypeAlias = "BinaryIO | StrPath"
"""A packed layer: a stream, or the path of a file."""


@contextmanager
def open_source(source: Source) -> Iterator[BinaryIO]:
    """Yield ``source`` as a stream; a path is opened and closed here, a stream is left open."""
    if not isinstance(source, (str, os.PathLike)):
        yield source
    else:
        with open(source, "rb", buffering=0) as stream:
            yield cast("BinaryIO", stream)


def size_left(stream: BinaryIO) -> int | None:
    """Return how many bytes ``stream`` still has, ``None`` when it cannot seek."""
    if not stream.seekable():
        return None
    position = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(position)
    return end - position
