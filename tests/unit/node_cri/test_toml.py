"""TOML files of somebody else: what an edit looks like, and what is refused."""

from __future__ import annotations

import tomllib

import pytest

from kata_bundle.node import tomledit
from kata_bundle.node.tomledit import TomlFile, copy_keys, element_key, emptied_key, remove_keys, replaced_key, set_keys
from kata_bundle.node.tomltext import Reason, TomlError, parse_path, render_document, render_value


def edited(text, method, *arguments):
    file = TomlFile.parse(text)
    getattr(file, method)(*arguments)
    return file.render()


def refused(kind, function, *arguments, **more):
    with pytest.raises(TomlError) as caught:
        function(*arguments, **more)
    assert caught.value.kind is kind
    assert caught.value.exit_code == 9
    return str(caught.value)


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("a = 1 # one\nb = 2\n", "a", 3, "a = 3 # one\nb = 2\n"),
        ("[t]\n  a = 1\n\n# next\n[u]\n", "t.b", True, "[t]\n  a = 1\n  b = true\n\n# next\n[u]\n"),
        ("[t]\n[t.u]\na = 1\n", "t.b", 1, "[t]\nb = 1\n[t.u]\na = 1\n"),
        ("[t.u]\na = 1\n", "t.b", 1, "[t.u]\na = 1\n\n[t]\nb = 1\n"),
        ("t.a = 1\n[u]\n", "t.b", 1, "t.a = 1\nt.b = 1\n[u]\n"),
        ("[x]\nt.a = 1\n", "x.t.u.b", 1, "[x]\nt.a = 1\nt.u.b = 1\n"),
        ("t = {a = 1} # x\n", "t.b", "c", 't = { a = 1, b = "c" } # x\n'),
        ("# top\n\n# of t\n[t]\n", "version", 3, "# top\n\nversion = 3\n# of t\n[t]\n"),
        ("# only a comment", "a", 1, "# only a comment\na = 1\n"),
        ("", "a.b", 1, "[a]\nb = 1\n"),
        ("a = 1", "b", 2, "a = 1\nb = 2\n"),
        ("\r\n[t]\r\na = 1\r\n", "t.b", 1, "[t]\r\na = 1\r\nb = 1\r\n"),
        ("{{ x }}\n\n[t]\n", "t.a", 1, "{{ x }}\n[t]\na = 1\n"),
        ("{{ x }}", "a", 1, "{{ x }}\na = 1\n"),
        ("a = '''\n[not.a.table]\n'''\n", "b", 1, "a = '''\n[not.a.table]\n'''\nb = 1\n"),
        ('a = [1979-05-27 07:32:00, "]"] \n', "b", 1, 'a = [1979-05-27 07:32:00, "]"] \nb = 1\n'),
    ],
)
def test_setting_a_value(before, path, value, after):
    assert edited(before, "set", path, value) == after


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("a = 1 # one\nb = 2\n", "a", "b = 2\n"),
        ("[t]\na = 1\n\n[u]\nb = 1\n", "t", "\n[u]\nb = 1\n".lstrip("\n")),
        ("[u]\nb = 1\n\n[t]\na = 1\n", "t", "[u]\nb = 1\n"),
        ("[t]\na = 1\n# stays\n[u]\n", "t", "# stays\n[u]\n"),
        ("t.a = 1\nt.b = 2\n", "t.a", "t.b = 2\n"),
        ("t = {a = 1, b = 2}\n", "t.a", "t = { b = 2 }\n"),
        ("[[t]]\na = 1\n[[t]]\n[t.x]\n[u]\n", "t", "[u]\n"),
        ("[t]\nx.y = 1\n[t.z]\n", "t.x", "[t]\n[t.z]\n"),
    ],
)
def test_deleting(before, path, after):
    assert edited(before, "delete", path) == after
    assert edited(after, "delete", path) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = []\n", 'a = ["x"]\n'),
        ('a = ["b"]\n', 'a = ["b", "x"]\n'),
        ('a = ["b", ] # c\n', 'a = ["b", "x", ] # c\n'),
        ('a = [\n  "b" # c\n]\n', 'a = [\n  "b", # c\n  "x"\n]\n'),
        ('a = [\n  "b", # c\n  # end\n]\n', 'a = [\n  "b", # c\n  "x",\n  # end\n]\n'),
        ("a = [\n # none yet\n]\n", 'a = ["x"\n # none yet\n]\n'),
        ("", 'a = ["x"]\n'),
    ],
)
def test_appending_keeps_the_arrays_habits(before, after):
    assert edited(before, "append", "a", "x") == after
    assert edited(after, "append", "a", "x") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('a = ["x"]\n', "a = []\n"),
        ('a = ["x", "b"]\n', 'a = ["b"]\n'),
        ('a = ["b", "x"]\n', 'a = ["b"]\n'),
        ('a = ["b", "x",]\n', 'a = ["b",]\n'),
        ('a = ["x", "x", "b", "x"]\n', 'a = ["b"]\n'),
        ('a = [\n  "x", # ours\n  "b", # theirs\n]\n', 'a = [\n  "b", # theirs\n]\n'),
        ('a = [\n  "b", # theirs\n  "x" # ours\n]\n', 'a = [\n  "b", # theirs\n]\n'),
        ('a = ["b", # theirs\n "x"]\n', 'a = ["b", # theirs\n ]\n'),
        ('t = {a = ["x", "b"]}\n', 't = {a = ["x", "b"]}\n'),
    ],
)
def test_removing_an_element_keeps_the_others_and_their_comments(before, after):
    assert edited(before, "remove", "a", "x") == after


