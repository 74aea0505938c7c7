"""Programs for the measurements that drive one part of this program alone, as whole processes: ``python drive.py PART ...``.

    extract  [--durable] JOBS DEST                       unpack layers as a JSON file names them, every frame authenticated
    tarballs FOLDER DEST COMPONENT...                    unpack foreign tarballs, unverified
    pack     [--level N] DEST TREE...                    pack trees, each to DEST/<name>.tar.zst
    tarfile  FOLDER DEST COMPONENT...                    what Python's own tarfile does, for comparison

A script, and careful with imports: start-up is a part of what is measured.
"""

from __future__ import annotations

import gc
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

JOBS = 2


def extract(jobs: str, dest: str, *, durable: bool = False) -> None:
    """Unpack layers; ``jobs`` is a file with a list of name, path, and the table's digest, offset and size."""
    gc.disable()  # as cli.direct does
    import json

    from kata_bundle.archive.extract import ExtractOptions, LayerJob, extract_layers
    from kata_bundle.archive.toc import TableRef
    from kata_bundle.core.digest import Digest

    gc.freeze()
    gc.enable()
    os.makedirs(dest, exist_ok=True)
    with open(jobs, "rb") as stream:
        content = stream.read()
    found = [
        LayerJob(
            what=name, path=path, target=dest,
            table=TableRef(digest=Digest(digest), offset=offset, size_bytes=size),
        )
        for name, path, digest, offset, size in json.loads(content)
    ]  # fmt: skip
    extract_layers(found, options=ExtractOptions(jobs=JOBS, durable=durable))


def tarballs(folder: str, dest: str, *components: str) -> None:
    """Unpack foreign tarballs without computing any digest."""
    gc.disable()
    import kata_bundle.archive.unpack  # noqa: F401 - what the work will import
    from kata_bundle.archive.extract import ExtractOptions, LayerJob, extract_layers

    gc.freeze()
    gc.enable()
    os.makedirs(dest, exist_ok=True)
    paths = {name: os.path.join(folder, f"kata-static-{name}.tar.zst") for name in components}
    jobs = [LayerJob(what=name, path=path, target=dest) for name, path in paths.items()]
    extract_layers(jobs, options=ExtractOptions(jobs=JOBS, identify=False))


def pack(dest: str, *trees: str, level: int = 10) -> None:
    """Pack trees as layers, what :mod:`kata_bundle.bundle.pack` does without a store's records."""
    from pathlib import Path

    from kata_bundle.archive.layer import pack_layer
    from kata_bundle.archive.readtree import read_tree
    from kata_bundle.archive.zstd import current_recipe
    from kata_bundle.core.tree import File

    Path(dest).mkdir(parents=True, exist_ok=True)
    for folder in trees:
        root = Path(folder) / "opt/kata"
        tree = read_tree(root)
        paths = {entry.digest: root / path for path, entry in tree.entries.items() if isinstance(entry, File)}
        with open(Path(dest) / f"{os.path.basename(folder)}.tar.zst", "wb") as sink:
            pack_layer(
                tree, lambda digest, p=paths: p[digest].open("rb"), sink, recipe=current_recipe(level), mtime=0, **_workers()
            )  # type: ignore[arg-type]


def _workers() -> dict[str, int]:
    import inspect

    from kata_bundle.archive.layer import pack_layer

    return {"jobs" if "jobs" in inspect.signature(pack_layer).parameters else "threads": JOBS}


def tarfile(folder: str, dest: str, *components: str) -> None:
    """Unpack with the standard library and zstandard's stream."""
    import tarfile as tar
    from pathlib import Path

    import zstandard

    for name in components:
        with open(Path(folder) / f"kata-static-{name}.tar.zst", "rb") as raw:
            stream = zstandard.ZstdDecompressor().stream_reader(raw, read_size=1 << 17)
            with tar.open(fileobj=stream, mode="r|", bufsize=1 << 18, copybufsize=1 << 18) as archive:
                archive.extractall(dest, filter="fully_trusted")


def main() -> None:
    """Run one part."""
    part, *arguments = sys.argv[1:]
    options: dict[str, object] = {}
    if "--durable" in arguments:
        arguments.remove("--durable")
        options["durable"] = True
    if "--level" in arguments:
        at = arguments.index("--level")
        options["level"] = int(arguments[at + 1])
        del arguments[at : at + 2]
    {"extract": extract, "tarballs": tarballs, "pack": pack, "tarfile": tarfile}[part](*arguments, **options)  # type: ignore[operator]


if __name__ == "__main__":
    main()
