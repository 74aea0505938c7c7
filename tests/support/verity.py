"""dm-verity root hashes computed from nothing but the format's description (the kernel's admin-guide/device-mapper/verity)."""

from __future__ import annotations

import hashlib
from typing import BinaryIO


def root_hash(stream: BinaryIO, salt: str, data_blocks: int, block_size: int = 4096) -> str:
    """Return the root hash of the first ``data_blocks`` of ``stream``: sha256, format 1, salt before each block."""
    prefix = bytes.fromhex(salt)
    level = b"".join(hashlib.sha256(prefix + stream.read(block_size)).digest() for _ in range(data_blocks))
    while len(level) > 32:
        blocks = [level[at : at + block_size].ljust(block_size, b"\0") for at in range(0, len(level), block_size)]
        level = b"".join(hashlib.sha256(prefix + block).digest() for block in blocks)
    return level.hex()


def fields(line: str) -> dict[str, str]:
    """Return the parameters of a line as a mapping."""
    return dict(part.split("=", 1) for part in line.strip().split(","))
