"""docs/reference/store.md says what is on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.tree import Tree
from kata_bundle.store import ActionResult
from tests.support.bundles import add_layer

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "store.md").read_text()


def members(start: str) -> set[str]:
    """Return the names in the sentence that begins with ``start``."""
    return set(re.findall(r"`(\w+)`", PAGE.partition(start)[2].partition(".")[0]))


def test_the_picture_is_a_fresh_store(store):
    block = re.search(r"```\n(.*?)```", PAGE, flags=re.DOTALL)
    assert block is not None
    drawn = {line.split()[0].partition("<")[0].rstrip("/") for line in block[1].splitlines()[1:]}
    found = {path.relative_to(store.root).as_posix() for path in store.root.rglob("*")}
    assert drawn == found - {"blobs", "refs"}
    assert (store.root / "version").read_text() == "kata-bundle-store 1\n"


def test_records_have_the_members_that_the_page_names(store):
    record = add_layer(store, "kernel", Arch.X86_64)
    tree = store.put_tree(Tree.of({}))
    store.put_result(
        digest_bytes(b"key"), ActionResult(tree=tree, origin="deb", version="1", hermetic=True, ingredients={"pins": "[]"})
    )
    (layer,) = (store.root / "refs" / "layer" / record.component).iterdir()
    (action,) = (store.root / "actions").iterdir()
    for path, start in ((layer, "A layer's value:"), (action, "An action's value:")):
        document = json.loads(path.read_text())
        assert set(document) == members("A record is")
        assert set(document["value"]) == members(start)
