"""YAML that every reader reads the same."""

from __future__ import annotations

import pytest
import yaml

from kata_bundle.generate.yamltext import render_yaml, render_yaml_documents


def test_block_style_in_the_order_given():
    value = {"b": {"c": [1, "x", {"d": None, "e": [True, False]}], "f": {}, "g": []}, "a": "text"}
    assert render_yaml(value) == (
        "b:\n  c:\n    - 1\n    - x\n    - d: null\n      e:\n        - true\n        - false\n  f: {}\n  g: []\na: text\n"
    )
    assert yaml.safe_load(render_yaml(value)) == value


@pytest.mark.parametrize(
    "text",
    ["yes", "No", "on", "OFF", "y", "N", "true", "null", "~", "", "1.0", "250m", "0x1F", "1_000", "12:30:45", "2026-08-22",
     ".5", "=", "<<", "- a", "a: b", "a #b", "a\nb", "tab\t", 'quote"', "back\\slash", "é", "\u2028", "😀", "\x07", "@x", "*x",
     "&x", "!x", "%x", "{x}", "[x]", "|", ">", "'", "? x", ": ", "#", " x", "x ", "-", "---", "..."],
)  # fmt: skip
def test_a_text_stays_a_text_as_key_and_as_value(text):
    assert yaml.safe_load(render_yaml({"k": text, text or "e": "v"})) == {"k": text, text or "e": "v"}
    assert render_yaml({"k": text}).isascii()


def test_ordinary_words_are_not_quoted():
    assert render_yaml({"katacontainers.io/kata-runtime": "kata-qemu"}) == "katacontainers.io/kata-runtime: kata-qemu\n"


def test_nested_lists_are_nested():
    value = {"a": [[1, [2, 3]], [], {"b": ["c"]}]}
    assert yaml.safe_load(render_yaml(value)) == value


def test_documents_are_separated_and_comments_come_first():
    text = render_yaml_documents([{"a": 1}, {"b": 2}], comment=["one", "", "two"])
    assert text == "# one\n#\n# two\n---\na: 1\n---\nb: 2\n"
    assert list(yaml.safe_load_all(text)) == [{"a": 1}, {"b": 2}]
    assert render_yaml({"a": 1}, comment=["x"]) == "# x\na: 1\n"
    assert render_yaml_documents([]) == ""


@pytest.mark.parametrize("value", [{"a": 1.5}, {"a": {1, 2}}, {"a": object()}, {1: "a"}, {"a": b"x"}])
def test_what_has_no_one_spelling_is_refused(value):
    with pytest.raises(TypeError, match="cannot be written as YAML"):
        render_yaml(value)
