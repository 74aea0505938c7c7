"""What an install costs on a payload of real shape: cold, again with nothing changed, and an upgrade of one component."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from kata_bundle.node.install import install
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.node import CONFIG, World, write_payload

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
COMPONENTS = {"kernel": 45 * MIB, "rootfs-image": 130 * MIB, "qemu": 60 * MIB, "virtiofsd": 6 * MIB, "shim-v2-go": 70 * MIB}
"""Sizes as installed, roughly those of a real selection for the shim qemu."""


def content(seed: str, size: int) -> bytes:
    """Bytes that compress to about a third, like programs do."""
    chance = random.Random(seed)
    return b"".join(chance.randbytes(1024) + bytes(2048) for _ in range(size // 3072))


def source(folder: Path, kernel: str) -> Path:
    parts: dict[str, dict[str, object]] = {
        name: {f"share/kata-containers/{name}": content(kernel if name == "kernel" else name, size)}
        for name, size in COMPONENTS.items()
    }
    parts["shim-v2-go"] |= {f"{CONFIG}/configuration-{i}.toml": b"# x\n" * 500 for i in range(26)}
    parts["qemu"] |= {f"share/kata-qemu/qemu/rom-{i}.bin": bytes([i % 256]) * 30_000 for i in range(60)}
    return write_payload(folder, {"qemu": sorted(COMPONENTS)}, parts)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    base = tmp_path_factory.mktemp("payload")
    return source(base / "v1", "one"), source(base / "v2", "two")


@pytest.fixture
def world(tmp_path):
    (tmp_path / "root").mkdir()
    return World(tmp_path / "root")


def rounds(benchmark, world, first, second):
    """Measure ``second`` on a node that has ``first`` (``None``: nothing)."""

    def setup():
        uninstall(world.machine())
        if first is not None:
            install(world.machine(), world.desired(first, "qemu"))
        os.sync()

    benchmark.pedantic(lambda: install(world.machine(), world.desired(second, "qemu")), setup=setup, rounds=3)
    benchmark.extra_info["installed_mib"] = sum(COMPONENTS.values()) // MIB


def test_a_cold_install(benchmark, world, sources):
    rounds(benchmark, world, None, sources[0])


def test_a_reinstall_with_nothing_changed(benchmark, world, sources):
    rounds(benchmark, world, sources[0], sources[0])


def test_an_upgrade_of_the_kernel(benchmark, world, sources):
    rounds(benchmark, world, sources[0], sources[1])


def test_verifying(benchmark, world, sources):
    receipt = install(world.machine(), world.desired(sources[0], "qemu")).receipt
    assert benchmark(lambda: verify(world.machine(), receipt).is_clean)
    shutil.rmtree(world.root)
