"""Looking before building, as a user does it: sizes, differences and reasons of bundles that were really made.

Only shims whose components all are stand-ins are bundled, so nothing is fetched.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.resources import shipped
from tests.fixtures.cli import call_cli
from tests.support.bundles import sample_bundle

GOLDEN = Path(__file__).parents[2] / "golden" / "generate"
SHIMS = "remote,qemu-nvidia-cpu-runtime-rs,qemu-nvidia-gpu-tdx"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two bundles with their locks and manifests, and the store they came from."""
    root = tmp_path_factory.mktemp("look")
    shutil.copytree(shipped("manifests"), root / "new-manifests")
    shutil.copytree(shipped("manifests"), root / "old-manifests")
    path = root / "new-manifests" / "runtimeclasses.toml"
    remote = '[classes.remote]\noverhead = { memory = "120Mi"'
    assert remote in path.read_text()
    path.write_text(path.read_text().replace(remote, remote.replace("120Mi", "140Mi")))
    common = ("--arch", "x86_64")
    old = ("-o", "old", "--lock", "old.lock", "--manifests", "old-manifests")
    new = ("-o", "new", "--lock", "new.lock", "--manifests", "new-manifests", "--level", "3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KATA_BUNDLE_STORE", str(root / "store"))
        patch.chdir(root)
        call_cli("bundle", "--shim", SHIMS, *common, *old).ok()
        call_cli("bundle", "--shim", f"{SHIMS},qemu-nvidia-gpu-snp", *common, *new).ok()
    return root


@pytest.fixture
def cli(place, monkeypatch):
    monkeypatch.setenv("KATA_BUNDLE_STORE", str(place / "store"))
    monkeypatch.chdir(place)
    return call_cli


def golden(name, text):
    file = GOLDEN / name
    if os.environ.get("ACCEPT"):
        file.write_text(text)
    assert text == file.read_text(), f"ACCEPT=1 writes {name} anew"


def weights(document):
    return {(s["arch"], s["shim"]): (s["alone"], s["shared"], s["marginal"]) for s in document["shims"]}


def test_the_store_and_the_bundle_made_from_it_weigh_the_same(cli):
    from_store = json.loads(cli("size", "--shim", SHIMS, "--arch", "x86_64", "--json").ok())
    from_bundle = json.loads(cli("size", "old", "--json").ok())
    assert weights(from_store) == weights(from_bundle)
    assert from_store["total"] == from_bundle["total"]
    assert from_bundle["complete"] is True


def test_the_total_is_what_the_bundle_s_layers_weigh_on_disk(cli, place):
    document = json.loads(cli("size", "old", "--json").ok())
    index = json.loads(cli("bundle", "--shim", SHIMS, "--arch", "x86_64", "-o", "again", "--lock", "again.lock", "--json").ok())
    blobs = place / "again" / "blobs" / "sha256"
    on_disk = {layer["packed"]: (blobs / layer["packed"].removeprefix("sha256:")).stat().st_size for layer in index["layers"]}
    assert document["total"]["packed_bytes"] == sum(on_disk.values())


def test_a_part_of_a_bundle_is_weighed_and_strangers_are_refused(cli):
    document = json.loads(cli("size", "new", "--shim", "remote", "--json").ok())
    (shim,) = document["shims"]
    assert shim["marginal"] == shim["alone"]
    refused = cli("size", "new", "--shim", "remot")
    assert refused.code == 2
    assert 'did you mean "remote"?' in refused.stderr


def test_sizes_as_text_name_the_stand_ins(cli):
    text = cli("size", "new", "--components").ok()
    assert "marginal: packed" in text
    assert "FIXTURES, whose sizes say nothing:" in text
    assert "needed by" in text


