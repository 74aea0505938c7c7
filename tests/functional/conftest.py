"""The command line on real input: one store for all functional tests, filled from the distribution mirror on first use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.cli import CACHE, Result, run_cli


@pytest.fixture(scope="session")
def shared_store() -> Path:
    """A store that lives from run to run, so that distribution packages are fetched once."""
    store = CACHE / "store"
    done = run_cli("build", "kernel", "qemu", "virtiofsd", "ovmf", "--arch", "x86_64,aarch64", store=store)
    if done.code == 8:
        pytest.skip(f"the distribution mirror cannot be reached: {done.stderr.strip()}")
    if done.code == 4:
        pytest.skip(f"a pinned package is no longer served; refresh the pins: {done.stderr.strip()}")
    done.ok()
    return store


@pytest.fixture
def cli(shared_store, tmp_path):
    def call(*argv, **settings) -> Result:
        settings.setdefault("store", shared_store)
        settings.setdefault("cwd", tmp_path)
        return run_cli(*argv, **settings)

    return call