def test_an_array_inside_an_inline_table_is_spelled_anew():
    assert edited('t = {a = ["x", "b"], c = 1}\n', "remove", "t.a", "x") == 't = { a = ["b"], c = 1 }\n'
    assert edited("t = {a = []}\n", "append", "t.a", "x") == 't = { a = ["x"] }\n'


def test_reading():
    file = TomlFile.parse('a = 1\nb = 1.5\nc = true\nd = ["x"]\n[t]\ne = "f"\n')
    assert [file.get(key) for key in "abcd"] == [1, 1.5, True, ["x"]]
    assert file.get(("t", "e")) == "f"
    assert file.get_array("nowhere.x") == []
    assert file.contains("t")
    assert not file.contains("a.b")
    refused(Reason.PATH_NOT_FOUND, file.get, "t.x")
    refused(Reason.IS_A_TABLE, file.get, "t")
    refused(Reason.NOT_AN_ARRAY, file.get_array, "t")
    refused(Reason.NOT_AN_ARRAY, file.append, "a", "x")
    refused(Reason.NOT_AN_ARRAY, file.remove, "a", "x")


def test_what_stands_in_the_way_is_an_error_and_changes_nothing():
    file = TomlFile.parse("a = 1\n[t]\nb = 1\n")
    refused(Reason.NOT_A_TABLE, file.set, "a.b", 1)
    refused(Reason.IS_A_TABLE, file.set, "t", 1)
    refused(Reason.BAD_VALUE, file.set, "x", None)
    refused(Reason.BAD_VALUE, file.set, "x", "\ud800")
    assert file.render() == "a = 1\n[t]\nb = 1\n"


def test_files_that_cannot_be_used():
    assert "config.toml" in refused(Reason.UNREADABLE_FILE, TomlFile.parse, None, name="config.toml")
    assert "config.toml" in refused(Reason.INVALID_TOML, TomlFile.parse, "a = ", name="config.toml")
    refused(Reason.INVALID_TOML, TomlFile.parse, b"a = '\xff'")
    refused(Reason.INVALID_TOML, TomlFile.parse, "\ufeffa = 1")
    refused(Reason.INVALID_TOML, remove_keys, b"a", ["b"])


@pytest.mark.parametrize("wrong", ["a = 2\n", "a = 1\nb = '1'\n", "not toml"])
def test_an_edit_that_would_give_other_data_is_refused_and_nothing_is_taken(monkeypatch, wrong):
    file = TomlFile.parse("a = 1\n")
    monkeypatch.setattr(tomledit, "set_values", lambda *_, **__: wrong)
    assert "refused" in refused(Reason.REFUSED, file.set, "b", 1)
    assert file.render() == "a = 1\n"


def test_paths():
    assert parse_path('..a.."b.c".d') == ("a", "b.c", "d")
    assert parse_path(r'a."b\"c\\\n\u0007"') == ("a", 'b"c\\\n\x07')
    assert parse_path('""') == ("",)
    refused(Reason.EMPTY_PATH, parse_path, "")
    refused(Reason.EMPTY_PATH, parse_path, ())
    refused(Reason.EMPTY_PATH, parse_path, "a[0]")
    refused(Reason.UNBALANCED_QUOTES, parse_path, 'a."b')


def test_values():
    assert render_value(float("inf")) == "inf"
    assert render_value(float("-inf")) == "-inf"
    assert render_value({}) == "{}"
    refused(Reason.BAD_VALUE, render_value, {1, 2})
    refused(Reason.BAD_VALUE, replaced_key, "a", new=1, old=tomllib.loads("a = 2020-01-01")["a"])
    assert render_document({}) == ""
    assert render_document({"a": {"b": {}}, "c": [{"x": 1}, {}]}) == "[a.b]\n\n[[c]]\nx = 1\n\n[[c]]\n"


ADMIN = b'# theirs\nversion = 2\nimports = ["/a"]\n\n[debug]\n  level = "info" # quiet\n'


def test_owned_keys_undo_exactly_what_was_done():
    keys = [
        element_key("imports", "/ours"),
        replaced_key("debug.level", new="debug", old="info"),
        'plugins."x.y".runtimes.kata',
        "metrics.address",
        emptied_key("metrics"),
    ]
    ours = set_keys(
        ADMIN,
        {
            element_key("imports", "/ours"): "",
            "debug.level": "debug",
            'plugins."x.y".runtimes.kata.path': "/opt",
            "metrics.address": "",
        },
    )
    assert remove_keys(ours, keys) == ADMIN
    theirs = ours.replace(b"[metrics]\n", b"[metrics]\ngrpc = true\n").replace(b'"debug" # quiet', b'"trace" # quiet')
    assert tomllib.loads(remove_keys(theirs, keys).decode()) == {
        "version": 2,
        "imports": ["/a"],
        "debug": {"level": "trace"},
        "metrics": {"grpc": True},
    }
    assert remove_keys(ADMIN, keys) == ADMIN


def test_an_array_that_only_held_ours_goes_with_it():
    assert remove_keys(b'version = 3\nimports = ["/ours"]\n', [element_key("imports", "/ours")]) == b"version = 3\n"
    assert remove_keys(b"version = 3\nimports = []\n", [element_key("imports", "/ours")]) == b"version = 3\nimports = []\n"


def test_a_rollback_puts_the_older_installs_keys_into_the_edited_file():
    older = set_keys(ADMIN, {element_key("imports", "/ours"): "", "plugins.kata.path": "/old", "plugins.kata.n": 1})
    edited_since = ADMIN.replace(b"version = 2", b"version = 2\noom_score = 1")
    found = copy_keys(
        edited_since, older, [element_key("imports", "/ours"), "plugins.kata", "absent.key", emptied_key("plugins")]
    )
    assert tomllib.loads(found.decode()) == {**tomllib.loads(older.decode()), "oom_score": 1}
    assert found.startswith(b"# theirs\n")
