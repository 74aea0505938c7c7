"""Answers about unpacking components."""

from __future__ import annotations

import io
import tarfile

import zstandard

from kata_bundle.archive.layer import extract_layer
from kata_bundle.core.errors import ArchiveError, HostError
from kata_bundle.node.unpacked import read_unpacked
from tests.unit.vectors.harness import answers, register_errors, write_tree

register_errors({"path_traversal": ArchiveError, "missing_source": HostError})

TYPES = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}


def archive(entries):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            member = tarfile.TarInfo(entry["name"])
            member.type = TYPES[entry["type"]]
            member.mode = int(entry.get("mode", "0755" if entry["type"] == "dir" else "0644"), 8)
            member.linkname = entry.get("target") or ""
            content = entry.get("content", "").encode() if entry["type"] == "file" else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return io.BytesIO(zstandard.ZstdCompressor().compress(packed.getvalue()))


@answers("extract", area="extraction")
def extract(given):
    root = given["tmp_path"] / "root"
    root.mkdir()
    write_tree(root, given["destination"])
    before = {path: (root / path).lstat().st_ino for path in given["destination"]}
    # Holding the old files open keeps their inode numbers from being given out again.
    held = [(root / path).open("rb") for path in given["destination"] if (root / path).is_file()]
    try:
        extract_layer(archive(given["entries"]), root, what="the archive", dest=str(root))
        changed = [path for path, inode in before.items() if (root / path).lstat().st_ino != inode]
    finally:
        for stream in held:
            stream.close()
    return {"directory": root, "new_inode": changed}


@answers("copy_tree", area="extraction")
def copy_tree(given):
    source, root = given["tmp_path"] / "source", given["tmp_path"] / "root"
    root.mkdir()
    write_tree(root, given["destination"])
    if given["source"] is not None:
        source.mkdir()
        write_tree(source, given["source"], {"{SRC}": str(source)})
    packed = given["tmp_path"] / "packed"
    read_unpacked(source).pack(packed)
    extract_layer(packed, root, what="the tree", dest=str(root))
    return {"directory": root}
