"""check, schema, show and list: what they print, where, and how they end. Golden files are written anew with ACCEPT=1."""

import json
import os
from pathlib import Path

import pytest

from kata_bundle.cli import main

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest"


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def golden(name, text):
    file = GOLDEN / name
    if os.environ.get("ACCEPT"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"ACCEPT=1 writes {file.name} anew"


def damage(folder):
    folder.edit("shim-components.json", '"kernel-debug", "rootfs-image-mariner"', '"kernel-dbug", "rootfs-image-mariner"')
    folder.edit("shims.toml", "[shims.fc]\nfamily", "[shims.fc]\nfamly")
    folder.edit("runtimeclasses.toml", '"320Mi"', '"320MB"')
    folder.edit("arches/ppc64le.toml", '    "qemu",\n', '\t"qemü", "😀", "qemü",\n')
    folder.edit("components.toml", "[lists]", "[lists]\nspare = []")


def test_check_of_the_shipped_manifests_is_clean_and_silent_on_standard_output(run):
    assert run("check") == (0, "", "10 documents, 28 shims, 42 components, 43 cells: no findings, 64 accepted\n")
    assert run("check", "--quiet") == (0, "", "")


def test_check_shows_every_finding_with_its_line_and_ends_with_3(run, folder, monkeypatch):
    damage(folder)
    monkeypatch.chdir(folder.path.parent)
    code, out, err = run("check", "--manifests", "manifests")
    assert code == 3
    golden("check.txt", out)
    assert err.startswith("error: the manifests have 7 errors and 1 warning\nhint: kata-bundle check --explain CODE")


def test_check_gives_the_same_findings_as_json(run, folder, monkeypatch):
    damage(folder)
    monkeypatch.chdir(folder.path.parent)
    code, out, _ = run("check", "--manifests", "manifests", "--format", "json")
    assert code == 3
    document = json.loads(out)
    golden("check.json", out)
    assert (document["errors"], document["warnings"]) == (7, 1)
    assert {"code", "severity", "message", "path", "line", "column"} <= set(document["findings"][0])
    assert run("check", "--manifests", "manifests", "--json")[1] == out


def test_warnings_alone_are_shown_and_end_with_0(run, folder):
    folder.edit("components.toml", "[lists]", "[lists]\nspare = []")
    code, out, err = run("check", "--manifests", str(folder.path))
    assert code == 0
    assert 'warning[KB206]: lists.spare: list "spare" is defined and never used' in out
    assert err.endswith("1 warning, 64 accepted\n")


def test_control_characters_of_a_document_do_not_reach_the_terminal(run, folder):
    folder.edit("ignores.toml", "version = 1", "version = 1\nx = '\t\x1b[31m'".replace("\x1b", "\\u001b").replace("'", '"'))
    (folder.path / "shims.toml").write_bytes(b"a = '\x1b[31m'\n")
    code, out, _ = run("check", "--manifests", str(folder.path))
    assert code == 3
    assert "\x1b" not in out


@pytest.mark.parametrize("code", ["KB204", "kb211"])
def test_a_code_is_explained(run, code):
    status, out, _ = run("check", "--explain", code)
    assert status == 0
    golden(f"explain-{code.upper()}.txt", out)
    status, out, _ = run("check", "--explain", code, "--json")
    assert json.loads(out)["code"] == code.upper()


def test_an_unknown_code_is_a_usage_error_with_a_hint(run):
    status, out, err = run("check", "--explain", "KB20")
    assert (status, out) == (2, "")
    assert 'no finding has the code "KB20"' in err
    assert "did you mean" in err


def test_list_shows_shims_components_and_architectures(run):
    for what, count in (("shims", 28), ("components", 42), ("arches", 4)):
        status, out, _ = run("list", what)
        assert status == 0
        assert len(out.splitlines()) == count + 2
        golden(f"list-{what}.txt", out)
        status, out, _ = run("list", what, "--json")
        assert len(json.loads(out)) == count


def test_list_takes_nothing_else(run):
    assert run("list", "shim")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [("qemu",), ("firecracker",), ("rootfs-image",), ("clh-runtime-rs",), ("qemu", "--kind", "component")],
    ids="-".join,
)
def test_show_shows_every_fact(run, arguments):
    status, out, _ = run("show", *arguments)
    assert status == 0
    golden(f"show-{'-'.join(a.strip('-') for a in arguments)}.txt", out)


def test_show_as_json_has_the_same_facts(run):
    status, out, _ = run("show", "qemu", "--json")
    document = json.loads(out)
    assert status == 0
    assert set(document) == {"shim", "component"}
    assert document["shim"]["components"]["ppc64le"] == ["shim-v2-go", "qemu", "virtiofsd", "kernel", "rootfs-initrd"]
    assert document["component"]["tarball"] == "kata-static-qemu.tar.zst"
    assert set(json.loads(run("show", "qemu", "--kind", "shim", "--json")[1])) == {"shim"}


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("qemuu",), '"qemuu" is no shim', 'did you mean "qemu"?'),
        (("fc", "--kind", "component"), '"fc" is no component', "kata-bundle list shows the known names"),
        (("zzzzzz",), "is no shim", "kata-bundle list shows the known names"),
    ],
)
def test_show_of_an_unknown_name_is_a_usage_error(run, arguments, message, hint):
    status, out, err = run("show", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert hint in err


def test_commands_that_need_a_catalog_show_the_findings_when_there_is_none(run, folder):
    folder.edit("shims.toml", "gpu = true", "gpu = 1")
    status, out, err = run("list", "shims", "--manifests", str(folder.path))
    assert (status, out) == (3, "")
    assert "error[KB112]" in err
    assert "  281 | gpu = 1\n" in err


def test_schema_lists_prints_writes_and_checks(run, tmp_path):
    names = run("schema")[1].split()
    assert "shims" in names
    assert json.loads(run("schema", "--json")[1]) == names
    status, out, _ = run("schema", "shims")
    assert json.loads(out)["$id"] == "urn:kata-bundle:schema:shims:1"
    status, out, err = run("schema", "--check", "--folder", str(tmp_path))
    assert (status, out) == (3, "")
    assert "kata-bundle schema --write" in err
    status, out, err = run("schema", "--write", "--folder", str(tmp_path))
    assert (status, len(out.splitlines())) == (0, len(names))
    assert run("schema", "--write", "--folder", str(tmp_path))[2] == "all schemas are current\n"
    assert run("schema", "--check", "--folder", str(tmp_path)) == (0, "", "all schemas are current\n")
    assert run("schema", "--check")[0] == 0


def test_schema_refuses_unknown_names_and_contradicting_options(run):
    status, _, err = run("schema", "shim")
    assert status == 2
    assert "did you mean" in err
    assert run("schema", "shims", "--check")[0] == 2
    assert run("schema", "--write", "--check")[0] == 2
