"""From manifests to an installed tree, as a user does it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kata_bundle.archive.readtree import read_tree
from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import ComponentMap
from kata_bundle.core.resources import shipped
from kata_bundle.core.tree import merge
from kata_bundle.oci import open_bundle, verify_layout
from kata_bundle.store import Store
from tests.fixtures.cli import call_cli, run_cli

MAP = ComponentMap.parse((shipped("manifests") / "shim-components.json").read_bytes())
SELECTION = ("--shim", "qemu,clh", "--arch", "x86_64,aarch64")


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_main_path_runs_and_a_second_run_does_nothing(cli, tmp_path):
    first = cli("bundle", *SELECTION, "-o", "out")
    assert "FIXTURES, not for production" in first.ok()
    assert not verify_layout(tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    second = cli("bundle", *SELECTION, "-o", "out", "--locked")
    assert "all up to date, nothing was built or packed" in second.ok()
    assert {p.name for p in (tmp_path / "out" / "blobs" / "sha256").iterdir()} == {p.name for p in before}


def test_json_holds_every_layer_with_its_identities(cli):
    document = json.loads(cli("bundle", "--shim", "qemu", "--arch", "x86_64", "-o", "out", "--json").ok())
    layers = {layer["component"]: layer for layer in document["layers"]}
    assert set(layers) == set(MAP.components("qemu", "x86_64"))
    assert layers["kernel"]["real"]
    assert layers["kernel"]["origin"] == "deb"
    assert not layers["shim-v2-go"]["real"]
    assert layers["virtiofsd"]["needed_by"] == ["qemu"]
    assert document["digest"].startswith("sha256:")


def test_dry_run_changes_nothing(cli, tmp_path):
    text = cli("bundle", "--shim", "qemu", "--arch", "x86_64", "-o", "out", "--dry-run").ok()
    assert "would write the OCI layout out" in text
    assert os.listdir(tmp_path) == []


CONDITIONS = [
    {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "umask": 0o022, "jobs": "1"},
    {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "umask": 0o077, "jobs": "2"},
]


def test_two_builds_under_different_conditions_are_equal_to_the_byte(shared_store, tmp_path):
    """Two folders, two stores, two time zones, two locales, two umasks, one job and two: equal digests everywhere."""
    made = []
    for number, condition in enumerate(CONDITIONS):
        folder = tmp_path / f"machine{number}" / ("deep" * number or "flat")
        folder.mkdir(parents=True)
        store = folder / "store"
        # Only the downloaded packages are shared; everything is made again in a store of its own.
        copy_packages(shared_store, store)
        settings = {
            "store": store,
            "cwd": folder,
            "umask": condition["umask"],
            "TZ": condition["TZ"],
            "LC_ALL": condition["LC_ALL"],
        }
        done = run_cli(
            "bundle",
            *SELECTION,
            "-o",
            "out",
            "--tarballs",
            "tar",
            "--level",
            "3",
            "--jobs",
            condition["jobs"],
            "--json",
            **settings,
        )
        document = json.loads(done.ok())
        made.append((document["digest"], files_below(folder / "out"), files_below(folder / "tar"), done))
    assert made[0][0] == made[1][0]
    assert made[0][1] == made[1][1]
    assert made[0][2] == made[1][2]


def copy_packages(source: Path, target: Path) -> None:
    from kata_bundle.build import load_deb_lock
    from kata_bundle.build.toolchain import load_toolchain_lock

    old, new = Store(source), Store(target, durable=False)
    for pin in [*load_deb_lock().pins, *(pin for one in load_toolchain_lock().values() for pin in one.pins)]:
        if old.has(pin.digest):
            new.put_file(old.path(pin.digest), expected=pin.digest)


def test_the_lock_is_enforced(cli, tmp_path):
    assert cli("bundle", "--shim", "qemu", "--arch", "x86_64", "-o", "out", "--locked").code == 4
    cli("bundle", "--shim", "qemu", "--arch", "x86_64", "-o", "out").ok()
    cli("bundle", "--shim", "qemu", "--arch", "x86_64", "-o", "out", "--locked").ok()
    other = cli("bundle", "--shim", "qemu,clh", "--arch", "x86_64", "-o", "out", "--locked")
    assert other.code == 4
    assert 'shim "clh" is not in the lock' in other.stderr
    (tmp_path / "kata-bundle.lock").write_text("{")
    assert cli("bundle", "--shim", "qemu", "--arch", "x86_64", "-o", "out", "--locked").code == 4


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--shim", "qemu"], 2, "nothing to write"),
        (["--shim", "quemu", "-o", "out"], 2, 'did you mean "qemu"?'),
        (["--shim", "qemu", "-o", "taken"], 2, "precious"),
        (["--shim", "qemu", "--tarballs", "taken"], 2, "precious"),
        (["--shim", "qemu", "-o", "out", "--imported", "only"], 2, "no imported tarball for"),
        (["--shim", "qemu", "-o", "out", "--jobs", "0"], 2, "--jobs"),
        (["--shim", "qemu", "-o", "out", "--store", "taken"], 2, "is not a store"),
    ],
)
def test_wrong_use_is_one_clear_error_and_changes_nothing(cli, tmp_path, argv, code, words):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "precious").touch()
    done = cli("bundle", "--arch", "x86_64", *argv)
    assert done.code == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "taken") == ["precious"]


@pytest.mark.parametrize(("shim", "arch"), MAP.cells(), ids=str)
def test_every_cell_is_planned_bundled_and_installed_exactly(tmp_path, monkeypatch, shared_store, shim, arch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KATA_BUNDLE_STORE", str(shared_store))
    plan = json.loads(call_cli("plan", "--shim", shim, "--arch", arch, "--json").ok())
    listed = set(MAP.components(shim, arch))
    assert set(plan["arches"][arch]["components"]) == listed
    call_cli("bundle", "--shim", shim, "--arch", arch, "-o", "out").ok()
    index = open_bundle(tmp_path / "out").index(Arch(arch))
    assert set(index.layers) == listed
    call_cli("install", "out", "--root", "root", "--arch", arch).ok()
    call_cli("verify", "--root", "root").ok()
    # Exactly the cell's list: the generation is the union of its components' trees, nothing else.
    store = Store(shared_store)
    expected = merge((name, store.get_tree(layer.tree)) for name, layer in index.layers.items())
    (generation,) = (tmp_path / "root/opt/kata/.kata-bundle/generations").iterdir()
    found = read_tree(generation)
    assert set(found.entries) == set(expected.entries)
    different = {p for p, entry in expected.entries.items() if found.entries[p] != entry}
    assert all(entry_is_program(p) for p in different), different
    assert all(os.path.lexists(tmp_path / "root/opt/kata" / path) for path in expected.entries)
    status = json.loads(call_cli("status", "--root", "root", "--json").ok())
    assert shim in json.dumps(status)


def entry_is_program(path: str) -> bool:
    """Whether the installer gives a file there mode 0755 whatever its archive says."""
    return path.rpartition("/")[0] in {"bin", "runtime-rs/bin"}


@pytest.mark.interop
@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_tarballs_unpack_with_other_tools_to_the_tree_we_install(cli, tmp_path, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    cli("bundle", "--shim", "qemu,clh", "--arch", "x86_64", "--tarballs", "tarballs", "-o", "out").ok()
    other = tmp_path / program
    other.mkdir()
    decompress = ["--zstd"] if program == "tar" else []
    for tarball in sorted((tmp_path / "tarballs").glob("kata-static-*.tar.zst")):
        subprocess.run([program, *decompress, "-xpf", tarball, "-C", other], check=True)
    cli("install", "out", "--root", "root", "--arch", "x86_64").ok()
    generation = next((tmp_path / "root/opt/kata/.kata-bundle/generations").iterdir())
    theirs, ours = read_tree(other / "opt" / "kata"), read_tree(generation)
    different = {p for p in {*theirs.entries, *ours.entries} if theirs.entries.get(p) != ours.entries.get(p)}
    assert not different


def test_imported_tarballs_are_bundled_unchanged(cli, tmp_path, shared_store):
    """Upstream's own tarballs, here made with GNU tar and zstd as upstream makes them, keep every byte."""
    store = tmp_path / "store"
    copy_packages(shared_store, store)
    prebuilt = tmp_path / "prebuilt"
    prebuilt.mkdir()
    for component in MAP.components("remote", "x86_64"):
        root = tmp_path / component
        (root / "opt/kata/bin").mkdir(parents=True)
        (root / "opt/kata/bin" / "containerd-shim-kata-v2").write_text("#!/bin/sh\n")
        subprocess.run(
            ["tar", "--zstd", "-C", root, "-cf", prebuilt / f"kata-static-{component}.tar.zst", "./opt/kata"], check=True
        )
    before = files_below(prebuilt)
    assert cli("bundle", "--shim", "remote", "--arch", "x86_64", "-o", "o", "--imported", "only", store=store).code == 2
    cli("import", prebuilt, "--arch", "x86_64", store=store).ok()
    done = cli("bundle", "--shim", "remote", "--arch", "x86_64", "--tarballs", "out", "--imported", "only", "--json", store=store)
    (layer,) = json.loads(done.ok())["layers"]
    assert (layer["origin"], layer["recipe"], layer["hermetic"]) == ("foreign", None, False)
    out = files_below(tmp_path / "out")
    out.pop("shim-components.json")
    assert out == before
    lock = json.loads((tmp_path / "kata-bundle.lock").read_text())
    assert lock["components"]["x86_64"]["shim-v2-go"]["pins"] == [layer["packed"]]
    # Another tarball of the same component replaces it.
    (tmp_path / "shim-v2-go/opt/kata/bin/containerd-shim-kata-v2").write_text("#!/bin/sh\nexit 1\n")
    subprocess.run(
        ["tar", "--zstd", "-C", tmp_path / "shim-v2-go", "-cf", prebuilt / "kata-static-shim-v2-go.tar.zst", "./opt/kata"],
        check=True,
    )
    cli("import", prebuilt, "--arch", "x86_64", store=store).ok()
    again = cli("bundle", "--shim", "remote", "--arch", "x86_64", "-o", "o", "--imported", "prefer", "--json", store=store)
    assert json.loads(again.ok())["layers"][0]["packed"] != layer["packed"]
