"""``kata-bundle node config`` and ``kata-bundle node profile`` as people run them."""

from __future__ import annotations

import json

import pytest

from kata_bundle.cli.root import run

CLEAR = ("NODE_NAME", "DEBUG", "SHIMS_X86_64", "AGENT_HTTPS_PROXY")


@pytest.fixture
def environment(monkeypatch):
    for name in CLEAR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NODE_NAME", "n1")
    monkeypatch.setenv("SHIMS_X86_64", "qemu fc")
    monkeypatch.setenv("AGENT_HTTPS_PROXY", "http://user:hunter2@proxy:3128")
    return monkeypatch


def config(*options):
    return run(["node", "config", "--arch", "x86_64", *options])


def test_the_table_names_values_and_origins_but_no_password(environment, capsys):
    assert config() == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "SHIMS_X86_64" in lines["shims"]
    assert lines["shims"].endswith("qemu fc")
    assert "http://***@proxy:3128" in lines["agent_https_proxy"]
    assert "hunter2" not in out


def test_json_has_everything_and_no_password(environment, capsys):
    assert config("--json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["config"]["shims"] == {"value": ["qemu", "fc"], "origin": {"kind": "variable", "name": "SHIMS_X86_64"}}
    assert document["config"]["default_shim"]["value"] == "qemu"
    assert "hunter2" not in out + err


def test_warnings_go_to_standard_error(environment, capsys):
    environment.setenv("SHIMS_X86_64", "qemu test1")
    assert config() == 0
    out, err = capsys.readouterr()
    assert "warning:" in err
    assert "warning:" not in out
    assert config("--quiet") == 0
    assert capsys.readouterr().err == ""


def test_everything_wrong_is_one_error_with_exit_code_2(environment, capsys):
    environment.setenv("NODE_NAME", " ")
    environment.setenv("SHIMS_X86_64", "../x")
    assert config() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "the configuration has 2 problems" in err
    assert "NODE_NAME" in err
    assert "SHIMS_X86_64" in err


def test_a_file_is_read_instead_of_the_environment(environment, tmp_path, capsys):
    spec = tmp_path / "node.toml"
    spec.write_text('version = 1\nshims = ["clh"]\n')
    assert config("--spec", str(spec), "--json") == 0
    document = json.loads(capsys.readouterr().out)["config"]
    assert document["shims"]["value"] == ["clh"]
    assert document["node_name"]["value"] is None
    spec.write_text("version = 1\nshim = []\n")
    assert config("--spec", str(spec)) == 2
    assert f"{spec}: shim" in capsys.readouterr().err


def test_mounted_files_are_looked_for_below_the_root(environment, tmp_path, capsys):
    (tmp_path / "custom-configs").mkdir()
    (tmp_path / "custom-configs/custom-runtimes.list").write_text("mine:qemu\n")
    environment.setenv("CUSTOM_RUNTIMES_ENABLED", "true")
    assert config("--root", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out)["config"]["handlers"]["value"] == ["kata-qemu", "kata-fc", "mine"]


def test_the_schema_is_printed(capsys):
    assert run(["node", "config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "urn:kata-bundle:schema:node-spec:1"


def profile(tmp_path, *options):
    return run(["node", "profile", *options, "--root", str(tmp_path)])


@pytest.fixture
def tree(tmp_path):
    place = tmp_path / "opt/kata/share/defaults/kata-containers/configuration-clh.toml"
    (place.parent / "config.d").mkdir(parents=True)
    place.write_text("[hypervisor.clh]\n")
    return tmp_path


def test_profiles_are_listed(tmp_path, capsys):
    assert profile(tmp_path) == 0
    assert "azure-clh" in capsys.readouterr().out


def test_a_profile_is_written_once_and_taken_back(tree, capsys):
    drop_in = tree / "opt/kata/share/defaults/kata-containers/config.d/60-profile-azure-clh.toml"
    assert profile(tree, "azure-clh", "--dry-run") == 0
    assert "would write" in capsys.readouterr().out
    assert not drop_in.exists()
    assert profile(tree, "azure-clh") == 0
    assert drop_in.exists()
    assert profile(tree, "azure-clh", "--json") == 0
    assert '"action": "none"' in capsys.readouterr().out
    assert profile(tree, "azure-clh", "--remove") == 0
    assert not drop_in.exists()


def test_an_unknown_profile_gets_a_suggestion(tree, capsys):
    assert profile(tree, "azure-chl") == 2
    assert 'did you mean "azure-clh"?' in capsys.readouterr().err


def test_a_tree_without_the_shim_is_a_host_error(tmp_path, capsys):
    assert profile(tmp_path, "azure-clh") == 9
    assert "has no configuration" in capsys.readouterr().err
