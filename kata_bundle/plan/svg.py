"""A plan's graphs as an SVG picture that needs no program and no font beyond a monospaced one.

Every shim has a colour of its own, which its edges share; a node's or edge's title (shown on pointing at it) says what it is.
Must not know: how positions are found.
"""

from __future__ import annotations

import colorsys
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from kata_bundle.plan.graph import NodeKind
from kata_bundle.plan.layout import layered_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kata_bundle.plan.graph import Graph, GraphEdge, GraphNode
    from kata_bundle.plan.layout import Box

__all__ = ["render_svg"]

_CHARACTER = 7.3
"""Width of a character at 12 pixels, in monospaced fonts 0.6 em and a little."""
_HEIGHT, _PADDING, _MARGIN, _TITLE = 24.0, 18.0, 24.0, 34.0
_GOLDEN = 0.618033988749895

_STYLE = """\
text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1b1f24; }
.title { font-size: 15px; font-weight: bold; }
.note { fill: #57606a; }
.edge { fill: none; stroke-width: 1.4; stroke-opacity: .75; }
.build { stroke: #8c959f; stroke-dasharray: 4 3; }
.component { fill: #ffffff; stroke: #57606a; }
.part { fill: #f6f8fa; stroke: #8c959f; stroke-dasharray: 4 3; }
.shim { stroke-width: 1.6; }"""


def render_svg(graphs: Sequence[Graph]) -> str:
    """Return ``graphs`` below each other as one SVG document."""
    shims = list(dict.fromkeys(node.name for graph in graphs for node in graph.nodes if node.kind is NodeKind.SHIM))
    colours = {name: _colour(number) for number, name in enumerate(sorted(shims))}
    body: list[str] = []
    top, width = _MARGIN, 0.0
    for graph in graphs:
        lines, right, bottom = _panel(graph, colours, top)
        body += lines
        width, top = max(width, right), bottom + _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width + _MARGIN)} {_n(top)}" '
        f'width="{_n(width + _MARGIN)}" height="{_n(top)}" role="img" aria-label="components needed by shims">'
    )
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, f"<style>\n{_STYLE}\n</style>", ground, *body, "</svg>"]) + "\n"


def _panel(graph: Graph, colours: dict[str, tuple[str, str]], top: float) -> tuple[list[str], float, float]:
    sizes = {_key(node): (len(node.name) * _CHARACTER + _PADDING, _HEIGHT) for node in graph.nodes}
    edges = [(_key(edge.source), _key(edge.target)) for edge in graph.edges]
    # More edges between two layers need more room to be told apart.
    layout = layered_layout(sizes, edges, layer_gap=min(90 + 1.5 * len(edges), 320))
    shims = sum(node.kind is NodeKind.SHIM for node in graph.nodes)
    components = sum(node.kind is NodeKind.COMPONENT for node in graph.nodes)
    note = f"{shims} shim{'s' if shims != 1 else ''}, {components} component{'s' if components != 1 else ''}"
    if len(graph.nodes) > shims + components:
        note += "; dashed: needed to build"
    lines = [
        f'<g transform="translate({_n(_MARGIN)} {_n(top)})">',
        f'<text class="title" x="0" y="14">{escape(graph.arch)}</text>',
        f'<text class="note" x="{_n(len(graph.arch) * 10 + 14)}" y="14">{note}</text>',
        f'<g transform="translate(0 {_n(_TITLE)})">',
    ]
    for edge, bends in zip(graph.edges, layout.bends, strict=True):
        lines.append(_edge(edge, layout.boxes[_key(edge.source)], layout.boxes[_key(edge.target)], bends, colours))
    lines += [line for node in graph.nodes for line in _node(node, layout.boxes[_key(node)], colours)]
    lines += ["</g>", "</g>"]
    title_width = len(graph.arch) * 10 + 14 + len(note) * _CHARACTER
    return lines, _MARGIN + max(layout.width, title_width), top + _TITLE + layout.height


def _node(node: GraphNode, box: Box, colours: dict[str, tuple[str, str]]) -> Iterator[str]:
    left, upper = box.x - box.width / 2, box.y - box.height / 2
    paint = ""
    if node.kind is NodeKind.SHIM:
        line, fill = colours[node.name]
        paint = f' fill="{fill}" stroke="{line}"'
    radius = 12 if node.kind is NodeKind.SHIM else 3
    name = escape(node.name)
    yield (
        f'<rect class="{node.kind}"{paint} x="{_n(left)}" y="{_n(upper)}" width="{_n(box.width)}" height="{_n(box.height)}" '
        f'rx="{radius}"><title>{node.kind} {name}</title></rect>'
    )
    yield f'<text x="{_n(box.x)}" y="{_n(box.y + 4)}" text-anchor="middle" pointer-events="none">{name}</text>'


def _edge(
    edge: GraphEdge, source: Box, target: Box, bends: Sequence[tuple[float, float]], colours: dict[str, tuple[str, str]]
) -> str:
    points = [(source.x + source.width / 2, source.y), *bends, (target.x - target.width / 2, target.y)]
    path = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for (x1, y1), (x2, y2) in pairwise(points):
        middle = (x1 + x2) / 2
        path.append(f"C{_n(middle)} {_n(y1)} {_n(middle)} {_n(y2)} {_n(x2)} {_n(y2)}")
    build = " build" if edge.is_build else ""
    paint = "" if edge.is_build else f' stroke="{colours[edge.source.name][0]}"'
    verb = "is built from" if edge.is_build else "needs"
    title = f"{escape(edge.source.name)} {verb} {escape(edge.target.name)}"
    return f'<path class="edge{build}"{paint} d="{" ".join(path)}"><title>{title}</title></path>'


def _key(node: GraphNode) -> str:
    return f"{'shim' if node.kind is NodeKind.SHIM else 'component'}/{node.name}"


def _colour(number: int) -> tuple[str, str]:
    """Return a line's and a fill's colour: hues apart by the golden ratio, so that any number of them differ."""
    hue = (0.58 + number * _GOLDEN) % 1
    return _hex(hue, 0.40, 0.62), _hex(hue, 0.92, 0.70)


def _hex(hue: float, lightness: float, saturation: float) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colorsys.hls_to_rgb(hue, lightness, saturation))


def _n(value: float) -> str:
    """Return a number with at most one decimal, the same everywhere."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
