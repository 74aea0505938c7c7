"""Layers of format version 1, as files that stay readable for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kata_bundle.archive.extract import LayerJob, extract_layers
from kata_bundle.archive.layer import scan_layer
from kata_bundle.archive.layerfile import LayerFile
from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.toc import TableRef
from kata_bundle.archive.zstd import current_recipe
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.fields import Fields
from tests.unit.archive.layers import TREE, pack

FOLDER = Path(__file__).parents[2] / "golden/layer"
LAYER = FOLDER / "v1.tar.zst"
FACTS = json.loads((FOLDER / "v1.json").read_text())


def ref() -> TableRef:
    return TableRef.from_fields(Fields(FACTS["table"], "table"))


def test_it_is_what_it_was() -> None:
    data = LAYER.read_bytes()
    assert digest_bytes(data) == FACTS["packed"]
    with LayerFile.open(LAYER, ref(), what="golden") as layer:
        table = layer.table
    assert table.tree == TREE
    assert (table.tree.digest, table.diff_id, table.tar_size) == (
        FACTS["tree"],
        FACTS["diff_id"],
        FACTS["unpacked_size_bytes"],
    )
    assert table.recipe.to_dict() == FACTS["recipe"]
    assert table.ref() == ref()


def test_it_is_read_and_unpacked(tmp_path: Path) -> None:
    tree, found = scan_layer(LAYER, what="golden")
    assert (tree, found.table, found.packed) == (TREE, ref(), FACTS["packed"])
    extract_layers([LayerJob(what="golden", path=LAYER, target=tmp_path, tree=FACTS["tree"], table=ref())])
    assert read_tree(tmp_path) == TREE


def test_it_is_packed_again_to_the_same_bytes() -> None:
    if current_recipe().library != FACTS["recipe"]["library"]:
        pytest.skip(f"packed by libzstd {FACTS['recipe']['library']}, this is {current_recipe().library}")
    assert pack(level=10)[0] == LAYER.read_bytes()
