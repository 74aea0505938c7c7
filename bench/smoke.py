"""A small made-up corpus of the same component names: seconds to make, no network, the same bytes everywhere.

Content compresses to about a third and has zero runs, small files and one dominating image, so every code path is taken; its
figures mean nothing. Release r2 differs from r1 in scattered blocks. Must not know: stores, bundles.
"""

from __future__ import annotations

import gzip
import os
import random
from typing import TYPE_CHECKING, Final

from bench import parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["lay_out"]

_KIB: Final = 1 << 10
_BLOCK: Final = 4096
_SIZES: Final = {
    "shim-v2-go": 900, "shim-v2-rust": 200, "qemu": 500, "qemu-snp-experimental": 400, "virtiofsd": 100, "nydus": 100,
    "kernel": 600, "kernel-nvidia-gpu": 600, "ovmf": 100, "ovmf-sev": 100, "ovmf-tdx": 100, "rootfs-image": 3072,
    "rootfs-initrd": 600, "rootfs-image-confidential": 1024, "rootfs-image-coco-extension": 200, "rootfs-image-nvidia-gpu": 6144,
}  # fmt: skip
"""KiB of the main file of each component."""
_FOLDER: Final = "opt/kata/share/kata-containers"


def lay_out(release: str, arch: str, out: Path) -> None:
    """Write the trees of all components."""
    for component in parts.COMPONENTS[arch]:
        for name, data in _files(component, release, arch):
            path = out / component / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if "/bin/" in name:
                path.chmod(0o755)
    os.symlink("vmlinux", out / "kernel" / _FOLDER / "vmlinux.container")


def _files(component: str, release: str, arch: str) -> Iterator[tuple[str, bytes]]:
    data = _content(component, release, arch, _SIZES[component] * _KIB)
    match component:
        case "shim-v2-go":
            yield "opt/kata/bin/containerd-shim-kata-v2", data
            for shim in parts.SHIMS[arch]:
                text = f'# {shim}\n[hypervisor.qemu]\npath = "/opt/kata/bin/qemu"\n[runtime]\n' + "# a comment\n" * 200
                yield f"opt/kata/share/defaults/kata-containers/configuration-{shim}.toml", text.encode()
        case "shim-v2-rust":
            yield "opt/kata/runtime-rs/bin/containerd-shim-kata-v2", data
        case "qemu" | "qemu-snp-experimental":
            yield f"opt/kata/bin/qemu-system{component.removeprefix('qemu')}", data
            for number in range(40):
                name = f"opt/kata/share/kata-{component}/qemu/rom-{number:02}.bin"
                yield name, _content(f"{component}{number}", "r1", arch, 3000 + number * 37)
        case "rootfs-initrd":
            yield f"{_FOLDER}/kata-containers-initrd.img", gzip.compress(data, 9, mtime=0)
        case "kernel":
            yield f"{_FOLDER}/vmlinux", data
        case _:
            yield f"{_FOLDER}/{component}.img", data


def _content(seed: str, release: str, arch: str, size: int) -> bytes:
    chance = random.Random(f"{seed} {arch}")
    words = [chance.randbytes(_BLOCK // 4) for _ in range(24)]
    blocks = []
    for index in range(-(-size // _BLOCK)):
        if "image" in seed and index % 64 > 47:  # a quarter of an image is free space
            blocks.append(bytes(_BLOCK))
        else:
            blocks.append(b"".join(chance.choice(words) for _ in range(3)) + chance.randbytes(_BLOCK // 4))
    if release != "r1" and seed not in {"nydus", "virtiofsd", "shim-v2-rust"}:
        for index in range(7, len(blocks), 97):
            blocks[index] = chance.randbytes(_BLOCK)
    return b"".join(blocks)[:size]
