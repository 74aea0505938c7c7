"""What is recorded of how a layer was packed, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kata_bundle.archive.packing import PACKER, packing_record, read_packing, why_unrepeatable
from kata_bundle.archive.zstd import current_recipe
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from tests.unit.archive.layers import pack

GOLDEN = Path(__file__).parents[2] / "golden/layer"
LAYERS = {1: "v1.json"}
"""Way of packing → a layer that was packed in it; whoever raises PACKER adds one."""


def test_the_number_is_raised_when_equal_content_gets_other_bytes() -> None:
    assert max(LAYERS) == PACKER, "add a layer that was packed in the new way"
    facts = json.loads((GOLDEN / LAYERS[PACKER]).read_text())
    if current_recipe().library != facts["recipe"]["library"]:
        pytest.skip(f"packed by libzstd {facts['recipe']['library']}, this is {current_recipe().library}")
    assert digest_bytes(pack(level=10)[0]) == facts["packed"], "the bytes changed: raise archive.packing.PACKER"


def test_a_record_is_the_recipe_and_the_way() -> None:
    recipe = current_recipe(7)
    record = packing_record(recipe)
    assert record == {**recipe.to_dict(), "packer": PACKER}
    assert read_packing(record) == (recipe, PACKER)
    assert read_packing(recipe.to_dict()) == (recipe, None)


@pytest.mark.parametrize("packer", [0, -1, True, 1.0, "1", 10**9, []])
def test_a_way_is_a_number(packer: object) -> None:
    with pytest.raises(IntegrityError, match="packer is no number"):
        read_packing({**current_recipe().to_dict(), "packer": packer})


def test_what_is_in_a_layer_does_not_state_the_way() -> None:
    assert "packer" not in current_recipe().to_dict()


def test_only_layers_of_this_way_and_library_are_called_repeatable() -> None:
    record = packing_record(current_recipe())
    assert why_unrepeatable(record) is None
    assert why_unrepeatable(None) == "packed elsewhere"
    assert why_unrepeatable({**record, "packer": PACKER + 1}) == f"packed in way {PACKER + 1}, this program packs in way {PACKER}"
    assert "libzstd 1.4.0" in str(why_unrepeatable({**record, "library": "1.4.0"}))
    assert why_unrepeatable({**record, "wheel": 1}) == "packed by another version of this program"
    assert why_unrepeatable({**record, "packer": "new"}) == "packed by another version of this program"


def test_an_old_record_is_tried_where_nothing_else_is_left() -> None:
    old = current_recipe().to_dict()
    assert why_unrepeatable(old) == "packed before the way of packing was recorded"
    assert why_unrepeatable(old, is_old_tried=True) is None
