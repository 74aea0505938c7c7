"""A plan as a graph: shims and the components that they need, and on demand what those components are built from.

Must not know: where a node is drawn (that is ``layout``'s), colours, files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.closure import Plan

__all__ = ["Graph", "GraphEdge", "GraphNode", "NodeKind", "plan_graphs", "render_dot"]


class NodeKind(StrEnum):
    """What a node stands for."""

    SHIM = "shim"
    COMPONENT = "component"
    PART = "part"
    """Only built: it goes into a component, or is read while one is made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNode:
    """A node; names of shims and components may be equal, so it is known by kind and name together."""

    kind: NodeKind
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphEdge:
    """``source`` needs ``target``: at run time, or to be built."""

    source: GraphNode
    target: GraphNode
    is_build: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """The graph of one architecture; every edge's ends are among ``nodes``."""

    arch: Arch
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


def plan_graphs(catalog: Catalog, plan: Plan, *, parts: bool = False) -> tuple[Graph, ...]:
    """Return one graph an architecture, shims before components, each by name.

    With ``parts``, also what the components are built from there, to the end, as dependencies of builds.
    """
    graphs = []
    for arch in plan.arches:
        shims = [GraphNode(kind=NodeKind.SHIM, name=shim) for shim in plan.shims_on(arch)]
        planned = plan.components_on(arch)
        nodes = {c.component: GraphNode(kind=NodeKind.COMPONENT, name=c.component) for c in planned}
        edges = [
            GraphEdge(source=GraphNode(kind=NodeKind.SHIM, name=shim), target=nodes[c.component])
            for c in planned
            for shim in c.needed_by
        ]
        if parts:
            edges += _build_edges(catalog, arch, nodes)
        ordered = sorted(nodes.values(), key=lambda node: (node.kind is NodeKind.PART, node.name))
        graphs.append(Graph(arch=arch, nodes=(*shims, *ordered), edges=tuple(edges)))
    return tuple(graphs)


def _build_edges(catalog: Catalog, arch: Arch, nodes: dict[str, GraphNode]) -> list[GraphEdge]:
    """Return the edges to what is built first, adding its nodes to ``nodes``."""
    edges = []
    waiting = list(nodes)
    while waiting:
        name = waiting.pop()
        for needed in catalog.components[name].build_depends_on:
            component = catalog.components.get(needed)
            if component is None or arch not in component.arches:
                continue
            if needed not in nodes:
                nodes[needed] = GraphNode(kind=NodeKind.PART, name=needed)
                waiting.append(needed)
            edges.append(GraphEdge(source=nodes[name], target=nodes[needed], is_build=True))
    return sorted(edges, key=lambda edge: (edge.source.name, edge.target.name))


_SHAPES = {
    NodeKind.SHIM: 'shape=box, style="rounded,filled", fillcolor="#dbe9f9"',
    NodeKind.COMPONENT: "shape=box",
    NodeKind.PART: "shape=box, style=dashed",
}


def render_dot(graphs: tuple[Graph, ...]) -> str:
    """Return ``graphs`` in the DOT language: one digraph, a cluster an architecture."""
    lines = ["digraph plan {", "  rankdir=LR;", '  node [fontname="monospace", fontsize=11];']
    for graph in graphs:
        lines += [f"  subgraph {_quoted(f'cluster_{graph.arch}')} {{", f"    label={_quoted(graph.arch)};"]
        for node in graph.nodes:
            lines.append(f"    {_id(graph, node)} [label={_quoted(node.name)}, {_SHAPES[node.kind]}];")
        for edge in graph.edges:
            style = " [style=dashed]" if edge.is_build else ""
            lines.append(f"    {_id(graph, edge.source)} -> {_id(graph, edge.target)}{style};")
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _id(graph: Graph, node: GraphNode) -> str:
    kind = "shim" if node.kind is NodeKind.SHIM else "component"
    return _quoted(f"{graph.arch}/{kind}/{node.name}")


def _quoted(text: str) -> str:
    # In DOT only the double quote is special inside quotes; a final backslash would hide it.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
