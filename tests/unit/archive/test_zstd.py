"""The zstd seam: recipes, frames, and what a decoder is protected from."""

from __future__ import annotations

import hashlib
import io
import itertools

import pytest
import zstandard

from kata_bundle.archive.frames import FrameWalker
from kata_bundle.archive.zstd import Recipe, current_recipe, open_compressor, open_decompressor
from kata_bundle.core.errors import ArchiveError, IntegrityError
from tests.fixtures.rawtar import packed, rle_bomb

DATA = b"".join(b"%d," % (i * i) for i in range(60_000))
NOTE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def compress(data: bytes, *, threads: int = 1, level: int = 10) -> bytes:
    sink = io.BytesIO()
    with open_compressor(sink, current_recipe(level), len(data), threads=threads) as compressor:
        compressor.write(data)
    return sink.getvalue()


def decompress(data: bytes, limit: int = 1 << 30) -> bytes:
    return open_decompressor(io.BytesIO(data), limit_bytes=limit, what="x").read()


def test_recipe_goes_through_json_members() -> None:
    recipe = current_recipe()
    library = ".".join(map(str, zstandard.ZSTD_VERSION))
    assert recipe == Recipe(codec="zstd", level=10, library=library, frame_size=2 << 20, min_match=4)
    assert current_recipe(19).min_match is None
    assert current_recipe(frame_size=None).to_dict() == {"codec": "zstd", "level": 10, "library": library}
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    "changed",
    [
        {"codec": "xz"},
        {"level": 0},
        {"level": 23},
        {"level": True},
        {"level": "10"},
        {"library": 1},
        {"frame_size": 4},
        {"min_match": 2},
        {"min_match": True},
        {"library": None},
    ],
)
def test_recipe_of_another_shape_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(IntegrityError, match="not a packing recipe"):
        Recipe.from_dict({**current_recipe().to_dict(), **changed})
    with pytest.raises(IntegrityError):
        Recipe.from_dict({"codec": "zstd"})


@pytest.mark.parametrize("level", [0, 23, -1])
def test_level_out_of_range_is_a_programming_error(level: int) -> None:
    with pytest.raises(ValueError, match="level"):
        current_recipe(level)


def test_packing_with_another_library_version_is_refused() -> None:
    recipe = Recipe(codec="zstd", level=10, library="1.4.0")
    with pytest.raises(IntegrityError, match=r"needs libzstd 1\.4\.0"), open_compressor(io.BytesIO(), recipe, 0):
        pass


def test_zero_threads_would_change_the_bytes_and_are_refused() -> None:
    with pytest.raises(ValueError, match="thread"), open_compressor(io.BytesIO(), current_recipe(), 0, threads=0):
        pass


def test_large_input_gives_equal_bytes_on_any_number_of_threads() -> None:
    data = hashlib.shake_128(b"seed").digest(1 << 20) + DATA * 60  # several jobs of the multi-threaded compressor
    assert len({compress(data, threads=threads, level=3) for threads in (1, 2, 3, 8)}) == 1


@pytest.mark.parametrize("size", [0, 1, 511, 1 << 17, 1 << 20])
def test_declared_size_and_checksum_are_in_the_frame(size: int) -> None:
    data = (DATA * 3)[:size]
    frame = compress(data)
    parameters = zstandard.get_frame_parameters(frame)
    assert (parameters.content_size, parameters.has_checksum) == (size, True)
    assert decompress(frame) == data


def test_bytes_of_this_library_version_are_pinned() -> None:
    """A change here means that layers packed before and after differ: the recipe has to say so, as it does with the version."""
    if current_recipe().library != "1.5.7":
        pytest.skip(f"pinned for libzstd 1.5.7, this is {current_recipe().library}")
    assert hashlib.sha256(compress(DATA)).hexdigest() == PINNED


PINNED = "25af561e728fe296979ca861f3ad386cc07e0073db893e2fac41cdc8140533f5"


@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_length_other_than_promised_is_refused(wrong: int) -> None:
    with (
        pytest.raises(IntegrityError, match="promised"),
        open_compressor(io.BytesIO(), current_recipe(), len(DATA) + wrong) as compressor,
    ):
        compressor.write(DATA)


