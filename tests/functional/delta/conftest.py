"""Two releases of a small bundle whose files differ in places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from tests.support.deltabundles import bundle_of
from tests.support.deltas import noise


def patched(data: bytes, at: int, news: bytes) -> bytes:
    return data[:at] + news + data[at + len(news) :]


IMAGE = noise(600_000, 1)
CONFIDENTIAL = patched(IMAGE, 100_000, noise(30_000, 2))
QEMU = noise(90_000, 3)
OLD = {
    "rootfs-image": {"share/kata-1.image": IMAGE},
    "rootfs-image-confidential": {"share/kata-confidential-1.image": CONFIDENTIAL, "share/hash.txt": b"one\n"},
    "qemu": {"bin/qemu": QEMU, "share/bios": noise(9000, 4)},
    "kernel": {"share/vmlinuz": noise(20_000, 5)},
}
NEW = {
    "rootfs-image": {"share/kata-2.image": patched(IMAGE, 300_000, noise(5000, 6))},
    "rootfs-image-confidential": {
        "share/kata-confidential-2.image": patched(CONFIDENTIAL, 300_000, noise(5000, 6)),
        "share/hash.txt": b"two\n",
    },
    "qemu": {"bin/qemu": patched(QEMU, 50_000, b"NEWS" * 10), "share/bios": noise(9000, 4)},
    "kernel": {"share/vmlinuz": noise(20_000, 5)},
}
SHIMS = {
    "qemu": ("kernel", "qemu", "rootfs-image"),
    "qemu-snp": ("kernel", "qemu", "rootfs-image-confidential"),
}


@dataclass(frozen=True)
class Releases:
    old: Path
    new: Path


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    bundle_of(
        tmp_path / "old",
        {
            Arch.X86_64: OLD,
            Arch.AARCH64: {"kernel": OLD["kernel"], "qemu": OLD["qemu"], "rootfs-image": {"share/a.image": noise(300_000, 9)}},
        },
        shims=None,
    )
    bundle_of(
        tmp_path / "new",
        {
            Arch.X86_64: NEW,
            Arch.AARCH64: {
                "kernel": NEW["kernel"],
                "qemu": NEW["qemu"],
                "rootfs-image": {"share/a.image": patched(noise(300_000, 9), 7, b"xyz")},
            },
        },
        shims=None,
    )
    return Releases(tmp_path / "old", tmp_path / "new")
