"""Taking the kernel out of a bzImage."""

from __future__ import annotations

import gzip
import lzma
import struct

import pytest
import zstandard

from kata_bundle.build.kernelimage import MAX_KERNEL, vmlinux_from_bzimage
from kata_bundle.core.errors import BuildError, BundleError

KERNEL = b"\x7fELF" + bytes(range(256)) * 400


def length_of(data: bytes) -> bytes:
    return struct.pack("<I", len(data))


CODECS = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lambda data: lzma.compress(data, lzma.FORMAT_XZ) + length_of(data),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE) + length_of(data),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data) + length_of(data),
    "zstd, length not in the frame": lambda data: (
        zstandard.ZstdCompressor(write_content_size=False).compress(data) + length_of(data)
    ),
}


def bzimage(payload: bytes, *, sectors: int = 3, offset: int = 100, protocol: int = 0x20F, length: int | None = None) -> bytes:
    image = bytearray(((sectors or 4) + 1) * 512 + offset)
    image[0x1F1] = sectors
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, protocol)
    struct.pack_into("<II", image, 0x248, offset, len(payload) if length is None else length)
    return bytes(image) + payload + b"\0" * 77


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_gives_the_kernel_back(codec):
    assert vmlinux_from_bzimage(bzimage(CODECS[codec](KERNEL))) == KERNEL


def test_zero_setup_sectors_mean_four():
    assert vmlinux_from_bzimage(bzimage(CODECS["xz"](KERNEL), sectors=0)) == KERNEL


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_shortened_payload_is_refused(codec, cut):
    payload = CODECS[codec](KERNEL)
    broken = payload[: len(payload) - 4 - cut] + payload[-4:]
    with pytest.raises(BundleError):
        vmlinux_from_bzimage(bzimage(broken))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("change", [-1, 1, 1000])
def test_a_wrong_stated_length_is_refused(codec, change):
    payload = CODECS[codec](KERNEL)[:-4] + struct.pack("<I", len(KERNEL) + change)
    with pytest.raises(BundleError):
        vmlinux_from_bzimage(bzimage(payload))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"", "not a bzImage"),
        (b"MZ" + bytes(2000), "not a bzImage"),
        (bzimage(CODECS["xz"](KERNEL), protocol=0x207), "boot protocol 2.07"),
        (bzimage(CODECS["xz"](KERNEL), length=1 << 20), "no payload of 1048576 bytes"),
        (bzimage(b"", length=0), "no payload of 0 bytes"),
        (bzimage(b"\x02\x21\x4c\x18" + bytes(40)), "unknown codec"),
        (bzimage(CODECS["xz"](b"#!/bin/sh\n" + bytes(99))), "no ELF file"),
        (bzimage(CODECS["xz"](KERNEL)[:-4] + struct.pack("<I", MAX_KERNEL + 1)), "more than the"),
    ],
)
def test_what_is_no_kernel_is_refused(image, words):
    with pytest.raises(BuildError, match=words):
        vmlinux_from_bzimage(image)
