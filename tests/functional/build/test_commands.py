"""The commands that make, import and pin, as processes of their own and without network."""

from __future__ import annotations

import json
import shutil

import pytest
import zstandard

from kata_bundle.core.resources import shipped
from tests.fixtures.cli import run_cli
from tests.fixtures.debs import program, tar_of


@pytest.fixture
def cli(tmp_path):
    """The command line on an empty store: whatever needs the mirror would show."""

    def call(*argv, **settings):
        return run_cli(*argv, store=tmp_path / "store", cwd=tmp_path, **settings)

    return call


def test_stand_ins_are_made_once_and_say_what_they_are(cli):
    first = cli("build", "nydus", "rootfs-image-confidential", "--arch", "x86_64,aarch64").ok()
    assert "4 components: 4 made, 0 up to date" in first
    assert "FIXTURES, not for production: nydus, rootfs-image-confidential" in first
    second = cli("build", "nydus", "rootfs-image-confidential", "--arch", "x86_64,aarch64")
    assert "4 components: all up to date, nothing was made" in second.ok()
    assert second.stderr == ""


def test_all_of_an_architecture_without_packages_can_be_made(cli):
    document = json.loads(cli("build", "--arch", "ppc64le", "--json", "--quiet").ok())
    assert [c["component"] for c in document["components"]] == [
        "kernel", "qemu", "rootfs-initrd", "shim-v2-go", "shim-v2-rust", "virtiofsd",
    ]  # fmt: skip
    assert {c["real"] for c in document["components"]} == {False}


def test_trees_do_not_depend_on_the_surroundings(tmp_path):
    surroundings = [
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "umask": 0o022},
        {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "umask": 0o077, "SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7"},
    ]
    results = []
    for number, settings in enumerate(surroundings):
        done = run_cli("build", "--arch", "s390x", "--json", "-j", str(number + 1), store=tmp_path / str(number), **settings)
        results.append([(c["component"], c["tree"], c["rule_key"]) for c in json.loads(done.ok())["components"]])
    assert results[0] == results[1]


def test_a_trial_makes_nothing(cli, tmp_path):
    assert "would make 1 component; nothing was changed" in cli("build", "nydus", "--arch", "x86_64", "--dry-run").ok()
    assert not (tmp_path / "store").exists()


def test_the_list_tells_real_from_fixture(cli):
    text = cli("build", "--list").ok()
    rows = {line.split()[0]: line for line in text.splitlines()[2:] if line.strip()}
    assert rows["kernel"].split() == ["kernel", "real", "(deb)", "real", "(deb)", "FIXTURE", "FIXTURE"]
    assert rows["nydus"].split() == ["nydus", "FIXTURE", "FIXTURE", "-", "-"]
    document = json.loads(cli("build", "--list", "--json", "virtiofsd").ok())
    assert document["components"]["virtiofsd"]["x86_64"]["kind"] == "deb"
    assert "shared libraries" in document["components"]["virtiofsd"]["x86_64"]["notes"]


def test_wrong_names_are_said_at_once(cli):
    done = cli("build", "kernl", "ovmf", "--arch", "s390x")
    assert done.code == 2
    assert 'component "kernl" has no build rule; component "ovmf" has no rule for s390x' in done.stderr
    assert 'did you mean "kernel"?' in done.stderr


def test_a_broken_rule_stops_with_findings(cli, tmp_path):
    shutil.copytree(shipped("buildrules"), tmp_path / "rules")
    (tmp_path / "rules" / "nydus.toml").write_text("version = 1\nrecipes = []\n")
    done = cli("build", "--rules", "rules")
    assert done.code == 3
    assert "nydus.toml:2:11: recipes: " in done.stderr


def test_a_package_without_pin_stops_with_the_command_that_pins_it(cli, tmp_path):
    shutil.copytree(shipped("buildrules"), tmp_path / "rules")
    (tmp_path / "rules" / "debian.lock.toml").unlink()
    done = cli("build", "virtiofsd", "--arch", "x86_64", "--rules", "rules")
    assert done.code == 4
    assert "kata-bundle lock debian --refresh-missing" in done.stderr


def test_tarballs_are_imported_unchanged_or_not_at_all(cli, tmp_path):
    (tmp_path / "in").mkdir()
    data = zstandard.ZstdCompressor().compress(tar_of([program("./opt/kata/libexec/nydusd", b"daemon")]))
    (tmp_path / "in" / "kata-static-nydus.tar.zst").write_bytes(data)
    assert "1 would be imported; nothing was changed" in cli("import", "in", "--arch", "arm64", "--dry-run").ok()
    assert "1 tarball: 1 imported" in cli("import", "in", "--arch", "arm64").ok()
    assert "all up to date, nothing was imported" in cli("import", "in", "--arch", "aarch64").ok()
    (layer,) = json.loads(cli("import", "in", "--arch", "aarch64", "--json").ok())["layers"]
    assert (layer["component"], layer["arch"], layer["origin"], layer["recipe"]) == ("nydus", "aarch64", "foreign", None)
    (tmp_path / "in" / "kata-static-nydu.tar.zst").write_bytes(data[:-3])
    (tmp_path / "in" / "kata-static-qemu.tar.zst").write_bytes(data[:-3])
    done = cli("import", "in", "--arch", "aarch64")
    assert done.code == 7
    assert "kata-static-nydu.tar.zst: there is no component 'nydu'; did you mean \"nydus\"?" in done.stderr
    assert "kata-static-qemu.tar.zst" in done.stderr


def test_the_architecture_of_an_import_has_to_be_said(cli, tmp_path):
    (tmp_path / "in").mkdir()
    assert cli("import", "in").code == 2
    assert cli("import", "in", "--arch", "sparc").code == 2


def test_a_bundle_is_shown_with_what_it_holds(cli, tmp_path):
    made = json.loads(cli("bundle", "--shim", "remote", "--arch", "ppc64le,s390x", "-o", "out", "--json").ok())
    shown = cli("show", "out").ok()
    assert f"bundle {made['digest']} in out\n" in shown
    assert "ppc64le: remote; enabled by default: remote; default shim: none\n" in shown
    assert "shim-v2-go  s390x " in shown
    assert "FIXTURE" in shown
    document = json.loads(cli("show", "./out", "--json").ok())["bundle"]
    assert document["digest"] == made["digest"]
    assert set(document["arches"]) == {"ppc64le", "s390x"}
    # A shim of that name comes first, unless the folder is named as one.
    (tmp_path / "out").rename(tmp_path / "remote")
    assert "hypervisor" in cli("show", "remote").ok()
    for argv in (["./remote"], ["remote", "--kind", "bundle"]):
        assert made["digest"] in cli("show", *argv).ok()
    assert cli("show", ".").code == 7
    assert cli("show", "nowhere").code == 2
