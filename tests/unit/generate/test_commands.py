"""generate on the command line: print, write, check. Golden files are written anew with ACCEPT=1."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import yaml

from tests.fixtures.cli import call_cli

from .conftest import GOLDEN, ROOT


@pytest.fixture(autouse=True)
def read_the_catalog_once(catalog, monkeypatch, request):
    if "own_manifests" not in request.fixturenames:
        monkeypatch.setattr("kata_bundle.cli.app.App.catalog", lambda _app: catalog)


@pytest.fixture
def own_manifests(tmp_path):
    folder = tmp_path / "manifests"
    shutil.copytree(ROOT / "manifests", folder)
    return folder


def generate(*argv):
    return call_cli("generate", *argv)


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("runtimeclasses.yaml", ("runtimeclasses",)),
        (
            "runtimeclasses-everything.yaml",
            ("runtimeclasses", "--shim", "qemu-snp,qemu-runtime-rs,qemu-nvidia-gpu-tdx", "--discovery",
             "--debug", "--devkit", "--default-class", "--kata-version", "4.1.0"),
        ),
        (
            "runtimeclasses-suffix.yaml",
            ("runtimeclasses", "--shim", "default", "--arch", "ppc64le", "--suffix", "blue", "--debug"),
        ),
        ("default-shims.json", ("default-shims",)),
        ("default-shims.env", ("default-shims", "--format", "variables")),
        ("release-lists.json", ("release-lists",)),
        ("kata-static-s390x.txt", ("release-lists", "--bundle", "kata-static", "--arch", "s390x")),
        ("chart-values.yaml", ("chart-values",)),
        ("values.schema.json", ("chart-schema",)),
    ],
)  # fmt: skip
def test_what_is_printed_is_what_was_accepted(name, argv):
    text = generate(*argv).ok()
    file = GOLDEN / name
    if os.environ.get("ACCEPT"):
        file.write_text(text)
    assert text == file.read_text(), f"ACCEPT=1 writes {name} anew"
    assert generate(*argv, "--check", "-o", str(file)).code == 0


def test_a_document_written_is_the_one_printed_and_checks(tmp_path):
    target = tmp_path / "deep" / "values.yaml"
    printed = generate("chart-values").ok()
    written = generate("chart-values", "-o", str(target))
    assert (written.code, written.stdout) == (0, "")
    assert f"wrote {target}" in written.stderr
    assert target.read_text() == printed
    assert generate("chart-values", "-o", str(target)).stderr == "nothing to write: all is current\n"
    assert generate("chart-values", "-o", str(target), "--check", "--quiet").stderr == ""


def test_drift_ends_with_12_and_names_file_and_line_and_writes_nothing(tmp_path):
    target = tmp_path / "values.yaml"
    generate("chart-values", "-o", str(target)).ok()
    text = target.read_text().replace("nydus", "overlayfs", 1)
    target.write_text(text)
    line = 1 + text[: text.index("overlayfs")].count("\n")
    checked = generate("chart-values", "-o", str(target), "--check")
    assert checked.code == 12
    assert f"{target} differs from line {line} on" in checked.stderr
    assert target.read_text() == text
    document = json.loads(generate("chart-values", "-o", str(target), "--check", "--json").stdout)
    assert document["files"] == [{"path": str(target), "state": "changed", "line": line}]


def test_a_missing_file_is_drift(tmp_path):
    checked = generate("node-facts", "--check", "-o", str(tmp_path / "facts.json"))
    assert checked.code == 12
    assert "is missing" in checked.stderr


def test_a_dry_run_writes_nothing(tmp_path):
    done = generate("shim-docs", "-o", str(tmp_path / "docs"), "--dry-run")
    assert done.code == 0
    assert "would write" in done.stderr
    assert not (tmp_path / "docs").exists()


def test_pages_of_shims_that_are_gone_are_removed_and_strangers_stay(tmp_path):
    generate("shim-docs", "-o", str(tmp_path)).ok()
    (tmp_path / "gone.md").write_text((tmp_path / "qemu.md").read_text())
    (tmp_path / "notes.md").write_text("mine\n")
    checked = generate("shim-docs", "-o", str(tmp_path), "--check")
    assert checked.code == 12
    assert "gone.md is no longer made" in checked.stderr
    assert "notes.md" not in checked.stderr
    assert f"removed {tmp_path}/gone.md" in generate("shim-docs", "-o", str(tmp_path)).stderr
    assert (tmp_path / "notes.md").exists()
    assert generate("shim-docs", "-o", str(tmp_path), "--check").code == 0


def test_all_checks_every_home_below_the_root(tmp_path, monkeypatch):
    assert generate("all", "--root", str(ROOT), "--check").code == 0
    checked = generate("all", "--root", str(tmp_path), "--check", "--json")
    assert checked.code == 12
    assert {entry["state"] for entry in json.loads(checked.stdout)["files"]} == {"missing"}
    monkeypatch.chdir(tmp_path)
    assert generate("all").code == 0
    assert generate("all", "--check").code == 0
    assert (tmp_path / "kata_bundle/node/facts.json").read_bytes() == (ROOT / "kata_bundle/node/facts.json").read_bytes()


def test_a_change_of_the_manifests_shows_in_every_document_that_follows_from_it(own_manifests, tmp_path):
    classes = own_manifests / "runtimeclasses.toml"
    remote = '[classes.remote]\noverhead = { memory = "120Mi"'
    assert remote in classes.read_text()
    classes.write_text(classes.read_text().replace(remote, remote.replace("120Mi", "140Mi")))
    checked = generate("all", "--root", str(ROOT), "--check", "--manifests", str(own_manifests))
    assert checked.code == 12
    assert "facts.json" in checked.stderr
    assert "remote.md" in checked.stderr
    assert "qemu.md" not in checked.stderr
    (remote_class,) = yaml.safe_load_all(generate("runtimeclasses", "--shim", "remote", "--manifests", str(own_manifests)).ok())
    assert remote_class["overhead"]["podFixed"]["memory"] == "140Mi"


def test_the_component_map_printed_keeps_the_layout_of_the_manifest(own_manifests):
    path = own_manifests / "shim-components.json"
    path.write_text(path.read_text().replace('"x86_64": ["shim-v2-go"', '"x86_64":      ["shim-v2-go"', 1))
    assert generate("shim-components", "--manifests", str(own_manifests)).ok() == path.read_text()


def test_the_component_map_of_another_checkout_changes_only_where_it_differs(tmp_path):
    theirs = (ROOT / "manifests" / "shim-components.json").read_text()
    target = tmp_path / "shim-components.json"
    head = '"fc": {\n      "x86_64":  ["shim-v2-go",'
    assert f'{head} "firecracker",' in theirs
    target.write_text(theirs.replace(f'{head} "firecracker",', head))
    assert generate("shim-components", "-o", str(target), "--check").code == 12
    generate("shim-components", "-o", str(target)).ok()
    assert target.read_text() == theirs


@pytest.mark.parametrize(
    ("argv", "words", "hint"),
    [
        (("runtimeclasses", "--check"), "nothing to compare with", "name the file with -o"),
        (("shim-docs",), "several files are made", "-o docs/shims"),
        (("release-lists", "--bundle", "kata-static"), "belong together", ""),
        (("release-lists", "--bundle", "kata", "--arch", "x86_64"), 'no release bundle "kata"', "kata-static"),
        (("runtimeclasses", "--suffix", "A"), "install suffix 'A'", ""),
        (("runtimeclasses", "--devkit"), "only beside debug", "add --debug"),
        (("runtimeclasses", "--shim", "qemuu"), 'no RuntimeClass is made for "qemuu"', "did you mean"),
        (("runtimeclasses", "--arch", "vax"), 'unknown architecture "vax"', ""),
        (("everything",), 'no such command "everything"', ""),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_to_do(argv, words, hint):
    done = generate(*argv)
    assert (done.code, done.stdout) == (2, "")
    assert words in done.stderr
    assert hint in done.stderr


def test_a_component_map_that_cannot_be_read_is_not_overwritten(tmp_path):
    target = tmp_path / "shim-components.json"
    target.write_text("{ not json")
    done = generate("shim-components", "-o", str(target))
    assert done.code == 7
    assert target.read_text() == "{ not json"


def test_json_holds_the_text_of_a_printed_document():
    assert json.loads(generate("default-shims", "--json").ok())["text"] == generate("default-shims").ok()
