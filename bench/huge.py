"""A bundle with one huge file, made without the file ever being on a disk. Must not know: measurements."""

from __future__ import annotations

import hashlib
import io
import os
import random
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_bundle"]

_BLOCK = 1 << 16


class _Pattern(io.RawIOBase):
    """``size`` bytes: one random block again and again, each time with its number at its start."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._number = 0
        self._block = random.Random(7).randbytes(_BLOCK)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest and self._left:
            count = min(self._left, _BLOCK)
            self._rest = (self._number.to_bytes(8, "little") + self._block[8:])[:count]
            self._number += 1
            self._left -= count
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def make_bundle(layout: Path, size: int) -> None:
    """Write an image layout whose shim qemu has one component with one file of ``size`` bytes, and a small one."""
    from kata_bundle.archive.layer import pack_layer
    from kata_bundle.archive.zstd import current_recipe
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import File, Tree
    from kata_bundle.oci import BundleIndex, write_bundle
    from kata_bundle.store.records import LayerRecord

    state = hashlib.sha256()
    stream = _Pattern(size)
    while chunk := stream.read(_BLOCK):
        state.update(chunk)
    config = b'[hypervisor.qemu]\npath = "/opt/kata/bin/qemu"\n[runtime]\n'
    small = Digest("sha256:" + hashlib.sha256(config).hexdigest())
    huge = Digest("sha256:" + state.hexdigest())
    trees = {
        "rootfs-image": Tree.of(
            {RelPath("share/kata-containers/kata-containers.img"): File(mode=0o644, size_bytes=size, digest=huge)}
        ),
        "shim-v2-go": Tree.of(
            {
                RelPath("bin/containerd-shim-kata-v2"): File(mode=0o755, size_bytes=len(config), digest=small),
                RelPath("share/defaults/kata-containers/configuration-qemu.toml"): File(
                    mode=0o644, size_bytes=len(config), digest=small
                ),
            }
        ),
    }

    def opened(digest: Digest) -> BinaryIO:
        return cast("BinaryIO", _Pattern(size)) if digest == huge else io.BytesIO(config)

    recipe = current_recipe(1)
    layers, paths = {}, {}
    layout.parent.mkdir(parents=True, exist_ok=True)
    for name, tree in trees.items():
        path = layout.parent / f"{layout.name}-{name}.tar.zst"
        with path.open("wb") as sink:
            made = pack_layer(tree, opened, sink, recipe=recipe, mtime=0)
        extra: dict[str, Any] = {"table": made.table} if hasattr(made, "table") else {}
        record = LayerRecord(
            component=name, arch=Arch.X86_64, tree=made.tree, packed=made.packed, packed_size_bytes=made.packed_size_bytes,
            diff_id=made.diff_id, unpacked_size_bytes=made.unpacked_size_bytes, origin="foreign", hermetic=False,
            recipe=recipe.to_dict(), source_date=0, **extra,
        )  # fmt: skip
        layers[name] = record.to_bundle_layer()
        paths[made.packed] = path
    index = BundleIndex(
        arch=Arch.X86_64, shims={"qemu": tuple(trees)}, layers=layers, default_shim="qemu", default_shims=("qemu",)
    )
    write_bundle(layout, {Arch.X86_64: index}, paths.__getitem__, created=0)
    for path in paths.values():
        os.unlink(path)
