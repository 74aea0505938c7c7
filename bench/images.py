"""Guest images and initrds with bytes that depend on their content alone. Needs root (owners of files) and e2fsprogs.

mke2fs copies each file's change time, which nobody can set, so it is put right afterwards by debugfs. The order in which it meets
files is that of the directory it reads: build the trees on a tmpfs, whose order is that of creation. Must not know: packages.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import struct
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["EPOCH", "make_erofs", "make_ext4", "make_initrd", "prune", "settle", "vmlinux"]

EPOCH: Final = 1_700_000_000
_UUID: Final = "5d7a3e0c-6b1f-4a57-9a3e-0c6b1f4a579a"
_HASH_SEED: Final = "0c6b1f4a-579a-5d7a-3e0c-6b1f4a579a5d"
_LZ4: Final = b"\x02\x21\x4c\x18"
_NOT_IN_GUESTS: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/bash-completion",
    "usr/share/doc-base", "usr/share/bug", "usr/share/perl5", "usr/share/gdb", "usr/include", "var/cache", "boot",
)  # fmt: skip


def prune(tree: Path) -> None:
    """Remove what guest images do without: documentation, translations, headers; static libraries and CMake files."""
    for name in _NOT_IN_GUESTS:
        shutil.rmtree(tree / name, ignore_errors=True)
    for path in [*tree.rglob("*.a"), *tree.rglob("*.cmake"), *tree.rglob("*.la")]:
        path.unlink()


def settle(tree: Path, *, clamp: int | None = None) -> None:
    """Set every directory's time, access times, and with ``clamp`` all times: what a file system would add by itself."""
    for folder, _, files in os.walk(tree, topdown=False):
        for name in files:
            path = os.path.join(folder, name)
            when = clamp if clamp is not None else int(os.lstat(path).st_mtime)
            os.utime(path, (when, when), follow_symlinks=False)
        os.utime(folder, (EPOCH, EPOCH))
        for name in os.listdir(folder):
            if os.path.islink(os.path.join(folder, name)):
                os.utime(os.path.join(folder, name), (EPOCH, EPOCH), follow_symlinks=False)


def make_ext4(tree: Path, image: Path, size_mib: int) -> None:
    """Write ``tree`` as an ext4 file system of ``size_mib`` MiB."""
    image.unlink(missing_ok=True)
    env = {**os.environ, "E2FSPROGS_FAKE_TIME": str(EPOCH), "LC_ALL": "C"}
    subprocess.run(
        ["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-U", _UUID, "-E", f"hash_seed={_HASH_SEED}",
         "-O", "^metadata_csum,^orphan_file", "-L", "kata", "-d", tree, image, f"{size_mib}M"],
        env=env, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    script = image.with_name(image.name + ".debugfs")
    with script.open("w") as out:
        for path in ["/", "/lost+found", *_names(tree)]:
            out.write(f'sif "{path}" ctime @{EPOCH}\n')
    done = subprocess.run(["/sbin/debugfs", "-w", "-f", script, image], env=env, check=True, capture_output=True, text=True)
    script.unlink()
    complaints = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("debugfs:")]
    if complaints:
        msg = f"debugfs: {complaints[0]}"
        raise SystemExit(msg)


def make_erofs(tree: Path, image: Path) -> None:
    """Write ``tree`` as a compressed, read-only erofs."""
    subprocess.run(
        ["mkfs.erofs", "-zlz4hc", f"-T{EPOCH}", "-U", _UUID, "--all-root", image, tree], check=True, stdout=subprocess.DEVNULL
    )


def make_initrd(tree: Path, image: Path) -> None:
    """Write ``tree`` as a newc cpio archive packed by gzip -9."""
    names = "\0".join([".", *(name[1:] and f".{name}" for name in _names(tree))]).encode(errors="surrogateescape")
    cpio = subprocess.run(
        ["cpio", "--quiet", "-0", "-o", "-H", "newc", "--reproducible", "-R", "0:0"],
        cwd=tree, input=names + b"\0", stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    with image.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        out.write(cpio.stdout)


def vmlinux(image: bytes) -> bytes:
    """Return the uncompressed kernel inside a bzImage; Debian's cloud kernels are packed by lz4 in its old format."""
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + length - 4]  # the unpacked length stands at its end
    if not payload.startswith(_LZ4):
        from kata_bundle.build.kernelimage import vmlinux_from_bzimage

        return vmlinux_from_bzimage(image)
    done = subprocess.run(["lz4", "-dc"], input=payload, stdout=subprocess.PIPE, check=True)
    if not done.stdout.startswith(b"\x7fELF"):
        msg = "the payload of the kernel image is no ELF file"
        raise SystemExit(msg)
    return done.stdout


def _names(tree: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted([*folders, *files]):
            full = os.path.join(folder, name)
            mode = os.lstat(full).st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                yield full[len(str(tree)) :]
