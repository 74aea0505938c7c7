"""A plan as a graph: what is in it, its DOT text, its picture."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.manifest import load_catalog
from kata_bundle.plan.closure import plan_closure
from kata_bundle.plan.graph import Graph, GraphEdge, GraphNode, NodeKind, plan_graphs, render_dot
from kata_bundle.plan.layout import layered_layout
from kata_bundle.plan.selection import Selection
from kata_bundle.plan.svg import render_svg

X, A, P = Arch.X86_64, Arch.AARCH64, Arch.PPC64LE
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def catalog():
    found, _ = load_catalog()
    assert found is not None
    return found


def graphs(catalog, shims, arches, **options):
    return plan_graphs(catalog, plan_closure(catalog, Selection(shims=tuple(shims), arches=tuple(arches))), **options)


def test_a_shim_and_a_component_of_one_name_are_two_nodes(catalog):
    (graph,) = graphs(catalog, ["qemu"], [P])
    assert [(n.kind, n.name) for n in graph.nodes if n.name == "qemu"] == [(NodeKind.SHIM, "qemu"), (NodeKind.COMPONENT, "qemu")]
    assert {e.target.name for e in graph.edges} == {"shim-v2-go", "qemu", "virtiofsd", "kernel", "rootfs-initrd"}


def test_there_is_one_graph_an_architecture_with_every_need_as_an_edge(catalog):
    for graph in graphs(catalog, ["all"], list(Arch)):
        needs = {(e.source.name, e.target.name) for e in graph.edges}
        rows = {s: catalog.component_map.components(s, graph.arch) for s in catalog.component_map.shims}
        assert needs == {(shim, name) for shim, row in rows.items() for name in row or ()}


def test_parts_lead_to_the_end_and_only_to_what_is_built_there(catalog):
    (graph,) = graphs(catalog, ["qemu-nvidia-gpu"], [X], parts=True)
    build = {(e.source.name, e.target.name) for e in graph.edges if e.is_build}
    assert ("rootfs-image-nvidia-gpu", "agent") in build
    assert {n.name for n in graph.nodes if n.kind is NodeKind.PART} >= {"agent", "busybox"}
    assert all(X in catalog.components[target].arches for _, target in build)
    (plain,) = graphs(catalog, ["qemu-nvidia-gpu"], [X])
    assert not any(e.is_build for e in plain.edges)
    # What is shipped anyway is no part only because something is also built from it.
    assert ("component", "kernel-nvidia-gpu") in {(n.kind, n.name) for n in graph.nodes}


def test_dot_names_every_node_once_and_every_edge(catalog):
    made = graphs(catalog, ["qemu", "clh"], [X, A])
    text = render_dot(made)
    assert len(re.findall(r"\[label=", text)) == sum(len(g.nodes) for g in made)
    assert text.count(" -> ") == sum(len(g.edges) for g in made)
    assert '"x86_64/shim/qemu" -> "x86_64/component/kernel";' in text
    assert text == render_dot(graphs(catalog, ["clh", "qemu"], [X, A]))


def test_dot_quotes_whatever_a_name_holds():
    node = GraphNode(kind=NodeKind.SHIM, name='a"b\\')
    text = render_dot((Graph(arch=X, nodes=(node,), edges=()),))
    assert 'label="a\\"b\\\\"' in text


def drawn(text):
    root = ElementTree.fromstring(text)
    titles = [element.text for element in root.iter(f"{SVG}title")]
    return root, titles


def test_the_picture_is_well_formed_and_shows_every_node_and_edge(catalog):
    made = graphs(catalog, ["all"], [X, P], parts=True)
    root, titles = drawn(render_svg(made))
    assert len(titles) == sum(len(g.nodes) + len(g.edges) for g in made)
    assert "qemu needs kernel" in titles
    assert "rootfs-image is built from agent" in titles
    assert len(titles) == len(root.findall(f".//{SVG}rect/{SVG}title")) + len(root.findall(f".//{SVG}path/{SVG}title"))
    width, height = (float(value) for value in root.get("viewBox").split()[2:])
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("x") is not None:
            assert float(rect.get("x")) >= 0
            assert float(rect.get("x")) + float(rect.get("width")) <= width
            assert float(rect.get("y")) + float(rect.get("height")) <= height


def test_labels_fit_into_their_boxes(catalog):
    root, _ = drawn(render_svg(graphs(catalog, ["all"], [X])))
    boxes = [r for r in root.iter(f"{SVG}rect") if r.get("x") is not None]
    names = [t for t in root.iter(f"{SVG}text") if t.get("text-anchor") == "middle"]
    assert len(boxes) == len(names)
    for box, name in zip(boxes, names, strict=True):
        assert float(box.get("width")) > 7.2 * len(name.text)  # 0.6 em of 12 pixels


def test_shims_have_colours_of_their_own_that_their_edges_share(catalog):
    root, _ = drawn(render_svg(graphs(catalog, ["all"], [X])))
    colours = {r.find(f"{SVG}title").text: r.get("stroke") for r in root.iter(f"{SVG}rect") if r.get("class") == "shim"}
    assert len(set(colours.values())) == len(colours) == 24
    edge = next(p for p in root.iter(f"{SVG}path") if p.find(f"{SVG}title").text == "fc needs firecracker")
    assert edge.get("stroke") == colours["shim fc"]


def test_a_name_cannot_break_out_of_the_picture():
    node = GraphNode(kind=NodeKind.SHIM, name="<script>&\"'")
    other = GraphNode(kind=NodeKind.COMPONENT, name="]]>")
    text = render_svg((Graph(arch=X, nodes=(node, other), edges=(GraphEdge(source=node, target=other),)),))
    _, titles = drawn(text)
    assert "shim <script>&\"'" in titles
    assert "<script" not in text


def test_the_same_plan_gives_the_same_picture(catalog):
    assert render_svg(graphs(catalog, ["all"], [X])) == render_svg(graphs(catalog, ["all"], [X]))


def test_no_graphs_give_an_empty_picture():
    root, titles = drawn(render_svg(()))
    assert titles == []
    assert root.get("viewBox") == "0 0 24 24"


def test_a_graph_that_can_be_drawn_without_crossings_is():
    # A comb: given in the worst order, so that the order has to be found.
    edges = [(f"s{i}", f"t{9 - i}") for i in range(10)]
    sizes = {**{f"s{i}": (40.0, 20.0) for i in range(10)}, **{f"t{i}": (40.0, 20.0) for i in range(10)}}
    layout = layered_layout(sizes, edges)
    places = sorted((layout.boxes[s].y, layout.boxes[t].y) for s, t in edges)
    assert [t for _, t in places] == sorted(t for _, t in places)
    assert all(abs(s - t) < 1e-6 for s, t in places)


def test_a_long_edge_bends_once_a_layer_and_avoids_the_nodes_between():
    sizes = dict.fromkeys("abc", (40.0, 20.0))
    layout = layered_layout(sizes, [("a", "b"), ("b", "c"), ("a", "c")])
    ((x, y),) = layout.bends[2]
    assert x == layout.boxes["b"].x
    assert abs(y - layout.boxes["b"].y) >= 10
    assert layout.bends[0] == []


def test_cycles_and_edges_to_oneself_are_drawn_too():
    sizes = dict.fromkeys("abc", (10.0, 10.0))
    layout = layered_layout(sizes, [("a", "b"), ("b", "c"), ("c", "a"), ("b", "b")])
    assert layout.boxes["a"].x < layout.boxes["b"].x < layout.boxes["c"].x
    ((x, _),) = layout.bends[2]
    assert x == layout.boxes["b"].x
    assert layered_layout({}, []).width == 0
