"""Installing from a bundle: the index says what to expect, and nothing else is accepted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kata_bundle.archive.layer import extract_layer, scan_layer
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import ArchiveError, HostError, IntegrityError
from kata_bundle.node.install import install, plan_install
from kata_bundle.node.receipt import SourceKind
from kata_bundle.node.source import open_source
from kata_bundle.oci.bundle import write_bundle
from kata_bundle.oci.bundleindex import BundleIndex, BundleLayer
from tests.fixtures.node import ARCH, SHIMS, World, snapshot


@pytest.fixture
def bundle(tmp_path, v1):
    layers, files = {}, {}
    for component in sorted({name for names in SHIMS.values() for name in names}):
        path = v1 / f"kata-static-{component}.tar.zst"
        _, packed = scan_layer(path, what=component)
        files[packed.packed] = path
        layers[component] = BundleLayer(
            component=component,
            tree=packed.tree,
            packed=packed.packed,
            packed_size_bytes=packed.packed_size_bytes,
            diff_id=packed.diff_id,
            unpacked_size_bytes=packed.unpacked_size_bytes,
            origin="foreign",
            hermetic=False,
            version="1.0",
        )
    index = BundleIndex(
        arch=Arch.X86_64,
        shims={shim: tuple(names) for shim, names in SHIMS.items()},
        layers=layers,
        default_shim="qemu",
        default_shims=("qemu", "clh"),
    )
    write_bundle(tmp_path / "bundle", {Arch.X86_64: index}, files.__getitem__, created=0)
    return tmp_path / "bundle"


def blob_of(bundle: Path, component: str) -> Path:
    return Path(open_source(bundle).layer(Arch.X86_64, component).path)


def test_a_bundle_installs_like_its_tarballs(world, bundle, v1):
    done = install(world.machine(), world.desired(bundle, "qemu"))
    assert done.receipt.source is SourceKind.BUNDLE
    assert done.receipt.source_digest == open_source(bundle).digest()
    assert done.receipt.layers["kernel"].version == "1.0"
    again = install(world.machine(), world.desired(v1, "qemu"))
    assert again.receipt.generation == 1
    assert not again.plan.stages


def test_layers_that_are_installed_already_are_not_even_opened(world, bundle):
    install(world.machine(), world.desired(bundle, "qemu"))
    desired = world.desired(bundle, "qemu")
    blob = blob_of(bundle, "kernel")
    size = blob.stat().st_size
    os.chmod(blob, 0o644)
    blob.write_bytes(bytes(size))
    assert install(world.machine(), desired).plan.changes_nothing


def test_a_bundle_states_its_default_shims(bundle):
    assert open_source(bundle).default_shims(Arch.X86_64) == ("qemu", "clh")
    assert open_source(bundle).arches() == (Arch.X86_64,)


@pytest.mark.parametrize("damage", [lambda data: b"x" + data[1:], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_a_changed_layer_is_refused_before_it_is_decoded(world, bundle, damage):
    blob = blob_of(bundle, "qemu")
    desired = world.desired(bundle, "qemu")
    data = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(damage(data))
    with pytest.raises(IntegrityError, match="digest"):
        install(world.machine(), desired)
    assert snapshot(world.root) == {}
    with pytest.raises(IntegrityError):
        plan_install(world.machine(), desired)


def test_a_folder_that_is_neither_is_refused(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(HostError, match="neither a bundle nor"):
        open_source(tmp_path / "x")
    with pytest.raises(HostError, match="not a directory"):
        open_source(tmp_path / "none")


def test_tarballs_may_lie_in_a_folder_of_their_own(world, v1):
    (v1 / "tarballs").mkdir()
    for path in v1.glob("*.tar.zst"):
        path.rename(v1 / "tarballs" / path.name)
    assert install(world.machine(), world.desired(v1, "clh")).receipt.generation == 1


def unpack(folder: Path, component: str) -> Path:
    """Replace a component's tarball by a folder with its files."""
    tarball = folder / f"kata-static-{component}.tar.zst"
    place = folder / f"kata-static-{component}"
    (place / "opt/kata").mkdir(parents=True)
    extract_layer(tarball, place / "opt/kata", what=component, dest="/opt/kata")
    tarball.unlink()
    return place


def test_a_folder_in_place_of_a_tarball_installs_the_same(world, v1, tmp_path, put):
    expected = put(v1, "qemu").receipt.tree
    folder = shutil.copytree(v1, tmp_path / "folder")
    unpack(folder, "qemu")
    assert open_source(folder).components(ARCH) == open_source(v1).components(ARCH)
    done = put(folder, "qemu")
    assert done.receipt.tree == expected
    assert not done.plan.stages
    assert put(folder, "qemu").plan.changes_nothing


def test_links_of_a_folder_stay_links_and_those_to_itself_follow_the_install(tmp_path, v1):
    folder = shutil.copytree(v1, tmp_path / "folder")
    place = unpack(folder, "qemu") / "opt/kata"
    (place / "share/own").symlink_to(place / "share/kata-qemu")
    (place / "share/host").symlink_to("/usr/share/elsewhere")
    (place / "bin/with-set-id").write_bytes(b"")
    (place / "bin/with-set-id").chmod(0o4755)
    there = World(tmp_path / "root", "/opt/kata-dev")
    there.root.mkdir()
    install(there.machine(), there.desired(folder, "qemu"))
    assert (there.folder / "share/own").readlink() == Path("/opt/kata-dev/share/kata-qemu")
    assert (there.folder / "share/host").readlink() == Path("/usr/share/elsewhere")
    assert (there.folder / "bin/with-set-id").stat().st_mode & 0o7777 == 0o755
    # Anything that changes in the folder is seen by whoever asks only for times.
    places = open_source(folder).places()
    assert str(place / "bin/with-set-id") in places
    (place / "share/out").symlink_to("../../../../etc/passwd")
    with pytest.raises(ArchiveError, match="share/out"):
        install(there.machine(), there.desired(folder, "qemu"))
