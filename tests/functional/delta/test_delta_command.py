"""``kata-bundle delta``, as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from kata_bundle.archive.deltaapply import load_table
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import hex_part
from kata_bundle.oci import open_bundle, verify_layout
from kata_bundle.oci.deltas import attached_deltas
from kata_bundle.oci.layout import Layout
from tests.fixtures.cli import call_cli, run_cli
from tests.functional.delta.conftest import NEW, OLD, Releases
from tests.support.deltabundles import bundle_of


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_an_estimate_says_what_an_upgrade_takes_and_makes_nothing(releases: Releases) -> None:
    before = files_in(releases.new.parent)
    document = json.loads(call_cli("delta", releases.old, releases.new, "--estimate-only", "--json").ok())
    rows = {(row["component"], row["arch"]): row for row in document["components"]}
    assert rows["kernel", "x86_64"]["mode"] == "unchanged"
    assert rows["kernel", "x86_64"]["transfer_bytes"] == 0
    image = rows["rootfs-image", "x86_64"]
    assert (image["mode"], image["base"]["component"]) == ("delta", "rootfs-image")
    assert 5000 < image["transfer_bytes"] < 0.02 * image["full_bytes"]
    assert {file["path"]: file["mode"] for file in rows["qemu", "x86_64"]["files"]} == {
        "bin/qemu": "frames",
        "share/bios": "unchanged",
    }
    assert document["transfer_bytes"] < 0.05 * document["full_bytes"]
    assert files_in(releases.new.parent) == before
    text = call_cli("delta", releases.old, releases.new, "--estimate-only").ok()
    assert "from rootfs-image" in text
    assert "share/kata-2.image" in text


def test_deltas_become_referrers_of_the_new_bundle_which_stays_what_it_was(releases: Releases) -> None:
    digest = open_bundle(releases.new).digest
    document = json.loads(call_cli("delta", releases.old, releases.new, "-o", releases.new, "--json").ok())
    bundle = open_bundle(releases.new)
    assert bundle.digest == digest
    assert verify_layout(releases.new) == []
    for arch in (Arch.X86_64, Arch.AARCH64):
        deltas = attached_deltas(bundle.layout, bundle.manifest_descriptor(arch).digest)
        made = {row["component"]: row for row in document["components"] if row["arch"] == arch and row["mode"] == "delta"}
        assert {delta.component for delta in deltas} == set(made)
        for delta in deltas:
            path = bundle.layout.blob_path(delta.descriptor)
            table = load_table(path, what="delta", expected_tree=bundle.index(arch).layers[delta.component].tree)
            assert table.old == delta.old
            assert made[delta.component]["transfer_bytes"] == path.stat().st_size
            assert made[delta.component]["delta"] == delta.descriptor.digest
    assert document["exact"]
    again = json.loads(call_cli("delta", releases.old, releases.new, "-o", releases.new, "--json", "--jobs", "1").ok())
    assert again == document
    assert len(Layout.open(releases.new).index().manifests) == 3


def test_neither_hash_seeds_nor_zones_nor_threads_change_a_byte(releases: Releases, tmp_path: Path) -> None:
    made = []
    for seed, zone, jobs in (("1", "Asia/Tokyo", "1"), ("2", "America/St_Johns", "3")):
        out = tmp_path / f"deltas-{seed}"
        arguments = ("delta", releases.old, releases.new, "-o", out, "--arch", "x86_64", "--jobs", jobs, "--quiet")
        run_cli(*arguments, PYTHONHASHSEED=seed, TZ=zone, LC_ALL="C").ok()
        made.append({path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert made[0] == made[1]


def test_deltas_alone_make_a_layout_of_their_own(releases: Releases, tmp_path: Path) -> None:
    call_cli("delta", releases.old, releases.new, "-o", tmp_path / "deltas", "--component", "qemu", "--arch", "amd64").ok()
    layout = Layout.open(tmp_path / "deltas")
    (entry,) = layout.index().manifests
    assert entry.annotations["org.opencontainers.image.ref.name"] == "delta-x86_64"
    (delta,) = attached_deltas(layout)
    assert delta.component == "qemu"
    assert verify_layout(tmp_path / "deltas") == []


def test_variants_of_one_bundle_are_made_from_each_other(releases: Releases) -> None:
    document = json.loads(call_cli("delta", releases.new, releases.new, "--estimate-only", "--arch", "x86_64", "--json").ok())
    rows = {row["component"]: row for row in document["components"]}
    pair = {name: rows[name] for name in ("rootfs-image", "rootfs-image-confidential")}
    ((derived, row),) = [(name, row) for name, row in pair.items() if row["mode"] == "delta"]
    assert row["base"]["component"] in set(pair) - {derived}
    assert row["transfer_bytes"] < 0.1 * row["full_bytes"]


def test_a_named_base_is_used_and_an_unknown_one_refused(releases: Releases) -> None:
    same = (releases.old, releases.new, "--estimate-only", "--json")
    wanted = ("--component", "rootfs-image-confidential", "--base", "rootfs-image")
    (row,) = json.loads(call_cli("delta", *same, *wanted).ok())["components"]
    assert row["base"]["component"] == "rootfs-image"
    wrong = call_cli("delta", *same, "--base", "rootfs")
    assert (wrong.code, "components there: " in wrong.stderr) == (2, True)
    assert call_cli("delta", *same, "--component", "nothing").code == 2


def test_without_a_place_or_in_a_dry_run_nothing_is_made(releases: Releases) -> None:
    before = files_in(releases.new.parent)
    estimate = call_cli("delta", releases.old, releases.new, "--json").ok()
    assert json.loads(estimate)["exact"] in {True, False}
    dry = call_cli("delta", releases.old, releases.new, "-o", releases.new.parent / "x", "--dry-run", "--json").ok()
    assert dry == estimate == call_cli("delta", releases.old, releases.new, "--estimate-only", "--json").ok()
    assert files_in(releases.new.parent) == before


def test_a_damaged_layer_stops_it(releases: Releases) -> None:
    bundle = open_bundle(releases.old)
    entry = bundle.index(Arch.X86_64).layers["rootfs-image"]
    path = releases.old / "blobs" / "sha256" / hex_part(entry.packed)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    result = call_cli("delta", releases.old, releases.new, "-o", releases.new)
    assert result.code == 7
    assert len(Layout.open(releases.new).index().manifests) == 1
    shutil.rmtree(releases.old)


def test_diff_shows_where_the_bytes_of_an_upgrade_go(releases: Releases) -> None:
    result = call_cli("diff", releases.old, releases.new, "--transfer", "--json")
    assert result.code == 12
    document = json.loads(result.stdout)
    rows = {(row["component"], row["arch"]): row for row in document["transfer"]["components"]}
    costs = {file["path"]: file for file in rows["qemu", "x86_64"]["files"]}
    assert costs["bin/qemu"]["stored_bytes"] < 0.01 * costs["bin/qemu"]["size_bytes"]
    text = call_cli("diff", releases.old, releases.new, "--transfer").stdout
    assert "transfer by deltas" in text
    assert "share/kata-2.image  frames" in text
    assert call_cli("diff", releases.new, releases.new, "--transfer").code == 0
    assert "transfer" not in json.loads(call_cli("diff", releases.old, releases.new, "--json").stdout)


def test_layers_without_a_table_of_contents_are_compared_too(tmp_path: Path) -> None:
    every = frozenset(OLD)
    bundle_of(tmp_path / "a", {Arch.X86_64: OLD}, foreign=every)
    bundle_of(tmp_path / "b", {Arch.X86_64: NEW}, foreign=every)
    assert open_bundle(tmp_path / "a").index(Arch.X86_64).layers["qemu"].table is None
    single = json.loads(call_cli("delta", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "x", "--json").ok())
    bundle_of(tmp_path / "c", {Arch.X86_64: OLD})
    bundle_of(tmp_path / "d", {Arch.X86_64: NEW})
    framed = json.loads(call_cli("delta", tmp_path / "c", tmp_path / "d", "-o", tmp_path / "y", "--json").ok())
    # A delta is of trees: how they were packed changes nothing.
    assert [row["delta"] for row in single["components"]] == [row["delta"] for row in framed["components"]]


def test_a_layer_that_is_not_what_its_bundle_says_stops_it(tmp_path: Path) -> None:
    bundle_of(tmp_path / "a", {Arch.X86_64: OLD}, foreign=frozenset(OLD))
    bundle_of(tmp_path / "b", {Arch.X86_64: NEW}, foreign=frozenset(OLD))
    entry = open_bundle(tmp_path / "a").index(Arch.X86_64).layers["rootfs-image"]
    path = tmp_path / "a/blobs/sha256" / hex_part(entry.packed)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-4000] + bytes(4000))
    assert call_cli("delta", tmp_path / "a", tmp_path / "b", "--estimate-only").code == 7
