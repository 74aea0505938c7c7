"""Takes the uncompressed kernel out of an x86 bzImage.

Format: the kernel's own documentation, "The Linux/x86 Boot Protocol": ``setup_sects`` at 0x1f1, the magic ``HdrS`` at 0x202,
and since protocol 2.08 ``payload_offset`` and ``payload_length`` at 0x248, counted from the start of the protected-mode code.
The payload is compressed; all codecs but gzip are followed by the unpacked length in four bytes, little-endian, which counts as
payload. Must not know: where the file comes from.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from typing import TYPE_CHECKING

from kata_bundle.core.errors import BuildError

if TYPE_CHECKING:
    from typing import Protocol

    class _Decoder(Protocol):
        @property
        def eof(self) -> bool: ...
        def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


__all__ = ["MAX_KERNEL", "vmlinux_from_bzimage"]

MAX_KERNEL = 512 << 20
"""Largest unpacked kernel in bytes."""

_ELF = b"\x7fELF"
_GZIP, _XZ, _LZMA, _ZSTD = b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x5d\0\0", b"\x28\xb5\x2f\xfd"


def vmlinux_from_bzimage(image: bytes) -> bytes:
    """Return the ELF kernel inside ``image``; raise :class:`BuildError` when it is no bzImage or its payload is damaged."""
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        msg = "not a bzImage: the setup header is missing"
        raise BuildError(msg)
    (protocol,) = struct.unpack_from("<H", image, 0x206)
    if protocol < 0x208:
        msg = f"bzImage of boot protocol {protocol >> 8}.{protocol & 255:02}, which does not say where its payload is"
        raise BuildError(msg)
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if len(payload) != length or length < 8:
        msg = f"bzImage has no payload of {length} bytes at {start}"
        raise BuildError(msg)
    kernel, stated = _unpack(payload)
    if len(kernel) != stated:
        msg = f"kernel unpacks to {len(kernel)} bytes, its image states {stated}"
        raise BuildError(msg)
    if not kernel.startswith(_ELF):
        msg = "the payload of the bzImage is no ELF file"
        raise BuildError(msg)
    return kernel


def _unpack(payload: bytes) -> tuple[bytes, int]:
    """Return the unpacked payload and the length that the image states for it."""
    (stated,) = struct.unpack("<I", payload[-4:])
    if stated > MAX_KERNEL:
        msg = f"kernel of {stated} bytes, more than the {MAX_KERNEL} allowed"
        raise BuildError(msg)
    # One byte more than stated is asked for, so that a longer result shows without being unpacked to its end.
    limit = stated + 1
    # gzip ends in the length by itself, for the others it was appended.
    body = payload if payload.startswith(_GZIP) else payload[:-4]
    decoder: _Decoder
    if body.startswith(_ZSTD):
        return _zstd(body, limit), stated
    if body.startswith(_GZIP):
        decoder = zlib.decompressobj(wbits=31)
    elif body.startswith(_XZ):
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    elif body.startswith(_LZMA):
        decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    else:
        msg = f"the kernel's payload has an unknown codec (it starts with {payload[:6].hex()})"
        raise BuildError(msg, hint="known: gzip, xz, lzma, zstd")
    try:
        kernel = decoder.decompress(body, limit)
    except (zlib.error, lzma.LZMAError) as error:
        msg = f"the kernel's payload is damaged: {error}"
        raise BuildError(msg) from None
    if len(kernel) <= stated and not decoder.eof:
        msg = "the kernel's payload is damaged: it ends early"
        raise BuildError(msg)
    return kernel, stated


def _zstd(body: bytes, limit: int) -> bytes:
    from kata_bundle.archive.zstd import open_decompressor

    return open_decompressor(io.BytesIO(body), limit_bytes=limit, what="kernel payload").read()
