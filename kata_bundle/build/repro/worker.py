"""A process of its own that makes or packs one component, for what this program computes itself.

Called with two paths: a JSON request and where its JSON answer goes. It prints nothing, remembers nothing, and puts only
blobs into the store. A process, since locale, zone, hash seed, umask and clock are those of a process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kata_bundle.store import Store

__all__ = ["main"]


def main(request_file: str, answer_file: str) -> int:
    """Carry out the request and return the exit code."""
    from kata_bundle.core.errors import BundleError
    from kata_bundle.store import Store

    request = json.loads(Path(request_file).read_text())
    store = Store(Path(request["store"]))
    try:
        answer = _layer(store, request) if "tree" in request else _component(store, request)
    except BundleError as error:
        answer = {"error": str(error), "hint": error.hint}
    Path(answer_file).write_text(json.dumps(answer))
    return 0


def _component(store: Store, request: dict[str, Any]) -> dict[str, Any]:
    from kata_bundle.build.components import make_again
    from kata_bundle.build.rulebook import Rulebook, Target
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.errors import FindingsError
    from kata_bundle.core.profile import Profile
    from kata_bundle.manifest import load_catalog

    catalog, _ = load_catalog(None if request["manifests"] is None else Path(request["manifests"]))
    if catalog is None:
        msg = "the manifests have errors"
        raise FindingsError(msg)
    rules = None if request["rules"] is None else Path(request["rules"])
    given = {name: Path(folder) for name, folder in request["sources"].items()}
    book = Rulebook.load(catalog, rules, profile=Profile(request["profile"]), given=given)
    tree = make_again(book, store, Target(arch=Arch(request["arch"]), component=request["component"]))
    return {"tree": store.put_tree(tree)}


def _layer(store: Store, request: dict[str, Any]) -> dict[str, Any]:
    from contextlib import nullcontext

    from kata_bundle.archive.framewriter import FramePool
    from kata_bundle.archive.layer import pack_layer
    from kata_bundle.archive.zstd import current_recipe
    from kata_bundle.core.digest import parse_digest

    recipe = current_recipe()
    tree = store.get_tree(parse_digest(request["tree"]))
    pool = None if recipe.frame_size is None else FramePool(recipe, threads=request["jobs"])
    with nullcontext() if pool is None else pool, open(request["packed"], "wb") as sink:
        made = pack_layer(tree, store.open, sink, recipe=recipe, mtime=request["mtime"], what=request["component"], pool=pool)
    return {"packed": made.packed, "size_bytes": made.packed_size_bytes}


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
