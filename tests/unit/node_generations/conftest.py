"""A root directory and small payloads of two versions."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from kata_bundle.core.record import replace
from kata_bundle.node.install import install
from tests.fixtures.node import World, payload


@pytest.fixture
def tmp_path():
    """A folder in memory where there is one: every install flushes its file system."""
    folder = Path(tempfile.mkdtemp(prefix="kata-bundle-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def world(tmp_path):
    (tmp_path / "root").mkdir()
    return World(tmp_path / "root")


@pytest.fixture
def v1(tmp_path):
    return payload(tmp_path / "v1", "1")


@pytest.fixture
def v2(tmp_path):
    return payload(tmp_path / "v2", "2")


@pytest.fixture
def put(world):
    """Install shims from a source with optional parts of the desired state; return what the install did."""

    def call(source, *shims, machine=None, keep=2, pause=False, **parts):
        wanted = replace(world.desired(source, *shims), **parts)
        return install(machine or world.machine(), wanted, keep=keep, pause=pause)

    return call
