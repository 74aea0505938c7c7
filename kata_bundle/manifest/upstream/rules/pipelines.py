"""Rules about what jobs of the pipeline hand to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.manifest.upstream.cells import arch_of
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.upstream.facts import UpstreamTree

__all__ = ["foreign_artefacts"]


@tree_rule("KB680", "a job that names another architecture's artefacts")
def foreign_artefacts(tree: UpstreamTree) -> Iterator[Problem]:
    """A workflow that builds for one architecture hands on, fetches or deletes artefacts named after another one.

    The other architecture's job overwrites or loses them, and its own are not found.

    Repair: name the architecture that the workflow builds for.

    False alarm: a workflow that builds one architecture's components from another's.
    """
    for artefact in tree.artefacts:
        mine, theirs = arch_of(artefact.arch) or artefact.arch, arch_of(artefact.named.name) or artefact.named.name
        if mine != theirs:
            message = f'this workflow builds for {artefact.arch}, but names artefacts of "{artefact.named.name}"'
            yield Problem(span=artefact.named.span, message=message)
