"""Configuration profiles: explicit, idempotent, and gone when taken back."""

from __future__ import annotations

import tomllib

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.node.config.model import NodeConfig
from kata_bundle.node.kata import kata_configuration
from kata_bundle.node.kata.profile import PROFILES, profile_edit
from kata_bundle.node.machine import Machine
from kata_bundle.node.profiles import ProfileAction, apply_profile, plan_profile
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.site import Site
from kata_bundle.node.userfiles import find_user_files
from tests.fixtures.payload import MemoryPayload, apply_overlay

AZURE = PROFILES["azure-clh"]
GO = "share/defaults/kata-containers/configuration-clh.toml"
RUST = "share/defaults/kata-containers/runtime-rs/configuration-clh-runtime-rs.toml"
BASE = """\
# words
[hypervisor.clh]
path = "/opt/kata/bin/cloud-hypervisor"
valid_hypervisor_paths = ["/opt/kata/bin/cloud-hypervisor"] # more words

[runtime]
static_sandbox_resource_mgmt = false
"""
PROGRAM = "/opt/kata/bin/cloud-hypervisor-glibc"


def test_a_file_is_edited_where_it_has_to_be_and_nowhere_else():
    after = profile_edit(AZURE, BASE.encode(), "/opt/kata", name="x").decode()
    expected = BASE.replace('path = "/opt/kata/bin/cloud-hypervisor"\n', f'path = "{PROGRAM}"\n')
    expected = expected.replace('cloud-hypervisor"] #', f'cloud-hypervisor", "{PROGRAM}"] #').replace("= false", "= true")
    assert after == expected


@pytest.mark.parametrize("text", [BASE, "[hypervisor.clh]\n", f'[hypervisor.clh]\nvalid_hypervisor_paths = ["{PROGRAM}"]\n'])
def test_applying_it_again_changes_nothing(text):
    once = profile_edit(AZURE, text.encode(), "/opt/kata", name="x")
    assert profile_edit(AZURE, once, "/opt/kata", name="x") == once
    table = tomllib.loads(once.decode())
    assert table["hypervisor"]["clh"]["path"] == PROGRAM
    assert table["hypervisor"]["clh"]["valid_hypervisor_paths"].count(PROGRAM) == 1
    assert table["runtime"]["static_sandbox_resource_mgmt"] is True


@pytest.mark.parametrize(
    "text",
    ["[hypervisor.qemu]\n", "hypervisor = 1\n", "[hypervisor]\nclh = 1\n", "[hypervisor.clh]\nvalid_hypervisor_paths = 1\n", "="],
)
def test_a_file_it_is_not_for_is_refused(text):
    with pytest.raises(HostError):
        profile_edit(AZURE, text.encode(), "/opt/kata", name="x")


def installed(tmp_path, suffix=None, shims=("clh", "clh-runtime-rs")):
    config = NodeConfig(machine="x86_64", shims=shims, suffix=suffix)
    payload = MemoryPayload({GO: BASE.encode(), RUST: BASE.encode(), "bin/cloud-hypervisor": b""}, config.dest)
    overlay = kata_configuration(payload, config, load_facts(), runtime="containerd").overlay
    apply_overlay(tmp_path / config.dest[1:], payload, overlay)
    return Machine(Site(str(tmp_path), config.dest))


def test_an_installed_tree_gets_a_drop_in_that_is_the_administrators(tmp_path):
    machine = installed(tmp_path, suffix="dev")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    changes = plan_profile(machine, AZURE)
    assert [(c.shim, c.action, c.is_drop_in) for c in changes] == [
        ("clh", ProfileAction.WRITE, True),
        ("clh-runtime-rs", ProfileAction.WRITE, True),
    ]
    apply_profile(machine, changes)
    assert {path: path.read_bytes() for path in before} == before
    found = find_user_files(str(tmp_path / "opt/kata-dev"), ())
    assert [path.rpartition("/")[2] for path in found] == ["60-profile-azure-clh.toml"] * 2
    drop_in = tomllib.loads((tmp_path / changes[0].path[1:]).read_text())
    assert drop_in == {
        "runtime": {"static_sandbox_resource_mgmt": True},
        "hypervisor": {
            "clh": {
                "valid_hypervisor_paths": ["/opt/kata-dev/bin/cloud-hypervisor", "/opt/kata-dev/bin/cloud-hypervisor-glibc"],
                "path": "/opt/kata-dev/bin/cloud-hypervisor-glibc",
            }
        },
    }
    assert {change.action for change in plan_profile(machine, AZURE)} == {ProfileAction.NONE}
    back = plan_profile(machine, AZURE, remove=True)
    assert {change.action for change in back} == {ProfileAction.REMOVE}
    apply_profile(machine, back)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert {change.action for change in plan_profile(machine, AZURE, remove=True)} == {ProfileAction.NONE}


def test_a_tree_without_directories_for_drop_ins_is_edited_in_place(tmp_path):
    place = tmp_path / "opt/kata" / GO
    place.parent.mkdir(parents=True)
    place.write_text(BASE)
    place.chmod(0o640)
    machine = Machine(Site(str(tmp_path), "/opt/kata"))
    (change,) = plan_profile(machine, AZURE)
    assert (change.action, change.is_drop_in) == (ProfileAction.WRITE, False)
    apply_profile(machine, (change,))
    assert PROGRAM in place.read_text()
    assert place.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in place.parent.iterdir()) == [place.name]
    assert plan_profile(machine, AZURE)[0].action is ProfileAction.NONE
    with pytest.raises(HostError, match="edited in place"):
        plan_profile(machine, AZURE, remove=True)


def test_an_install_without_the_shim_is_refused(tmp_path):
    with pytest.raises(HostError, match="clh or clh-runtime-rs"):
        plan_profile(Machine(Site(str(tmp_path), "/opt/kata")), AZURE)
