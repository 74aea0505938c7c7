"""How a layer was packed, as bundle indexes and the store record it: the recipe, and which way of packing this program had.

A recipe says what the library is told. Where frames end, how a tar is written and with what else the library is called is code:
:data:`PACKER` numbers its states. It stands beside the recipe where layers are recorded, not in the layer itself, whose bytes it
does not change. Must not know: stores, bundles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.archive.zstd import Recipe, current_recipe
from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.fields import JsonValue

__all__ = ["PACKER", "packing_record", "read_packing", "why_unrepeatable"]

PACKER: Final = 1
"""Raised by whoever makes other bytes of an equal tree, date and recipe; a test with golden layers tells when that is so.

1: frames begin at files of half a frame or more; a shortest match of 4 bytes where the level's is longer.
"""
_MOST: Final = 1_000_000


def packing_record(recipe: Recipe) -> dict[str, JsonValue]:
    """Return what is recorded of a layer that this program packs by ``recipe``."""
    return {**recipe.to_dict(), "packer": PACKER}


def read_packing(data: Mapping[str, object], *, what: str = "recipe") -> tuple[Recipe, int | None]:
    """Return the recipe of a record, and its packer: ``None`` for a record that was written before packers were numbered.

    Raises :class:`IntegrityError` for anything else than a record.
    """
    members = dict(data)
    packer = members.pop("packer", None)
    if packer is not None and (type(packer) is not int or not 1 <= packer < _MOST):
        msg = f"{what} is not a packing recipe this version knows: its packer is no number"
        raise IntegrityError(msg)
    return Recipe.from_dict(members, what=what), packer


def why_unrepeatable(record: Mapping[str, object] | None, *, is_old_tried: bool = False) -> str | None:
    """Return why the bytes of a layer with this record cannot be made again here from its files, ``None`` when they can.

    With ``is_old_tried`` a record without packer passes: for who compares what comes out and has nothing else to try.
    """
    if record is None:
        return "packed elsewhere"
    try:
        recipe, packer = read_packing(record)
    except IntegrityError:
        return "packed by another version of this program"
    here = current_recipe(recipe.level)
    if recipe.library != here.library:
        return f"packed by libzstd {recipe.library}, this one is {here.library}"
    if packer is None:
        return None if is_old_tried else "packed before the way of packing was recorded"
    return None if packer == PACKER else f"packed in way {packer}, this program packs in way {PACKER}"
