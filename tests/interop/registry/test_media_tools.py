"""What other people's tools make of a medium: they read its full layers, and carry its deltas along."""

from __future__ import annotations

from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.oci import mediatypes, open_bundle, verify_layout
from kata_bundle.oci.deltas import attached_deltas
from kata_bundle.oci.layout import Layout
from tests.fixtures.cli import call_cli
from tests.interop.registry.conftest import run
from tests.support.deltabundles import bundle_of
from tests.support.deltas import noise

pytestmark = [pytest.mark.interop, pytest.mark.net]

SEED = noise(300_000, 1)
OLD = {"rootfs-image": {"share/kata.image": SEED}, "qemu": {"bin/qemu": noise(40_000, 2)}}
NEW = {"rootfs-image": {"share/kata.image": SEED[:-100] + b"n" * 100}, "qemu": {"bin/qemu": noise(40_000, 3)}}


@pytest.fixture(scope="module")
def medium(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    bundle_of(folder / "old", {Arch.X86_64: OLD})
    bundle_of(folder / "new", {Arch.X86_64: NEW})
    releases = (f"r1={folder / 'old'}", f"r2={folder / 'new'}")
    call_cli("media", "export", *releases, "-o", folder / "medium", "--full", "r1").ok()
    return folder / "medium"


def test_skopeo_copies_a_release_that_is_whole(medium: Path, skopeo, tmp_path: Path) -> None:
    skopeo("copy", "--all", f"oci:{medium}:r1", f"oci:{tmp_path / 'copy'}:latest")
    assert open_bundle(tmp_path / "copy").digest == open_bundle(medium, ref="r1").digest
    assert verify_layout(tmp_path / "copy") == []


def test_oras_copies_the_artefact_with_deltas_and_full_layers(medium: Path, oras: Path, tmp_path: Path) -> None:
    layout = Layout.open(medium)
    (artefact,) = [entry for entry in layout.index().manifests if entry.artifact_type == mediatypes.DELTA_ARTEFACT]
    run(oras, "copy", "--from-oci-layout", f"{medium}@{artefact.digest}", "--to-oci-layout", f"{tmp_path / 'copy'}:deltas")
    copy = Layout.open(tmp_path / "copy")
    assert attached_deltas(copy) == attached_deltas(layout)
    for layer in layout.manifest(artefact).layers:
        with copy.open_blob(layer) as stream, layout.open_blob(layer) as original:
            assert stream.read() == original.read()


def test_oras_fetches_any_full_layer(medium: Path, oras: Path, tmp_path: Path) -> None:
    layers = open_bundle(medium, ref="r1").index(Arch.X86_64).layers
    for layer in layers.values():
        place = tmp_path / layer.component
        run(oras, "blob", "fetch", "--oci-layout", f"{medium}@{layer.packed}", "--output", place)
        assert place.stat().st_size == layer.packed_size_bytes
