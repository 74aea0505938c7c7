"""``--profile``: which recipes commands use, and what they say of it."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.cli import call_cli

RULE = """
version = 1

[[recipes]]
kind = "fixture"
arches = ["x86_64"]
notes = "A stand-in."

[[recipes]]
kind = "script"
profile = "upstream"
arches = ["x86_64"]
notes = "A script."
toolchain = "image-tools"
version = "1"
steps = [["true"]]
"""


@pytest.fixture
def rules(tmp_path):
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "kernel.toml").write_text(RULE)
    return folder


def listed(rules, *words):
    return json.loads(call_cli("build", "--list", "--json", "--rules", rules, "kernel", *words).ok())


def test_a_profile_decides_which_recipe_is_used(rules):
    assert listed(rules, "--profile", "upstream")["components"]["kernel"]["x86_64"]["kind"] == "script"
    plain = listed(rules, "--profile", "packages")
    assert (plain["profile"], plain["components"]["kernel"]["x86_64"]["kind"]) == ("packages", "fixture")
    profiles = plain["components"]["kernel"]["x86_64"]["profiles"]
    assert profiles == {"packages": "fixture", "upstream": "script"}


def test_the_environment_chooses_and_the_option_wins(rules, monkeypatch):
    monkeypatch.setenv("KATA_BUNDLE_PROFILE", "upstream")
    assert listed(rules)["profile"] == "upstream"
    assert listed(rules, "--profile", "source")["profile"] == "source"
    monkeypatch.delenv("KATA_BUNDLE_PROFILE")
    assert listed(rules)["profile"] == "source"


def test_a_wrong_name_is_answered_with_the_nearest():
    result = call_cli("build", "--list", "--profile", "upsteam")
    assert result.code == 2
    assert 'unknown profile "upsteam"' in result.stderr
    assert 'did you mean "upstream"?' in result.stderr


def test_the_list_shows_what_other_profiles_have(rules):
    (line,) = (
        line
        for line in call_cli("build", "--list", "--rules", rules, "kernel", "--profile", "packages").ok().splitlines()
        if line.startswith("kernel")
    )
    assert "FIXTURE, upstream: script" in line


def test_a_lock_states_its_profile_and_is_enforced_for_it_alone(tmp_path):
    lock = tmp_path / "kata-bundle.lock"
    words = ("bundle", "--shim", "qemu", "--arch", "s390x", "-o", tmp_path / "out", "--lock", lock, "--store", tmp_path / "store")
    call_cli(*words, "--profile", "packages", "-q").ok()
    assert json.loads(lock.read_text())["profile"] == "packages"
    call_cli(*words, "--profile", "packages", "--locked", "--dry-run").ok()
    result = call_cli(*words, "--profile", "source", "--locked", "--dry-run")
    assert result.code == 4
    assert 'lock of profile "packages", this run uses "source"' in result.stderr
    old = {key: value for key, value in json.loads(lock.read_text()).items() if key != "profile"}
    lock.write_text(json.dumps({**old, "version": 1}))
    call_cli(*words, "--profile", "packages", "--locked", "--dry-run").ok()