def test_error_while_compressing_is_not_hidden_by_the_missing_rest() -> None:
    def stop_halfway() -> None:
        with open_compressor(io.BytesIO(), current_recipe(), 100) as compressor:
            compressor.write(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop_halfway()


def test_sink_is_left_open() -> None:
    sink = io.BytesIO()
    with open_compressor(sink, current_recipe(), 0):
        pass
    assert not sink.closed


def test_frames_one_after_the_other_are_one_content() -> None:
    assert decompress(NOTE + compress(DATA[:1000]) + NOTE + packed(b"") + compress(DATA[1000:]) + NOTE) == DATA


def test_skippable_frames_alone_are_empty_content() -> None:
    assert decompress(NOTE * 3) == b""


def test_frames_without_size_and_checksum_are_read() -> None:
    loose = zstandard.ZstdCompressor(write_content_size=False, write_checksum=False).compress(DATA)
    assert decompress(loose) == DATA


def test_rle_and_raw_blocks_are_read() -> None:
    raw = b"\x28\xb5\x2f\xfd\x00\x38" + (5 << 3 | 1).to_bytes(3, "little") + b"hello"
    assert decompress(raw + rle_bomb(1 << 18)) == b"hello" + bytes(1 << 18)


def test_a_stream_cut_anywhere_is_refused() -> None:
    whole = NOTE + compress(DATA[:3000], level=1) + compress(b"tail") + NOTE
    ends = [len(NOTE), len(NOTE) + len(compress(DATA[:3000], level=1)), len(whole) - len(NOTE), len(whole)]
    for cut in range(len(whole) + 1):
        if cut in ends:
            decompress(whole[:cut])
        else:
            with pytest.raises(ArchiveError, match=r"^x: (truncated|too short)"):
                decompress(whole[:cut])


@pytest.mark.parametrize("garbage", [b"\0" * 4, b"garbage", NOTE[1:], compress(b"")[1:]])
def test_garbage_between_and_after_frames_is_refused(garbage: bytes) -> None:
    for data in (compress(DATA) + garbage, compress(DATA) + garbage + compress(DATA)):
        with pytest.raises(ArchiveError, match="no zstd frame"):
            decompress(data)


def test_source_may_return_its_bytes_one_by_one() -> None:
    class Slow:
        def __init__(self, data: bytes) -> None:
            self._bytes = iter(data)

        def read(self, size: int = -1, /) -> bytes:
            return bytes(itertools.islice(self._bytes, 1))

    data = NOTE + compress(DATA[:5000]) + NOTE
    assert open_decompressor(Slow(data), limit_bytes=1 << 20, what="x").read() == DATA[:5000]


def test_limit_is_exact() -> None:
    loose = zstandard.ZstdCompressor(write_content_size=False).compress(DATA)
    assert decompress(loose, limit=len(DATA)) == DATA
    with pytest.raises(ArchiveError, match=f"more than the {len(DATA) - 1} bytes"):
        decompress(loose, limit=len(DATA) - 1)


def test_declared_size_over_the_limit_is_refused_before_anything_is_decoded() -> None:
    stream = open_decompressor(io.BytesIO(compress(DATA)), limit_bytes=len(DATA) - 1, what="x")
    with pytest.raises(ArchiveError, match="declared"):
        stream.read(1)


def test_declared_sizes_of_all_frames_count() -> None:
    with pytest.raises(ArchiveError, match="declared"):
        decompress(compress(DATA) * 2, limit=len(DATA) * 2 - 1)


def test_walker_counts_frames() -> None:
    walker = FrameWalker(io.BytesIO(NOTE + compress(DATA) + NOTE), what="x", limit_bytes=1 << 30)
    while walker.read(7):
        pass
    assert walker.frame_count == 3


def test_windows_up_to_128_mib_are_read() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    long = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert decompress(long.compress(DATA) + long.flush()) == DATA
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    longer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(ArchiveError, match="window over 128 MiB"):
        decompress(longer.compress(DATA) + longer.flush())
