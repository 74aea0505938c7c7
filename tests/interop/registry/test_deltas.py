"""An upgrade from a real registry moves what the delta says, and no wrong delta keeps a node from it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kata_bundle.archive.readtree import read_tree
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.oci import open_bundle
from kata_bundle.oci.deltas import attach_deltas, delta_descriptor
from kata_bundle.oci.layout import Layout
from tests.fixtures.cli import Result, call_cli
from tests.fixtures.tcpproxy import Proxy
from tests.support.deltabundles import bundle_of
from tests.support.deltas import noise

pytestmark = [pytest.mark.interop, pytest.mark.net]

SEED = noise(3_000_000, 1)
OLD = {"rootfs-image": {"share/kata.image": SEED}, "qemu": {"bin/qemu": noise(400_000, 2), "share/bios": noise(9000, 4)}}
NEW = {
    "rootfs-image": {"share/kata.image": SEED[:900_000] + noise(20_000, 3) + SEED[920_000:]},
    "qemu": {"bin/qemu": noise(400_000, 2)[:-100] + b"n" * 100, "share/bios": noise(9000, 4), "share/more": b"one\n"},
}


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Path, Path]:
    bundle_of(tmp_path / "old", {Arch.X86_64: OLD})
    bundle_of(tmp_path / "new", {Arch.X86_64: NEW})
    return tmp_path / "old", tmp_path / "new"


def install(source: str, folder: Path, *more: str) -> Result:
    (folder / "root").mkdir(exist_ok=True)
    where = ("--root", folder / "root", "--cache", folder / "cache", "--arch", "x86_64", "--payload-only", "--plain-http")
    return call_cli("install", source, *where, *more)


def push(layout: Path, name: str) -> None:
    call_cli("push", layout, name, "--referrers", "--plain-http", "--quiet").ok()


def installed_files(folder: Path) -> dict[str, bytes]:
    current = (folder / "root/opt/kata/.kata-bundle/current").resolve()
    return {str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()}


def expected_files() -> dict[str, bytes]:
    return {path: data for files in NEW.values() for path, data in files.items()}


def test_an_upgrade_moves_what_the_delta_says(registry, releases, tmp_path: Path) -> None:
    old, new = releases
    document = json.loads(call_cli("delta", old, new, "-o", new, "--json").ok())
    name = f"{registry.address}/kata/upgrade"
    push(old, f"{name}:old")
    push(new, f"{name}:new")
    install(f"{name}:old", tmp_path).ok()
    with Proxy(registry.address) as proxy:
        through = f"{proxy.address}/kata/upgrade:new"
        plan = json.loads(install(through, tmp_path, "--dry-run", "--json").ok())
        assert plan["plan"]["transfer_bytes"] == document["transfer_bytes"]
        proxy.set()
        result = install(through, tmp_path)
        result.ok()
        assert "made from what is installed and a delta" in result.stderr
        # Documents and what the protocol takes come on top of the deltas.
        assert document["transfer_bytes"] < proxy.passed < document["transfer_bytes"] + 40_000
        assert document["transfer_bytes"] < 0.05 * document["full_bytes"]
    assert installed_files(tmp_path) == expected_files()
    assert not (tmp_path / "cache").exists()
    call_cli("verify", "--root", tmp_path / "root").ok()
    expected = tmp_path / "whole"
    expected.mkdir()
    install(f"{name}:new", expected).ok()
    trees = [
        read_tree(folder / "root/opt/kata/.kata-bundle/generations" / number)
        for folder, number in ((tmp_path, "2"), (expected, "1"))
    ]
    assert trees[0] == trees[1]


@pytest.mark.parametrize("kind", ["garbage", "other tree", "lying old tree"])
def test_a_wrong_delta_costs_its_transfer_and_nothing_else(registry, releases, tmp_path: Path, kind: str) -> None:
    old, new = releases
    before, after = (open_bundle(path).index(Arch.X86_64).layers["rootfs-image"].tree for path in (old, new))
    bundle = open_bundle(new)
    if kind == "garbage":
        data = noise(5000, 9)
    else:
        # A sound delta, but from the new to the old release, or between others than it says.
        bundle_of(tmp_path / "third", {Arch.X86_64: {"rootfs-image": {"share/kata.image": SEED[5:]}}})
        pair = (new, old) if kind == "other tree" else (tmp_path / "third", new)
        call_cli("delta", *pair, "-o", tmp_path / "x", "--component", "rootfs-image", "--quiet").ok()
        found = [p.read_bytes() for p in (tmp_path / "x/blobs/sha256").iterdir()]
        (data,) = [blob for blob in found if blob.startswith(b"kbdelta1")]
    descriptor = delta_descriptor("rootfs-image", before, after, digest_bytes(data), len(data))
    (tmp_path / "blob").write_bytes(data)
    layout = Layout.open(new)
    layout.add_blob(tmp_path / "blob", descriptor)
    attach_deltas(layout, bundle.manifest_descriptor(Arch.X86_64), [descriptor])
    name = f"{registry.address}/kata/wrong-{kind.replace(' ', '-')}"
    push(old, f"{name}:old")
    push(new, f"{name}:new")
    install(f"{name}:old", tmp_path).ok()
    result = install(f"{name}:new", tmp_path)
    result.ok()
    assert "the delta cannot be used, the layer is fetched" in result.stderr
    assert installed_files(tmp_path) == expected_files()
    call_cli("verify", "--root", tmp_path / "root").ok()


def test_a_node_whose_files_were_changed_takes_the_layer(registry, releases, tmp_path: Path) -> None:
    old, new = releases
    call_cli("delta", old, new, "-o", new, "--quiet").ok()
    name = f"{registry.address}/kata/drifted"
    push(old, f"{name}:old")
    push(new, f"{name}:new")
    install(f"{name}:old", tmp_path).ok()
    image = tmp_path / "root/opt/kata/share/kata.image"
    data = bytearray(image.read_bytes())
    data[5] ^= 1
    image.write_bytes(data)
    os.utime(image, (1, 1))
    result = install(f"{name}:new", tmp_path)
    result.ok()
    assert "rootfs-image: the delta cannot be used" in result.stderr
    assert installed_files(tmp_path) == expected_files()


@pytest.mark.parametrize("faults", [{"cut_after": 20_000, "cuts": 3}, {"lie_after": 30_000}])
def test_broken_transfers_of_deltas_never_reach_the_tree(registry, releases, tmp_path: Path, faults: dict[str, int]) -> None:
    old, new = releases
    call_cli("delta", old, new, "-o", new, "--quiet").ok()
    name = f"{registry.address}/kata/broken-{next(iter(faults)).replace('_', '-')}"
    push(old, f"{name}:old")
    push(new, f"{name}:new")
    install(f"{name}:old", tmp_path).ok()
    with Proxy(registry.address) as proxy:
        proxy.set(**faults)
        result = install(name.replace(registry.address, proxy.address) + ":new", tmp_path)
        if result.code:  # a document was hit: refused, nothing changed
            assert result.code in {7, 8}, result.stderr
            assert (tmp_path / "root/opt/kata/share/kata.image").read_bytes() == SEED
            proxy.set()
            install(name.replace(registry.address, proxy.address) + ":new", tmp_path).ok()
    assert installed_files(tmp_path) == expected_files()
    shutil.rmtree(tmp_path / "root")
