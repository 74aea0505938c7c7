"""What is wrong with a document is one finding, at the place where a person has to look."""

import pytest

from kata_bundle.core.diagnostics import Report
from kata_bundle.manifest.document import parse_document, read_document
from kata_bundle.manifest.refusal import MAX_BYTES, MAX_DEPTH


def only_finding(data, name):
    report = Report()
    assert parse_document(data if isinstance(data, bytes) else data.encode(), name, report) is None
    [finding] = report
    return finding


SYNTAX = [
    # JSON
    ("a.json", '{"a": 1,}', 1, 9, "expected a key in double quotes"),
    ("a.json", '{"a": [1, 2]', 1, 13, '"," or "}"'),
    ("a.json", '{"a": [1 2]}', 1, 10, '"," or "]"'),
    ("a.json", '{"a": ["x",\n "b": 2}', 1, 10, 'expected "]" before the key "b"'),
    ("a.json", '{"a": 1\n "b": 2}', 1, 7, '"," or "}"'),
    ("a.json", '{"a: 1}', 1, 2, "not closed with a double quote"),
    ("a.json", "{'a': 1}", 1, 2, "a key in double quotes"),
    ("a.json", '{"a": tru}', 1, 7, 'expected a value, found "tru"'),
    ("a.json", '{"a" 1}', 1, 6, 'expected ":"'),
    ("a.json", '{"a": "\\x"}', 1, 8, "a wrong escape"),
    ("a.json", '{"a": "\t"}', 1, 8, "a control character"),
    ("a.json", "{} x", 1, 4, "after the end"),
    ("a.json", "", 1, 1, "expected a value"),
    ("a.json", "[01]", 1, 3, '"," or "]"'),
    ("a.json", "\ufeff{}", 1, 1, "byte order mark"),
    # TOML
    ("a.toml", "a = 1\nb = \nc = 2\n", 2, 5, "invalid value"),
    ("a.toml", "a = 1\nb 2\n", 2, 3, "expected '='"),
    ("a.toml", 'a = "x\nb = 2\n', 1, 5, "the text is not closed"),
    ("a.toml", "a = '''x\nb = 2\n", 1, 5, "the text is not closed"),
    ("a.toml", 'a = [\n  "x",\n  "y",\n\nb = 2\n', 3, 5, "the array that begins on line 1 is not closed"),
    ("a.toml", 'a = [\n  "x",\n\n[shims.qemu]\nb = 2\n', 2, 5, "the array that begins on line 1 is not closed"),
    ("a.toml", 'a = [\n  "x"\n  "y"\n]\n', 2, 5, 'expected "," or the end of the array'),
    ("a.toml", 'a = ["x" "y"]\n', 1, 8, 'expected "," or the end of the array'),
    ("a.toml", "a = [[1], [2]\nb = 1\n", 1, 13, "is not closed"),
    ("a.toml", "a = { b = 1\nc = 2\n", 1, 11, "inline table that begins on line 1 is not closed"),
    ("a.toml", "[a\nb = 1\n", 1, 1, "the table header is not closed"),
    ("a.toml", "a = 1979-02-30\n", 1, 5, "invalid date or datetime"),
    ("a.toml", "a = 1 b = 2\n", 1, 7, "expected newline"),
    ("a.toml", "a.b = 1\na.b.c = 2\n", 2, None, ""),
    ("a.toml", "a = 1\nb", 2, 1, ""),
    ("a.toml", '"\\q" = 1\n', 1, None, "unescaped"),
    # YAML
    ("a.yaml", "a: [1, 2\nb: 3\n", 2, None, ""),
    ("a.yaml", "a: 'x\n", 2, None, ""),
    ("a.yaml", "a: 1\n b: 2\n", 2, None, ""),
    ("a.yaml", "a:\n\t- 1\n", 2, 1, ""),
    ("a.yaml", "a: *b\n", 1, 4, 'alias "b" has no anchor before it'),
    ("a.yaml", "--- 1\n--- 2\n", 2, 1, "a second document begins here"),
    ("a.yaml", "a: \x01\n", 1, 4, "a character that YAML does not allow"),
]


@pytest.mark.parametrize(("name", "text", "line", "column", "message"), SYNTAX)
def test_a_syntax_error_is_shown_where_it_is(name, text, line, column, message):
    finding = only_finding(text, name)
    assert finding.code in {"KB103", "KB104"}
    assert finding.span.line == line
    assert column is None or finding.span.column == column
    assert message in finding.message


@pytest.mark.parametrize(
    ("name", "text", "line", "column", "key"),
    [
        ("a.json", '{"a": 1, "b": 2,\n "a": 3}', 2, 2, "a"),
        ("a.json", '{"x": [{"k": 1, "k": 2}]}', 1, 17, "x[0].k"),
        ("a.toml", "a = 1\nb = 2\na = '''\n\n'''\n", 3, 1, "a"),
        ("a.toml", "[a]\nx = 1\n[b]\n[a]\n", 4, 2, "a"),
        ("a.toml", "x.y = 1\n'x'.\"y\" = 2\n", 2, 5, "x.y"),
        ("a.yaml", "a:\n  b: 1\n  'b': 2\n", 3, 3, "a.b"),
    ],
)
def test_a_key_given_twice_is_shown_at_the_second_with_the_line_of_the_first(name, text, line, column, key):
    finding = only_finding(text, name)
    assert (finding.code, finding.span.line, finding.span.column) == ("KB104", line, column)
    assert f'key "{key}" is given twice, first on line 1' in finding.message or "first on line 2" in finding.message