def test_what_the_store_lacks_is_said_and_an_empty_store_is_an_error_that_makes_none(cli, place):
    done = cli("size", "--shim", "remote,fc", "--arch", "x86_64")
    assert done.code == 0
    assert "not in the store, so they count nothing: firecracker (x86_64)" in done.stderr
    assert "+ and what is not known" in done.stdout
    refused = cli("size", "--shim", "remote", "--arch", "x86_64", "--store", str(place / "no-store"))
    assert refused.code == 2
    assert "nothing to weigh" in refused.stderr
    assert not (place / "no-store").exists()


def test_imported_tarballs_are_weighed_as_a_bundle_would_use_them(cli, place):
    common = ("--shim", "remote", "--arch", "x86_64")
    cli("bundle", *common, "--tarballs", "tarballs", "--lock", "tarballs.lock").ok()
    other = ("--store", str(place / "other-store"))
    cli("import", "tarballs", "--arch", "x86_64", *other).ok()
    assert cli("size", *common, *other).code == 2
    sizes = [json.loads(cli("size", *common, *other, "--imported", how, "--json").ok()) for how in ("only", "prefer")]
    assert sizes[0] == sizes[1]
    made = (place / "tarballs" / "kata-static-shim-v2-go.tar.zst").stat().st_size
    assert sizes[0]["total"]["packed_bytes"] == made


def test_a_layer_of_other_settings_stands_in_for_the_one_a_bundle_would_pack_now(cli):
    usual = json.loads(cli("size", "--shim", "qemu-nvidia-gpu-snp", "--arch", "x86_64", "--json").ok())
    assert usual["complete"] is True  # packed at another level only


def test_equal_sides_end_with_0_and_different_ones_with_12(cli):
    assert cli("diff", "old", "old").code == 0
    assert cli("diff", "old.lock", "old.lock", "--quiet").stdout == ""
    assert cli("diff", "old", "new").code == 12
    assert cli("diff", "old.lock", "new.lock", "--quiet").code == 12


def test_bundles_are_compared_down_to_files(cli):
    document = json.loads(cli("diff", "old", "new", "--json").stdout)
    by_name = {(d["subject"], d["name"]): d for d in document["differences"]}
    assert by_name["shim", "qemu-nvidia-gpu-snp"]["change"] == "added"
    added = by_name["component", "qemu-snp-experimental"]
    assert "bin/qemu-system-x86_64-snp-experimental" in {file["path"] for file in added["files"]}
    assert by_name["component", "kernel-nvidia-gpu"]["repacked"] is True
    assert by_name["component", "kernel-nvidia-gpu"]["files"] is None
    overhead = by_name["RuntimeClass", "kata-remote"]["changes"]
    assert overhead == [{"key": "overhead.memory", "old": "120Mi", "new": "140Mi"}]
    assert document["size"]["new_layers"]["packed_bytes"] <= document["size"]["new"]["packed_bytes"]


def test_without_files_no_layer_is_read(cli, place):
    broken = place / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(place / "new", broken)
    for blob in (broken / "blobs" / "sha256").iterdir():
        if blob.stat().st_size > 20_000:
            blob.chmod(0o644)
            blob.write_bytes(b"\0" * blob.stat().st_size)
    assert cli("diff", "old", "broken", "--files", "0").code == 12


def test_a_layer_that_is_not_what_the_index_says_stops_the_comparison(cli, place):
    broken = place / "damaged"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(place / "new", broken)
    document = json.loads(cli("diff", "old", "new", "--json").stdout)
    added = next(d for d in document["differences"] if d["name"] == "qemu-snp-experimental")
    packed = next(change["new"] for change in added["changes"] if change["key"] == "packed")
    blob = broken / "blobs" / "sha256" / packed.removeprefix("sha256:")
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    done = cli("diff", "old", "damaged")
    assert done.code == 7
    assert "Traceback" not in done.stderr


def test_a_bundle_whose_index_tells_another_tree_stops_the_comparison(cli, tmp_path):
    sample = sample_bundle(tmp_path, arches=(Arch.X86_64,))  # its index holds made-up tree digests
    done = cli("diff", "old", str(sample.directory))
    assert done.code == 7
    assert "is not what the bundle index says of" in done.stderr
    assert cli("diff", "old", str(sample.directory), "--files", "0").code == 12


