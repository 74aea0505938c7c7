"""Readers take every valid document as the standard readers do, place every value exactly, and never fail on anything else."""

import json
import math
import tomllib
from datetime import date, datetime, time
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kata_bundle.core.diagnostics import Report
from kata_bundle.manifest.document import parse_document
from kata_bundle.manifest.json_reader import parse_json
from kata_bundle.manifest.json_scanner import scan_json
from kata_bundle.manifest.refusal import Refused
from kata_bundle.manifest.toml_reader import parse_toml
from kata_bundle.manifest.toml_scanner import scan_toml
from kata_bundle.manifest.yaml_reader import parse_yaml

from .toml_writer import toml_texts

MANIFESTS = Path(__file__).parents[3] / "manifests"

texts = st.text(max_size=12)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=15,
)


def paths_of(value, path=()):
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths_of(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from paths_of(item, (*path, i))


def text_at(text, place):
    line = text.split("\n")[place.line - 1]
    assert 1 <= place.column <= len(line) + 1
    return line[place.column - 1 : place.column - 1 + place.length]


def same(a, b):
    """Equality that tells 1 from true and from 1.0."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(deadline=None)
@given(json_values, st.sampled_from([None, 0, 2, "\t"]), st.booleans(), st.booleans())
def test_json_is_read_as_by_the_standard_library_and_every_value_is_placed(data, indent, ascii_only, crlf):
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    if crlf:
        text = text.replace("\n", "\r\n")
    assert same(parse_json(text), data)
    scanned, places = scan_json(text)
    assert same(scanned, data)
    assert set(places.values) == {path for path, _ in paths_of(data)}
    for path, value in paths_of(data):
        if not isinstance(value, dict | list):
            assert same(json.loads(text_at(text, places.find(path))), value)
        if path and isinstance(path[-1], str):
            assert json.loads(text_at(text, places.find(path, of_key=True))) == path[-1]


@settings(deadline=None)
@given(st.text(alphabet='{}[]":,\\ 01eE.-+tfnNaIulsyrd\n\x01é\ud800', max_size=25))
@example('{"a": 1, "a": 2}')
@example('["\\ud800"]')
@example("[1e999]")
@example("[NaN]")
@example("-")
@example("[-Infinity]")
def test_json_is_refused_exactly_when_the_standard_library_refuses_it_or_it_is_not_plain(text):
    try:
        data = json.loads(text)
    except ValueError:
        with pytest.raises(Refused):
            parse_json(text)
        with pytest.raises(Refused):
            scan_json(text)
        return
    try:
        taken = parse_json(text)
    except Refused:
        with pytest.raises(Refused):
            scan_json(text)
    else:
        assert same(taken, data)
        assert same(scan_json(text)[0], data)


@settings(deadline=None, max_examples=60)
@given(toml_texts(), st.booleans())
def test_every_toml_value_is_placed_and_what_stands_there_is_the_value(pair, crlf):
    text, data = pair
    if crlf:
        text = text.replace("\n", "\r\n")
    read = parse_toml(text)
    assert same(read, tomllib.loads(text))
    if not crlf:
        assert same(read, data)
    places = scan_toml(text)
    for path, value in paths_of(read):
        assert path in places.values, path
        place = places.find(path)
        shown = text_at(text, place)
        if isinstance(value, bool | int | float | date | time | datetime) or (
            isinstance(value, str) and not shown.startswith(('"""', "'''"))
        ):
            assert same(tomllib.loads(f"x = {shown}")["x"], value)
        if path and isinstance(path[-1], str):
            key = text_at(text, places.find(path, of_key=True))
            assert list(tomllib.loads(f"{key} = 0")) == [path[-1]]
    found = {path for path, _ in paths_of(read)}
    assert set(places.values) <= found
    assert set(places.keys) <= found


class Quoting(yaml.SafeDumper):
    """Quotes every text: which plain ones are numbers differs between YAML 1.1 and 1.2."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(texts, json_values, max_size=5) | st.lists(json_values, max_size=5),
    st.sampled_from([True, False, None]),
    st.booleans(),
    st.sampled_from([20, 1000]),
)
def test_every_yaml_value_is_read_and_placed(data, flow, unicode, width):
    assume(all(not isinstance(v, float) or math.isfinite(v) for _, v in paths_of(data)))
    text = yaml.dump(data, Dumper=Quoting, default_flow_style=flow, allow_unicode=unicode, width=width, sort_keys=False)
    try:
        read, places = parse_yaml(text)
    except Refused:
        # Characters that PyYAML writes but does not read back are its own affair.
        with pytest.raises(yaml.YAMLError):
            yaml.safe_load(text)
        return
    assert same(read, data)
    for path, value in paths_of(read):
        assert path in places.values
        if isinstance(value, bool | int | float):
            assert same(parse_yaml(text_at(text, places.find(path)))[0], value)


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["a.json", "a.toml", "a.yaml", "a.yml"]))
@example(b"\xef\xbb\xbf{}", "a.json")
@example(b"a: &a [*a]", "a.yaml")
@example(b"--- 1\n--- 2\n", "a.yaml")
@example(b"? [a]\n: 1", "a.yaml")
@example(b"a: !!python/object:os.system 1", "a.yaml")
@example(b"x = nan", "a.toml")
@example(b"x = 1979-02-30", "a.toml")
@example(b"[[a]]\n[a]\n", "a.toml")
def test_any_bytes_give_a_document_or_one_finding_with_a_place(data, name):
    report = Report()
    document = parse_document(data, name, report)
    assert (document is None) == (report.errors == 1)
    for finding in report:
        assert finding.span.line >= 1
        assert finding.span.column >= 1
        assert report.source_line(finding.span) is not None
    if document is not None:
        assert document.span(("no", 0, "such")).line >= 1


@st.composite
def damaged(draw):
    """Yield (name, bytes): a shipped manifest with a few bytes changed."""
    file = draw(st.sampled_from(["shim-components.json", "shims.toml", "runtimeclasses.toml", "components.toml"]))
    data = bytearray((MANIFESTS / file).read_bytes())
    start = draw(st.integers(0, len(data) - 1))
    data = data[max(0, start - 300) : start + 300]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        piece = draw(
            st.sampled_from([b"", b'"', b"'", b'"""', b"[", b"]", b"{", b"}", b"=", b",", b"\\", b"\n", b"#", b".", b"\xff"])
        )
        data[at : at + draw(st.integers(0, 2))] = piece
    return file, bytes(data)


@settings(deadline=None, max_examples=150)
@given(damaged())
def test_a_damaged_manifest_gives_a_document_or_one_finding(pair):
    name, data = pair
    report = Report()
    document = parse_document(data, name, report)
    assert (document is None) == (report.errors == 1)
    if document is not None:
        assert document.span(("shims", "qemu")).line >= 1
