"""Rules about what jobs of the pipeline hand to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.manifest.upstream.cells import arch_of
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.upstream.facts import UpstreamTree

__all__ = ["foreign_artefacts", "lone_values", "unknown_names"]


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


@tree_rule("KB681", "an expression that names what its job does not have")
def unknown_names(tree: UpstreamTree) -> Iterator[Problem]:
    """An expression of a build workflow names a key that the job's matrix lacks, an input that is not declared, or a job that it
    does not need.

    It is empty then, and a condition that compares it never holds, or always.

    Repair: name a key, an input or a job that is there.

    False alarm: a matrix that is made while the workflow runs: nothing is said about one that is an expression itself.
    """
    for expression in tree.expressions:
        name = expression.used.name.partition(".")[2]
        if expression.kind == "input":
            message = f'"{expression.used.name}" is nothing that a workflow has'
            yield Problem(span=expression.used.span, message=message, hint=f'did you mean "inputs.{name}"?')
        elif name not in expression.known:
            owner = "the workflow has no such input" if expression.kind == "inputs" else f'the job "{expression.job}" has no such'
            noun = {"matrix": f"{owner} key in its matrix", "needs": f"{owner} job among its needs"}.get(expression.kind, owner)
            hint = did_you_mean(name, expression.known)
            yield Problem(span=expression.used.span, message=f'"{expression.used.name}": {noun}', hint=hint)


@tree_rule("KB683", "a key of a matrix without a list")
def lone_values(tree: UpstreamTree) -> Iterator[Problem]:
    """A key of a build matrix has a single value. The workflow is refused as a whole: every key needs a list.

    Repair: make a list with one entry.

    False alarm: none; an expression that makes a list of JSON is not reported.
    """
    for item in tree.lone_values:
        yield Problem(span=item.span, message=f'the key "{item.name}" of this matrix has no list')
