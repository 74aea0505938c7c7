"""Places are exact: multi-byte text, CRLF, tabs, anchors, and the nearest enclosing value for what is not there."""

import pytest

from kata_bundle.core.diagnostics import Report
from kata_bundle.manifest.document import parse_document
from kata_bundle.manifest.positions import LineIndex, Place, key_text


def place(name, text, path, *, of_key=False):
    report = Report()
    document = parse_document(text.encode(), name, report)
    assert document is not None, list(report)
    span = document.span(path, of_key=of_key)
    return span.line, span.column, span.length


@pytest.mark.parametrize(
    ("name", "text", "path", "expected"),
    [
        ("a.json", '{"ä€😀": "x", "b": [1, "ü"]}', ("b", 1), (1, 23, 3)),
        ("a.json", '{\r\n\t"a": {\r\n\t\t"b": null}}', ("a", "b"), (3, 8, 4)),
        ("a.toml", 'ä = 1\n"x y".z = [\n  1, # [\n\t"ü😀",\n]\n'.replace("ä", '"ä"'), ("x y", "z", 1), (4, 2, 4)),
        ("a.toml", "[t]\r\na = 'x'\r\nb = 2\r\n", ("t", "b"), (3, 5, 1)),
        ("a.toml", "[[t]]\na = 1\n[[t]]\na = 2\n", ("t", 1, "a"), (4, 5, 1)),
        ("a.toml", "[[t]]\n[t.u]\na = 1\n[[t]]\n[t.u]\na = 2\n", ("t", 1, "u", "a"), (6, 5, 1)),
        ("a.toml", "a = { b = { c = 12 } }\n", ("a", "b", "c"), (1, 17, 2)),
        ("a.toml", 'a = """x\ny""" # c\nb = 1\n', ("a",), (1, 5, 4)),
        ("a.toml", 'a = """""x"""""\nb = 1\n', ("b",), (2, 5, 1)),
        ("a.toml", "d = 1979-05-27 07:32:00 # c\n", ("d",), (1, 5, 19)),
        ("a.yaml", "ä: [x, 😀y]\n", ("ä", 1), (1, 8, 2)),
        ("a.yaml", "a:\r\n  b: 'x'\r\n", ("a", "b"), (2, 6, 3)),
        ("a.yaml", "a: &one {k: 1}\nb: *one\n", ("b",), (2, 4, 4)),
        ("a.yaml", "a: &one {k: 1}\nb: *one\n", ("b", "k"), (1, 13, 1)),
        ("a.yaml", "a: &x [1]\nb: &y [*x, 2]\nc: {d: *y}\n", ("c", "d", 0, 0), (1, 8, 1)),
        ("a.yaml", "a: |\n  text\n  more\nb: 1\n", ("b",), (4, 4, 1)),
    ],
)
def test_a_value_is_placed_exactly(name, text, path, expected):
    assert place(name, text, path) == expected


@pytest.mark.parametrize(
    ("name", "text", "path", "expected"),
    [
        ("a.json", '{"a": {"ü": 1}}', ("a", "ü"), (1, 8, 3)),
        ("a.toml", "[a.'b c']\nd . e = 1\n", ("a", "b c", "d"), (2, 1, 1)),
        ("a.toml", "[a.'b c']\nd . e = 1\n", ("a", "b c", "d", "e"), (2, 5, 1)),
        ("a.toml", "[a.'b c']\nd . e = 1\n", ("a", "b c"), (1, 4, 5)),
        ("a.toml", "[a.b]\nx = 1\n[a]\ny = 1\n", ("a",), (3, 2, 1)),
        ("a.yaml", "? a\n: b\n'c': d\n", ("c",), (3, 1, 3)),
    ],
)
def test_a_key_is_placed_exactly(name, text, path, expected):
    assert place(name, text, path, of_key=True) == expected


def test_what_is_not_there_is_placed_at_the_nearest_enclosing_key():
    text = "[a.b]\nc = 1\n"
    assert place("a.toml", text, ("a", "b", "missing", 3)) == (1, 4, 1)
    assert place("a.toml", text, ("x",)) == (1, 1, 1)


def test_a_key_path_is_shown_with_dots_indexes_and_quotes():
    assert key_text(("shims", "qemu", "x86_64", 3)) == "shims.qemu.x86_64[3]"
    assert key_text(("a.b", 'c"d', 0, "e\\")) == '"a.b"."c\\"d"[0]."e\\\\"'
    assert key_text(()) == ""


def test_offsets_and_places_agree_and_are_clamped():
    lines = LineIndex("ab\r\nc\n")
    assert lines.place(0, 99) == Place(1, 1, 2)
    assert lines.place(4, 5) == Place(2, 1, 1)
    assert lines.place(99) == Place(3, 1, 1)
    assert [lines.offset(1, 2), lines.offset(2, 1), lines.offset(9, 9), lines.offset(2, 99)] == [1, 4, 6, 6]
