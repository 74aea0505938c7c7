"""Coverage-guided fuzzing of everything that reads layers and deltas from strangers.

Not part of the test run, and what it needs not in the lock. In a virtual environment with the project installed:

    pip install atheris
    python tests/fuzz/fuzz_layers.py -max_total_time=600 -rss_limit_mb=1024 -timeout=20 /tmp/layer-corpus

Whatever goes in, only IntegrityError (ArchiveError among them) may come out, in bounded time and memory; what a scan accepts an
extraction must accept as the same tree. Inputs begin with one byte that chooses the reader.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kata_bundle.archive", "kata_bundle.core"]):
    from kata_bundle.archive.deltaformat import read_table
    from kata_bundle.archive.extract import ExtractOptions, LayerJob, extract_layers
    from kata_bundle.archive.layer import scan_layer
    from kata_bundle.archive.readtree import read_tree
    from kata_bundle.archive.tarreader import Limits
    from kata_bundle.archive.toc import Table, render_trailer
    from kata_bundle.core.errors import IntegrityError
    from kata_bundle.core.tree import Tree

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.unit.archive.layers import TREE, pack

LIMITS = Limits(max_members=2000, max_unpacked_bytes=8 << 20, max_name_bytes=1 << 20)
# Small, so that many inputs a second can be tried.
SMALL = Tree.of(
    {path: entry for path, entry in TREE.entries.items() if getattr(entry, "size_bytes", 0) < 1000 and "bin" not in path}
)
DATA, MADE = pack(SMALL, frame_size=1024)
assert MADE.table is not None
FRAMES = DATA[: MADE.table.offset - 8]


def table(data: bytes) -> None:
    """A table by itself."""
    made = Table.from_json(data, what="fuzz", limits=LIMITS)
    assert made.to_json() == data


def layer(data: bytes) -> None:
    """A whole file: scanned as a stream, then unpacked."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        path, target = Path(name, "layer"), Path(name, "target")
        target.mkdir()
        path.write_bytes(data)
        try:
            scanned = scan_layer(io.BytesIO(data), what="fuzz", limits=LIMITS)[0]
        except IntegrityError:
            scanned = None
        extracted = extract_layers(
            [LayerJob(what="fuzz", path=path, target=target)], options=ExtractOptions(jobs=1, limits=LIMITS)
        )[0]
        if scanned is not None:
            assert extracted.tree == scanned == read_tree(target)


def good_frames(data: bytes) -> None:
    """A hostile table behind frames that are good."""
    layer(FRAMES + render_trailer(data))


def delta(data: bytes) -> None:
    """The table of a delta."""
    read_table(io.BytesIO(data), what="fuzz", size_bytes=len(data))


READERS = (table, layer, good_frames, delta)


def one_input(data: bytes) -> None:
    """Give the input to one reader."""
    if data:
        with contextlib.suppress(IntegrityError):
            READERS[data[0] % len(READERS)](data[1:])


def seed(folder: Path) -> None:
    """Write inputs to begin with, so that not everything is refused at once."""
    folder.mkdir(parents=True, exist_ok=True)
    start, size = MADE.table.offset, MADE.table.size_bytes  # type: ignore[union-attr]
    document = DATA[start : start + size]
    (folder / "table").write_bytes(b"\0" + document)
    (folder / "layer").write_bytes(b"\1" + DATA)
    (folder / "plain").write_bytes(b"\1" + pack(SMALL, frame_size=None)[0])
    (folder / "frames").write_bytes(b"\2" + document)
    (folder / "delta").write_bytes(b"\3" + (Path(__file__).parents[1] / "golden/delta/v1.delta").read_bytes())


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-") and not Path(argument).is_file():
            seed(Path(argument))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
