"""What an install takes of memory does not depend on the size of files."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from kata_bundle.archive.layer import pack_layer
from kata_bundle.archive.zstd import current_recipe
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_stream
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.oci import BundleIndex, BundleLayer, write_bundle

MIB = 1 << 20
LIMIT_MIB = 48
CREATED = 1577836800


def sparse_bundle(folder: Path, size_mib: int) -> Path:
    """Write a bundle of one component, which is one file of that length: islands of noise in a sea of zeros."""
    folder.mkdir()
    image, noise = folder / "image", random.Random(size_mib)
    with image.open("wb") as stream:
        for island in range(8):
            stream.seek(island * size_mib * MIB // 8)
            stream.write(noise.randbytes(2 * MIB))
        stream.truncate(size_mib * MIB)
    with image.open("rb") as stream:
        digest, size = digest_stream(iter(lambda: stream.read(MIB), b""))
    tree = Tree.of({RelPath("share/kata-containers/kata.img"): File(mode=0o644, size_bytes=size, digest=digest)})
    blob = folder / "layer"
    with blob.open("wb") as sink:
        made = pack_layer(tree, lambda _digest: image.open("rb"), sink, recipe=current_recipe(1), mtime=CREATED)
    layer = BundleLayer(
        component="rootfs-image",
        tree=made.tree,
        packed=made.packed,
        packed_size_bytes=made.packed_size_bytes,
        diff_id=made.diff_id,
        unpacked_size_bytes=made.unpacked_size_bytes,
        origin="fixture",
        hermetic=False,
        recipe=None if made.recipe is None else made.recipe.to_dict(),
        table=made.table,
    )
    index = BundleIndex(
        arch=Arch.X86_64,
        shims={"qemu": ("rootfs-image",)},
        layers={"rootfs-image": layer},
        default_shim=None,
        default_shims=("qemu",),
    )
    write_bundle(folder / "bundle", {Arch.X86_64: index}, lambda _digest: blob, created=CREATED)
    image.unlink()
    return folder / "bundle"


_MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
os.write(3, b"%d" % used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A child starts with the peak of its parent: a small process stands between it and the tests."""


def peak_mib(*argv: str) -> float:
    """Run the command; return the most memory that it had in use, in MiB."""
    command = [sys.executable, "-m", "kata_bundle", *argv]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    middle = [sys.executable, "-S", "-c", _MEASURE]
    reader, writer = os.pipe()
    pid = os.posix_spawn(middle[0], [*middle, *command], os.environ, file_actions=[*quiet, (os.POSIX_SPAWN_DUP2, writer, 3)])
    os.close(writer)
    with open(reader, "rb") as stream:
        peak = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return int(peak) / 1024


def installed(folder: Path, size_mib: int) -> float:
    bundle = sparse_bundle(folder / f"of-{size_mib}", size_mib)
    root = folder / f"root-{size_mib}"
    root.mkdir()
    return peak_mib("install", str(bundle), "--root", str(root), "--arch", "x86_64", "--quiet")


def test_a_larger_file_takes_no_more_memory(tmp_path):
    small, large = installed(tmp_path, 24), installed(tmp_path, 256)
    assert large <= LIMIT_MIB
    assert large - small < 4


@pytest.mark.slow
def test_ten_gigabytes_fit_the_same_memory(tmp_path):
    assert installed(tmp_path, 10 << 10) <= LIMIT_MIB
