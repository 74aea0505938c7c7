"""What earlier versions wrote stays good: a bundle whose layers are single frames, with an index of version 1."""

from __future__ import annotations

from pathlib import Path

from kata_bundle.archive.layer import scan_layer
from kata_bundle.core.arch import Arch
from kata_bundle.oci import open_bundle
from kata_bundle.oci.verify import verify_layout
from tests.fixtures.cli import call_cli

OLD = Path(__file__).parents[1] / "fixtures/formats/bundle-v1"
DIGEST = "sha256:84638ec3254e82c66f85a19eef63d51a590f08a08976d2e969abcd5e9021caf9"


def test_a_bundle_of_version_1_opens_and_its_layers_are_what_it_says() -> None:
    assert verify_layout(OLD) == []
    bundle = open_bundle(OLD)
    index = bundle.index(Arch.X86_64)
    assert (bundle.digest, index.version) == (DIGEST, 1)
    for component, layer in index.layers.items():
        tree, found = scan_layer(bundle.layer_path(Arch.X86_64, component), what=component)
        assert (tree.digest, found.packed, found.diff_id) == (layer.tree, layer.packed, layer.diff_id)
        assert layer.table is found.table is None
        assert layer.recipe == {"codec": "zstd", "level": 10, "library": "1.5.7"}


def test_a_bundle_of_version_1_is_installed_and_verified(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert "installed generation 1" in call_cli("install", OLD, "--root", root, "--arch", "x86_64").ok()
    assert (root / "opt/kata/bin/qemu-system-x86_64").read_bytes() == b"tool\n" * 100
    call_cli("verify", "--root", root).ok()
    assert "up to date" in call_cli("install", OLD, "--root", root, "--arch", "x86_64").ok()
