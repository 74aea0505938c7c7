"""Reading ahead changes when bytes are read, and nothing else."""

from __future__ import annotations

import io
import threading

import pytest

from kata_bundle.archive.readahead import read_ahead
from kata_bundle.archive.streams import COPY_SIZE

DATA = bytes(range(256)) * 20_000


class Source:
    """Gives the data, then raises ``error`` if there is one; counts what was asked for."""

    def __init__(self, error: BaseException | None = None) -> None:
        self._stream = io.BytesIO(DATA)
        self._error = error
        self.read_count = 0

    def read(self, size: int = -1, /) -> bytes:
        self.read_count += 1
        data = self._stream.read(size)
        if not data and self._error is not None:
            raise self._error
        return data


@pytest.mark.parametrize("size", [1 << 20, 512, 4096, 524_288, 700_001, -1])
def test_content_is_the_same_however_it_is_read(size: int) -> None:
    with read_ahead(Source()) as stream:
        pieces = list(iter(lambda: stream.read(size), b""))
        assert stream.read(1) == b""
    assert b"".join(pieces) == DATA


@pytest.mark.parametrize("error", [ValueError("bad"), OSError(5, "input/output error"), KeyboardInterrupt()])
def test_an_error_comes_after_what_was_read_before_it(error: BaseException) -> None:
    got = b""
    with read_ahead(Source(error)) as stream:
        while len(got) < len(DATA):
            got += stream.read(1000)
        with pytest.raises(type(error)) as raised:
            stream.read(1)
    assert raised.value is error
    assert got == DATA


def test_only_a_few_pieces_are_held_however_slow_the_reader_is() -> None:
    source = Source()
    lead = []
    with read_ahead(source) as stream:
        for taken in range(len(DATA) // 512):
            stream.read(512)
            lead.append(source.read_count - taken * 512 // COPY_SIZE)
    assert max(lead) <= 7


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    for _ in range(20):
        with read_ahead(Source()) as stream:
            stream.read(10)
    with pytest.raises(ZeroDivisionError), read_ahead(Source()):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_an_empty_stream_is_empty() -> None:
    with read_ahead(io.BytesIO()) as stream:
        assert stream.read() == b""
