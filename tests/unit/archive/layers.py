"""A small tree with every kind of entry, and layers made of it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from kata_bundle.archive.layer import PackedLayer, pack_layer
from kata_bundle.archive.zstd import Recipe, current_recipe
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree

DATE = 1_577_836_800


def noise(size: int, seed: str) -> bytes:
    """Bytes that no compressor makes smaller, the same on every machine."""
    return hashlib.shake_128(seed.encode()).digest(size)


CONTENTS = {
    digest_bytes(data): data
    for data in (
        b"",
        b"hello\n",
        b"a = 1\n" * 40,
        noise(3000, "small"),
        noise(9000, "large"),
        noise(6000, "image") + b"\1" * 64_000 + bytes(200_000) + noise(5, "end"),
        bytes(131_072),
    )
}
EMPTY, HELLO, TOML, SMALL, LARGE, IMAGE, ZEROS = CONTENTS


def file(digest: Digest, mode: int = 0o644) -> File:
    return File(mode=mode, size_bytes=len(CONTENTS[digest]), digest=digest)


ENTRIES: dict[str, Entry] = {
    "bin/tool": file(LARGE, 0o755),
    "bin/again": Hardlink(target=RelPath("bin/tool")),
    "bin/link": Symlink(target="tool"),
    "bin/absolute": Symlink(target="/opt/kata/bin/tool"),
    "empty": Directory(mode=0o750),
    "share/" + "n" * 160: file(HELLO),
    "share/a.toml": file(TOML, 0o600),
    "share/b.toml": file(SMALL),
    "share/image": file(IMAGE, 0o444),
    "share/nothing": file(EMPTY),
    "share/same": file(HELLO, 0o755),
    "share/zeros": file(ZEROS),
    "share/\udcff": file(HELLO),
}
TREE = Tree.of({RelPath(path): entry for path, entry in ENTRIES.items()})


def open_file(digest: Digest) -> io.BytesIO:
    return io.BytesIO(CONTENTS[digest])


def pack(tree: Tree = TREE, *, frame_size: int | None = 4096, threads: int = 1, level: int = 3) -> tuple[bytes, PackedLayer]:
    """A packed layer and what is known of it."""
    sink = io.BytesIO()
    recipe: Recipe = current_recipe(level, frame_size)
    made = pack_layer(tree, open_file, sink, recipe=recipe, mtime=DATE, threads=threads)
    return sink.getvalue(), made


def write_layer(folder: Path, *, frame_size: int | None = 4096, tree: Tree = TREE) -> tuple[Path, PackedLayer]:
    """A packed layer in a file."""
    data, made = pack(tree, frame_size=frame_size)
    path = folder / f"kata-static-{frame_size}.tar.zst"
    path.write_bytes(data)
    return path, made
