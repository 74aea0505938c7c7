"""An install directory that is a mount point, as in a pod: emptied, never removed, never renamed."""

from __future__ import annotations

import os

import pytest

from kata_bundle.core.process import run
from kata_bundle.node.install import install
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.node import World, payload, snapshot


@pytest.fixture
def mounted(tmp_path):
    if os.geteuid():
        pytest.skip("mounting needs root")
    world = World(tmp_path / "root")
    world.folder.mkdir(parents=True)
    done = run(["mount", "-t", "tmpfs", "tmpfs", str(world.folder)], check=False)
    if done.status:
        pytest.skip(f"cannot mount here: {done.stderr.decode()}")
    yield world
    run(["umount", "-R", str(world.folder)])


@pytest.mark.root
def test_a_mounted_install_directory_is_emptied_and_kept(mounted, tmp_path):
    source = payload(tmp_path / "v1", "1")
    done = install(mounted.machine(), mounted.desired(source, "qemu"))
    assert verify(mounted.machine(), done.receipt).is_clean
    uninstall(mounted.machine())
    assert mounted.folder.is_mount()
    assert os.listdir(mounted.folder) == []


@pytest.mark.root
def test_a_mount_point_inside_is_emptied_and_told(mounted, tmp_path):
    source = payload(tmp_path / "v1", "1")
    install(mounted.machine(), mounted.desired(source, "qemu"))
    inside = mounted.folder / ".kata-bundle/generations/1/share/kata-qemu/empty"
    run(["mount", "-t", "tmpfs", "tmpfs", str(inside)])
    (inside / "x").write_text("x")
    from kata_bundle.core.errors import InstallError

    with pytest.raises(InstallError):
        uninstall(mounted.machine())
    assert list(inside.iterdir()) == []
    run(["umount", str(inside)])
    uninstall(mounted.machine())
    assert snapshot(mounted.folder) == {}
