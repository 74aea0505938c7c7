"""Files that cannot be linked share their blocks where the file system can: a real one on a loop device."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kata_bundle.archive.extract import LayerJob, Reuse, extract_layers
from kata_bundle.archive.placer import write_with_holes
from kata_bundle.archive.readtree import read_tree
from kata_bundle.core.process import run
from kata_bundle.core.tree import File
from tests.unit.archive.layers import TREE, write_layer

pytestmark = [pytest.mark.interop, pytest.mark.root]


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("mkfs.xfs is not installed (Debian package xfsprogs)")
    if os.geteuid():
        pytest.skip("only root mounts")
    image, folder = tmp_path / "image", tmp_path / "xfs"
    folder.mkdir()
    with image.open("wb") as stream:
        stream.truncate(320 << 20)
    run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)])
    mounted = run(["mount", "-o", "loop", str(image), str(folder)], check=False)
    if mounted.status:
        pytest.skip(f"no XFS can be mounted here: {mounted.stderr.decode(errors='replace').strip()}")
    yield folder
    run(["umount", str(folder)])


def test_files_that_are_there_are_cloned(xfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made = write_layer(tmp_path)
    job = LayerJob(what="layer", path=path, target=xfs / "first", tree=made.tree, table=made.table)
    for name in ("first", "second"):
        (xfs / name).mkdir()
    extract_layers([job])
    paths = {entry.digest: xfs / "first" / path for path, entry in TREE.entries.items() if isinstance(entry, File)}
    written: list[int] = []

    def write(*arguments: int) -> int:
        written.append(1)
        return write_with_holes(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("kata_bundle.archive.known.write_with_holes", write)
    monkeypatch.setattr("kata_bundle.archive.extract.write_with_holes", write)
    again = LayerJob(what="layer", path=path, target=xfs / "second", tree=made.tree, table=made.table)
    extract_layers([again], reuse=Reuse(find=lambda entry: str(paths[entry.digest]), may_link=False))
    assert read_tree(xfs / "second") == TREE
    assert not written
    assert not os.path.samefile(xfs / "first/share/image", xfs / "second/share/image")
