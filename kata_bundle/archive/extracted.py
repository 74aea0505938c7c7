"""What unpacking a layer leaves: a value. Must not know: how it came about."""

from __future__ import annotations

from kata_bundle.archive.rules import rewrite_target
from kata_bundle.core.record import record
from kata_bundle.core.tree import Symlink, Tree

__all__ = ["Extracted", "with_links_for"]


@record
class Extracted:
    """What was extracted: the tree as archived, and as installed, which has links rewritten to the destination.

    Both are empty when the layer was not to be identified.
    """

    tree: Tree
    installed: Tree
    left_out: int
    """Members that are not below ``opt/kata``."""


def with_links_for(tree: Tree, dest: str) -> Tree:
    """Return ``tree`` as it is when installed at ``dest``."""
    entries = {
        path: Symlink(target=rewrite_target(entry.target, dest)) if isinstance(entry, Symlink) else entry
        for path, entry in tree.entries.items()
    }
    return tree if entries == tree.entries else Tree(entries)