@pytest.mark.parametrize(
    ("name", "text", "line", "column"),
    [
        ("a.json", "[1,\n NaN]", 2, 2),
        ("a.json", "[-Infinity]", 1, 2),
        ("a.json", "[1e999]", 1, 2),
        ("a.json", '["\\ud800"]', 1, 2),
        ("a.json", '{"\\udfff": 1}', 1, 2),
        ("a.toml", "a = 1\nb = [nan]\n", 2, 6),
        ("a.toml", "b = -inf\n", 1, 5),
        ("a.toml", "a = 1\nb = 1e999\n", 2, 5),
        ("a.yaml", "a: 1\nb: [1e999]\n", 2, 5),
        ("a.yaml", "a: .nan\n", 1, 4),
        ("a.yaml", "a: -.INF\n", 1, 4),
        ("a.yaml", "1: x\n", 1, 1),
        ("a.yaml", "? [a]\n: x\n", 1, 3),
        ("a.yaml", "a: !mine 1\n", 1, 4),
        ("a.yaml", "a: !!python/object/apply:os.system [ls]\n", 1, 4),
        ("a.yaml", "a: !!int x\n", 1, 4),
        ("a.yaml", "a: &x [1, *x]\n", 1, 11),
    ],
)
def test_what_not_every_format_can_hold_is_refused(name, text, line, column):
    finding = only_finding(text, name)
    assert (finding.code, finding.span.line, finding.span.column) == ("KB106", line, column)


def test_bytes_that_are_not_utf8_are_placed_by_characters():
    finding = only_finding('a = 1\nb = "äö'.encode() + b"\xff\xfe", "a.toml")
    assert (finding.code, finding.span.line, finding.span.column) == ("KB102", 2, 8)
    assert "0xff" in finding.message


@pytest.mark.parametrize(
    ("name", "text", "line", "column"),
    [
        ("a.json", "[" * 100_000, 1, MAX_DEPTH + 1),
        ("a.json", "[\n" * 60 + "]\n" * 60, MAX_DEPTH + 1, 1),
        ("a.json", '{"a":' * 60 + "1" + "}" * 60, 1, MAX_DEPTH * 5 + 1),
        ("a.json", "[" + "1" * 5000 + "]", 1, 2),
        ("a.toml", "a = " + "[" * 100_000, 1, MAX_DEPTH + 5),
        ("a.toml", "a = " + "[" * 60 + "]" * 60, 1, None),
        ("a.toml", ".".join("a" * 100_000) + " = 1", 1, 1),
        ("a.toml", "[" + ".".join(["'a'"] * 60) + "]", 1, 2),
        ("a.yaml", "[" * 100_000, 1, MAX_DEPTH + 1),
        ("a.yaml", "- " * 100_000, 1, MAX_DEPTH * 2 + 1),
        ("a.yaml", "a: " + "1" * 5000, 1, 4),
    ],
)
def test_documents_that_are_too_deep_are_refused_at_the_first_level_too_many(name, text, line, column):
    finding = only_finding(text, name)
    assert finding.code == "KB105"
    assert finding.span.line == line
    assert column is None or finding.span.column == column


def test_a_number_of_too_many_digits_in_toml_is_refused_at_its_place():
    finding = only_finding("a = 1\nb = " + "7" * 5000 + "\n", "a.toml")
    assert (finding.span.line, finding.span.column) == (2, 5)


def test_an_alias_bomb_is_refused_at_the_alias_that_makes_it_one():
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12))
    finding = only_finding(f"l0: &l0 [{', '.join(['x'] * 10)}]\n{levels}\n", "a.yaml")
    assert finding.code == "KB105"
    assert finding.span.line == 6
    assert "1000000 values" in finding.message


def test_a_document_that_is_too_long_is_refused_without_being_parsed():
    assert only_finding(b" " * (MAX_BYTES + 1), "a.json").code == "KB105"


def test_yaml_is_read_by_the_core_schema_of_1_2():
    text = "on: no\nyes: 0o17\na: 017\nb: ~\nc: 1_000\nd: 2001-01-01\ne: !!str 1\nf: 0x1F\n'g': '1'\nh: +.5e1\ni: <<\n<<: x\n"
    document = parse_document(text.encode(), "a.yaml", Report())
    assert document is not None
    assert document.data == {
        "on": "no",
        "yes": 15,
        "a": 17,
        "b": None,
        "c": "1_000",
        "d": "2001-01-01",
        "e": "1",
        "f": 31,
        "g": "1",
        "h": 5.0,
        "i": "<<",
        "<<": "x",
    }


def test_values_behind_an_alias_are_those_of_the_anchor():
    document = parse_document(b"a: &x {k: [1, 2]}\nb: *x\n&y c: *y\n", "a.yml", Report())
    assert document is not None
    assert document.data == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": "c"}


def test_empty_documents_are_what_their_format_says():
    assert parse_document(b"", "a.toml", Report()).data == {}
    assert parse_document(b"# nothing\n", "a.yaml", Report()).data is None


@pytest.mark.parametrize("make", ["missing", "directory", "unreadable"])
def test_a_file_that_cannot_be_read_is_a_finding(tmp_path, make):
    file = tmp_path / "a.toml"
    if make == "directory":
        file.mkdir()
    elif make == "unreadable":
        file.symlink_to(file)
    report = Report()
    assert read_document(file, "a.toml", report) is None
    [finding] = report
    assert finding.code == "KB101"