def test_a_release_note_is_markdown(cli):
    text = cli("diff", "old", "new", "--format", "markdown").stdout
    assert text.startswith("# Changes from `old` to `new`\n")
    assert "| `kata-remote (x86_64)` | overhead.memory | 120Mi → 140Mi |" in text
    assert "- `qemu-nvidia-gpu-snp (x86_64)`: shim-v2-go, " in text
    assert "{" not in text


def test_manifests_and_locks_are_compared_and_shown(cli):
    golden("diff-manifests.txt", cli("diff", "old-manifests", "new-manifests").stdout)
    text = cli("diff", "old.lock", "new.lock").stdout
    assert "+ qemu-nvidia-gpu-snp (x86_64)" in text
    assert "+ qemu-snp-experimental (x86_64)  fixture" in text


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("old", "old.lock", 2, "old is a bundle, old.lock a lock: they cannot be compared"),
        ("store", "old", 2, "no bundle, no folder of manifests and no lock"),
        ("nothing", "old", 2, "does not exist"),
        ("old/index.json", "old.lock", 4, "is not a lock of this program"),
    ],
)
def test_sides_that_cannot_be_compared_are_refused(cli, old, new, code, words):
    done = cli("diff", old, new)
    assert done.code == code
    assert words in done.stderr


def test_manifests_with_errors_are_not_compared(cli, place):
    broken = place / "broken-manifests"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(place / "old-manifests", broken)
    (broken / "shims.toml").write_text("version = 1\n")
    done = cli("diff", "old-manifests", "broken-manifests")
    assert done.code == 3
    assert "kata-bundle check --manifests broken-manifests" in done.stderr


def test_a_file_is_explained_by_what_was_really_made(cli):
    declared = json.loads(cli("why", "remote", "bin/containerd-shim-kata-v2", "--arch", "x86_64", "--json").ok())
    assert [(p["component"], p["evidence"]) for p in declared[0]["provided_by"]] == [("shim-v2-go", "made")]
    text = cli("why", "remote", "configuration-qemu.toml", "--arch", "x86_64").ok()
    assert 'gets share/defaults/kata-containers/configuration-qemu.toml from "shim-v2-go"' in text
    assert 'seen in the made component "shim-v2-go"' in text


def test_reasons_as_text(cli):
    golden(
        "why.txt",
        "\n".join(
            cli("why", *argv, "--store", "none").stdout
            for argv in (
                ("qemu", "kernel", "--arch", "x86_64,ppc64le"),
                ("qemu", "nydus", "--arch", "x86_64"),
                ("qemu", "shim-v2-go", "--arch", "x86_64"),
                ("qemu-snp", "virtiofsd", "--arch", "x86_64"),
                ("clh-runtime-rs", "kernel", "--arch", "aarch64"),
                ("qemu", "/opt/kata/share/kata-containers/vmlinux.container", "--arch", "x86_64"),
                ("qemu", "kata-containers-confidential.img", "--arch", "x86_64"),
                ("clh-azure", "/usr/share/cloud-hypervisor/vmlinux.bin", "--arch", "x86_64"),
                ("qemu", "share/kata-containers/config-6.18.5-173", "--arch", "x86_64"),
            )
        ),
    )


def test_a_plan_is_drawn_in_both_forms(cli):
    argv = ("plan", "--shim", "remote,fc", "--arch", "x86_64,aarch64", "--graph")
    golden("plan.dot", cli(*argv, "dot").ok())
    golden("plan.svg", cli(*argv, "svg").ok())
    assert cli("plan", "--shim", "fc", "--arch", "x86_64", "--parts").code == 2
    assert cli("plan", "--shim", "fc", "--arch", "x86_64", "--graph", "dot", "--json").code == 2
